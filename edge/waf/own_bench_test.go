package waf

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"gatehouse/edge/waf/seclang"
)

// usualOwn is what a tenant may have: n rules, each with a word of its own so that no two tenants share them.
func usualOwn(n int, word string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "SecRule REQUEST_FILENAME|ARGS \"@rx ^/?%s-%d/(?:admin|login)\" \"id:%d,phase:2,deny,t:lowercase,msg:'no entry'\"\n", word, i, i+1)
	}
	return b.String()
}

// largestOwn fills every bound at once: expressions, words, rules.
func largestOwn(word string) string {
	var b, words strings.Builder
	for i := 0; words.Len() < seclang.MaxWords-100; i++ {
		fmt.Fprintf(&words, "%x%s ", i*7919, word[:2])
	}
	fmt.Fprintf(&b, "SecRule ARGS \"@pm %s%s\" \"id:1\"\n", words.String(), word)
	for i := range seclang.MaxRules - 5 {
		fmt.Fprintf(&b, "SecRule ARGS \"@rx (?:%s[a-z]{13}x){3}$\" \"id:%d\"\n", word[:2], i+2)
	}
	return b.String()
}

// BenchmarkOwnGET is BenchmarkGET with own rules and without the core rules; 0 is without both.
func BenchmarkOwnGET(b *testing.B) {
	for _, n := range []int{0, 1, 10, 100} {
		b.Run(fmt.Sprint(n, " rules"), func(b *testing.B) {
			e := smallEngine(b, "")
			p := &Profile{Mode: Block}
			if n > 0 {
				p.Own = own(b, usualOwn(n, "bench"))
			}
			b.ReportAllocs()
			for b.Loop() {
				tx := e.Begin(p, "bench")
				run(tx, usualGET())
				tx.Close()
			}
		})
	}
}

// BenchmarkCheckOwn is what reading a document with own rules costs.
func BenchmarkCheckOwn(b *testing.B) {
	for name, text := range map[string]string{"1 rule": usualOwn(1, "bench"), "10 rules": usualOwn(10, "bench"), "largest": largestOwn("bench")} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if problems := CheckOwn(text); len(problems) > 0 {
					b.Fatal(problems[0])
				}
			}
		})
	}
}

// BenchmarkCompileOwn is what a changed text costs, with a text that nothing shares.
func BenchmarkCompileOwn(b *testing.B) {
	for name, text := range map[string]string{"1 rule": usualOwn(1, "bench"), "10 rules": usualOwn(10, "bench"), "largest": largestOwn("bench")} {
		b.Run(name, func(b *testing.B) {
			set, problems := seclang.Read(text)
			if len(problems) > 0 {
				b.Fatal(problems[0])
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := compileOwn(set); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// What own rules take, for one tenant and for a thousand who share nothing; docs/operations.md states it.
// The bounds leave room for what Go's collector has not yet taken.
func TestMemoryOfOwnRules(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles a thousand rulesets")
	}
	for _, test := range []struct {
		name    string
		tenants int
		text    func(word string) string
		most    int // bytes for each
	}{
		{"one tenant, one rule", 1, func(w string) string { return usualOwn(1, w) }, 128 << 10},
		{"a thousand tenants, one rule", 1000, func(w string) string { return usualOwn(1, w) }, 32 << 10},
		{"a thousand tenants, ten rules", 1000, func(w string) string { return usualOwn(10, w) }, 128 << 10},
		{"ten tenants at every bound", 10, largestOwn, 8 << 20},
		{"a thousand tenants, one text", 1000, func(string) string { return usualOwn(10, "shared") }, 1 << 10},
	} {
		before := heapInUse()
		held := make([]*OwnRules, 0, test.tenants)
		for i := range test.tenants {
			held = append(held, own(t, test.text(fmt.Sprint("tenant", i)))...)
		}
		each := (heapInUse() - before) / test.tenants
		t.Logf("%s: %d bytes each", test.name, each)
		if each > test.most {
			t.Errorf("%s: %d bytes each, at most %d", test.name, each, test.most)
		}
		runtime.KeepAlive(held)
	}
}

func heapInUse() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
