package waf

import (
	"fmt"
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
