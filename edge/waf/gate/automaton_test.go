package gate

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// found returns the numbers of the words that an automaton finds.
func found(a *automaton, text string, h *hits) (out []int) {
	a.scan(text, h)
	for _, list := range h.list {
		for _, word := range a.words[list] {
			out = append(out, int(word))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// standing returns the numbers of the words that stand in a text.
func standing(words []string, text string) (out []int) {
	for i, w := range words {
		if w != "" && strings.Contains(foldASCII(text), w) {
			out = append(out, i)
		}
	}
	return out
}

func TestScanFindsWhatStandsThere(t *testing.T) {
	for _, words := range [][]string{
		nil,
		{""},
		{"a"},
		{"he", "she", "his", "hers"},
		{"a", "ab", "abc", "abcd", "bcd", "cd", "d"},
		{"aaa", "aa"},
		{"abab", "babab"},
		{"\x00", "\xff\xfe", "é", "a\nb"},
		{"abcde", "bcde", "cde", "de", "e"},
		{"abcx", "bcy", "bcz", "cyx"},
	} {
		a := newAutomaton(words)
		var h hits
		for _, text := range []string{
			"", "a", "A", "USHERS", "ushers his", "abcd", "xABCDx", "aaaa", "aabaa", "bababab", "\x00", "\xff\xfe\xff", "É é", "A\nB",
			"abcabcde", "abcy", "abcz", "abcyx", "abcabcx", "[@`{",
		} {
			if got, want := found(a, text, &h), standing(words, text); !slices.Equal(got, want) {
				t.Errorf("%q in %q: found %v, want %v", words, text, got, want)
			}
		}
	}
}

// Words and texts of few letters, so that beginnings and ends overlap in every way.
func TestScanOfRandomWords(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	of := func(alphabet string, most int) string {
		b := make([]byte, random.IntN(most+1))
		for i := range b {
			b[i] = alphabet[random.IntN(len(alphabet))]
		}
		return string(b)
	}
	var h hits // one for all, as in use
	for range 3000 {
		var words []string
		for range random.IntN(12) {
			words = append(words, of("abc", 6))
		}
		a := newAutomaton(words)
		for range 5 {
			text := of("aAbBcCd", 30)
			if got, want := found(a, text, &h), standing(words, text); !slices.Equal(got, want) {
				t.Fatalf("%q in %q: found %v, want %v", words, text, got, want)
			}
		}
	}
}

func TestScanOfRuleSet(t *testing.T) {
	words := ruleWords(t)
	begin := time.Now()
	a := newAutomaton(words)
	t.Logf("%d words: built in %v, %d cells, %d columns, %d KiB", len(words), time.Since(begin), len(a.cells), a.columns, a.size()>>10)
	if limit := 4 << 20; a.size() > limit {
		t.Errorf("the automaton has %d bytes, more than %d", a.size(), limit)
	}
	var h hits
	values := append(suiteValues(t), harmless...)
	random := rand.New(rand.NewPCG(8, 9))
	random.Shuffle(len(values), func(i, j int) { values[i], values[j] = values[j], values[i] })
	some := 200
	if raceDetector { // make waf-identity has them all
		some = 10
	}
	for _, text := range values[:min(len(values), some)] {
		if got, want := found(a, text, &h), standing(words, text); !slices.Equal(got, want) {
			t.Fatalf("%q: found %d words, want %d", text, len(got), len(want))
		}
	}
}

func ruleWords(t testing.TB) (out []string) {
	for _, c := range allChecks(t) {
		out = append(out, allWords(c.need)...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func BenchmarkScan(b *testing.B) {
	a := newAutomaton(ruleWords(b))
	for _, text := range []struct{ name, text string }{
		{"40", "The quick brown fox, a jumping lazy dogs"},
		{"english", english},
		{"json", strings.Repeat(`{"id":"7c1f","name":"Anna O'Neil","tags":["a","b"],"n":12.5},`, 40)},
		{"base64", strings.Repeat("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9eyJzdWIiOiIxMjM0NTY3ODkwIn0", 40)},
	} {
		b.Run(text.name, func(b *testing.B) {
			var h hits
			a.scan(text.text, &h)
			b.ReportAllocs()
			b.SetBytes(int64(len(text.text)))
			for b.Loop() {
				a.scan(text.text, &h)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(text.text)), "ns/byte")
			b.ReportMetric(float64(len(h.list)), "lists")
		})
	}
}

func BenchmarkNewAutomaton(b *testing.B) {
	words := ruleWords(b)
	for b.Loop() {
		newAutomaton(words)
	}
}

var english = strings.Repeat(`It was a bright cold day in April, and the clocks were striking thirteen. We walked along the harbour
and looked at the boats, which somebody had painted green last summer; nobody knew who. She said: "Order from the top shelf." `, 10)

// harmless are values as requests have them that mean no harm.
var harmless = []string{
	"", "1", "en", "true", "page", "welcome", "42", "2026-11-28", "12.50", "3f2504e0-4f89-11d3-9a0c-0305e82c3301", "1732812345678", "name", "Berlin", "blue shirt",
	"The quick brown fox, a jumping lazy dogs", "How do I change my password?", "Anna O'Neil", "D'Artagnan", "Müller & Söhne", "anna@example.com", "+49 30 123456",
	"https://www.example.com/shop/items?page=2&sort=price", "/static/js/app.3f2a9c.js", "/blog/2026/11/why-we-moved", "dGhlIHF1aWNrIGJyb3duIGZveA==",
	"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
	"_ga=GA1.1.1234567890.1700000000; sid=9f86d081884c7d65; theme=dark", "GA1.1.1234567890.1700000000",
	"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36",
	"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8", "gzip, deflate, br, zstd", "en-US,en;q=0.9,de;q=0.8", "keep-alive",
	`"Chromium";v="130", "Google Chrome";v="130", "Not?A_Brand";v="99"`, `{"id":7,"name":"Anna","tags":["a","b"],"price":12.5}`, "application/json; charset=utf-8", "www.example.com",
	"Please deliver to the back door, and ring twice. Thank you!", "C# and .NET developer (m/f/d)", "50% off: select items from our store", "日本語のテキスト", "it’s “fine”",
}
