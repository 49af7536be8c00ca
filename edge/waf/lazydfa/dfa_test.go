package lazydfa

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"
)

// Patterns with everything that the syntax has, and texts that come near them.
var patterns = []string{
	``, `a`, `abc`, `a|b`, `(a|ab)(c|bcd)`, `a*`, `a+b`, `a?b`, `(?:a|b)*abb`, `[a-c]+x`, `[^a-c]`, `.`, `.*`, `(?s).`, `(?s)a.b`, `a.b`,
	`^`, `$`, `^$`, `^a`, `a$`, `^a$`, `(?m)^a`, `(?m)a$`, `(?m)^$`, `(?m)^a$`, `\Aa`, `a\z`, `\A\z`, `(?ms)^a.*b$`, `^*`, `$*a`, `(^|b)a`, `a($|b)`,
	`\ba`, `a\b`, `\Ba`, `a\B`, `\b`, `\B`, `\bab\b`, `\b\B`, `(?:\b|c)a`, `^\b`, `\b$`, `\B$`, `x\b.`, `(\ba|b)+`,
	`(?i)abc`, `(?i)K`, `(?i)ſ`, `(?i)[k-s]`, `(?i)straße`, `é`, `[é-ü]+`, `\x{1F600}`, `[\x{10000}-\x{10FFFF}]`, `\d+`, `\w+@\w+`, `\s`, `\pL+`, `\p{Greek}`, `[^\x00-\x7f]`,
	`a{3}`, `a{2,4}b`, `(ab){2,}`, `(?:a{0,2}){3}`, `a{0}`, `(a*)*`, `(a*)+b`, `(a|a|a)*b`, `x(?:y|)`, `(|a)b`, `[\x{fffc}-\x{fffe}]`, `[^\x{fffd}]`,
	`(?i)union\s+select`, `(?:^|[^a-z])or\s+1\s*=\s*1`, `(?i)<script[^>]*>`, `\.\./`, `(?i)(?:select|insert|update)\b.*?\bfrom`, `(?m)^(?:a|b)+$`, `(?sm)^.*a.*$`,
}

func texts() []string {
	out := []string{
		"", "a", "b", "ab", "abc", "abcd", "abb", "aabb", "x", "\n", "a\n", "\na", "a\nb", "b\na\nb", "\n\n", " a ", "a b", "ab cd", "xab", "_a", "0a", "aaaa", "aaab", "abab",
		"é", "aé", "éa", "ÀÉ", "Straße", "STRASSE", "K", "K", "s", "ſ", "S", "\U0001F600", "\U0010FFFF", "\ufffd", "\xff", "a\xffb", "\xc3", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\x00", "a\x00b",
		"union select", "UNION  SELECT", "x or 1=1", "or 1 = 1", "<ScRiPt src=x>", "../../etc", "select a from b", "selecta from b", "αβγ", "\u00a0", "a\r\nb", "user@host",
	}
	random := rand.New(rand.NewPCG(1, 2))
	const alphabet = "aabbcx \n_0<>é\xff\xc3=1KkſsS"
	for range 300 {
		var b strings.Builder
		for range random.IntN(12) {
			b.WriteByte(alphabet[random.IntN(len(alphabet))])
		}
		out = append(out, b.String())
	}
	return out
}

// The automaton says of every text what regexp says.
func TestMatchIsThatOfRegexp(t *testing.T) {
	all := texts()
	for _, p := range patterns {
		d, err := New(p)
		if err != nil {
			t.Fatalf("%s: %v", p, err)
		}
		re := regexp.MustCompile(p)
		for _, text := range all {
			if yes, ok := d.Match(text); !ok || yes != re.MatchString(text) {
				t.Errorf("%s on %q: %v (decided %v), regexp says %v", p, text, yes, ok, re.MatchString(text))
			}
		}
	}
}

func TestNewRefusesWhatItCannotDecide(t *testing.T) {
	for _, p := range []string{"\ufffd", `\x{fffd}a`, `a(`, `(?=a)`} {
		if d, err := New(p); err == nil {
			t.Errorf("%q was taken: %v", p, d)
		}
	}
}

// A pattern whose automaton is exponential is decided as far as it goes, and others begin anew.
func TestFullAutomatonGivesUpAndBeginsAnew(t *testing.T) {
	d, err := New(`a[ab]{14}c`)
	if err != nil {
		t.Fatal(err)
	}
	moment := time.Unix(0, 0)
	d.now = func() time.Time { return moment }
	d.grown.Store(d.begin())
	re := regexp.MustCompile(`a[ab]{14}c`)
	random := rand.New(rand.NewPCG(3, 4))
	text := func() string {
		b := make([]byte, 64)
		for i := range b {
			b[i] = "aab"[random.IntN(3)]
		}
		if random.IntN(2) == 0 {
			b[40] = 'c'
		}
		return string(b)
	}
	undecided := 0
	for range 2000 {
		s := text()
		yes, ok := d.Match(s)
		if !ok {
			undecided++
		} else if yes != re.MatchString(s) {
			t.Fatalf("%q: %v", s, yes)
		}
	}
	if states, bytes := d.Size(); undecided < 100 || states > MaxStates || bytes > 1<<20 {
		t.Errorf("%d undecided, %d states, %d bytes", undecided, states, bytes)
	}
	moment = moment.Add(forget)
	d.Match(text()) // the first one that finds no room
	for range 10 {
		d.Match(text())
	}
	if states, _ := d.Size(); states > MaxStates/2 {
		t.Errorf("still %d states", states)
	}
}

func TestMatchIsConcurrent(t *testing.T) {
	all := texts()
	for _, p := range []string{`(?i)(?:select|insert|update)\b.*?\bfrom`, `a[ab]{14}c`, `(?m)^(?:a|b)+$`} {
		d, err := New(p)
		if err != nil {
			t.Fatal(err)
		}
		re := regexp.MustCompile(p)
		var group sync.WaitGroup
		for worker := range 4 {
			group.Go(func() {
				for i := range all {
					text := all[(i*7+worker*31)%len(all)] + all[(i*13+worker)%len(all)]
					if yes, ok := d.Match(text); ok && yes != re.MatchString(text) {
						t.Errorf("%s on %q: %v", p, text, yes)
					}
				}
			})
		}
		group.Wait()
	}
}

func FuzzMatch(f *testing.F) {
	for i, text := range texts()[:60] {
		f.Add(patterns[i%len(patterns)], text)
	}
	f.Fuzz(func(t *testing.T, pattern, text string) {
		if len(pattern) > 100 || len(text) > 1000 {
			return
		}
		re, err := regexp.Compile(pattern)
		if err != nil {
			return
		}
		d, err := New(pattern)
		if err != nil {
			if !strings.ContainsRune(pattern, utf8.RuneError) && !strings.Contains(strings.ToLower(pattern), "fffd") && !strings.Contains(pattern, "177775") {
				t.Fatalf("New(%q): %v", pattern, err)
			}
			return
		}
		if yes, ok := d.Match(text); ok && yes != re.MatchString(text) {
			t.Errorf("%q on %q: %v, regexp says %v", pattern, text, yes, !yes)
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	const pattern = `(?i)(?:select|insert|update|delete|union)\b.*?\b(?:from|into|all)\b`
	text := strings.Repeat("the quick brown fox jumps over the lazy dog ", 5)
	d, err := New(pattern)
	if err != nil {
		b.Fatal(err)
	}
	re := regexp.MustCompile(pattern)
	b.Run("dfa", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			d.Match(text)
		}
	})
	b.Run("regexp", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			re.MatchString(text)
		}
	})
	b.Run("new", func(b *testing.B) {
		for b.Loop() {
			if _, err := New(pattern); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func ExampleDFA_Match() {
	d, err := New(`(?i)union\s+select`)
	if err != nil {
		panic(err)
	}
	fmt.Println(d.Match("1 UNION  SELECT 2"))
	// Output: true true
}
