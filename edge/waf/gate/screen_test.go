package gate

import (
	"math/rand/v2"
	"testing"

	"github.com/corazawaf/libinjection-go"
)

func ruleScreen(t testing.TB) (*screen, []*needed) {
	t.Helper()
	all := allChecks(t)
	return newScreen(needsOf(all)), all
}

func needsOf(all []*needed) (out []need) {
	for _, c := range all {
		out = append(out, c.need)
	}
	return out
}

// A screen says of every check what its need says.
func TestMayIsWhatNeedsSay(t *testing.T) {
	s, all := ruleScreen(t)
	var out candidates
	values := append(suiteValues(t), harmless...)
	random := rand.New(rand.NewPCG(10, 11))
	random.Shuffle(len(values), func(i, j int) { values[i], values[j] = values[j], values[i] })
	for _, text := range append(values[:min(len(values), 200)], harmless...) {
		s.may(text, &out)
		for i, c := range all {
			if want := c.need.holds(text) || c.need.holds(foldKS.Replace(text)); out.has(i) != want && (want || !unfoldable(text)) {
				t.Fatalf("rule %s, @%s %.80s of %q: %v, want %v", c.rule, c.name, c.argument, text, out.has(i), want)
			}
		}
	}
}

func TestMayOfUnfoldable(t *testing.T) {
	s := newScreen([]need{{bytes: []byteSet{bytesOf("<")}}, {words: [][]string{{"kiss"}}}, {}})
	var out candidates
	for _, test := range []struct {
		text string
		want []bool
	}{
		{"", []bool{false, false, true}},
		{"a < b", []bool{true, false, true}},
		{"KISS", []bool{false, true, true}},
		{"\u212aiss", []bool{false, true, true}},
		{"ki\u017f\u017f", []bool{false, true, true}},
		{"\u2122", []bool{false, false, true}},
	} {
		s.may(test.text, &out)
		for i, want := range test.want {
			if out.has(i) != want {
				t.Errorf("%q, check %d: %v, want %v", test.text, i, out.has(i), want)
			}
		}
	}
}

// More kinds of bytes than are told apart: then more may be met, never less.
func TestMayOfManyKindsOfBytes(t *testing.T) {
	var needs []need
	for c := range 256 {
		needs = append(needs, need{bytes: []byteSet{bytesOf(string([]byte{byte(c)}))}})
	}
	s := newScreen(needs)
	var out candidates
	for c := range 256 {
		s.may(string([]byte{byte(c)}), &out)
		if !out.has(c) {
			t.Errorf("byte %#x is not seen", c)
		}
		if c < maxClasses-1 && out.count() != 1 {
			t.Errorf("byte %#x is taken for %d", c, out.count())
		}
	}
}

// Whatever an operator of the rule set says yes to is among the candidates.
func TestNoMatchIsMissed(t *testing.T) {
	s, all := ruleScreen(t)
	var out candidates
	values := append(suiteValues(t), harmless...)
	asked, met, injections, rare := 0, 0, 0, 64
	if raceDetector { // make waf-identity asks the others
		rare = 1024
	}
	for number, text := range values {
		s.may(text, &out)
		if len(text) > 2000 {
			continue
		}
		sqli, _ := libinjection.IsSQLi(text)
		xss := libinjection.IsXSS(text)
		for i, c := range all {
			yes := c.name == "detectSQLi" && sqli || c.name == "detectXSS" && xss
			if yes {
				injections++
			}
			// regexp takes long: each value meets one in so many of the patterns.
			if !out.has(i) && !yes && c.matches != nil && (c.name != "rx" || (number+i)%rare == 0) {
				yes = c.matches(text)
				asked++
			}
			if yes && !out.has(i) {
				t.Errorf("rule %s, @%s %.200s says yes to %q", c.rule, c.name, c.argument, text)
			}
			if out.has(i) {
				met++
			}
		}
	}
	t.Logf("%d values, %d operators: %d times a candidate, %d times asked all the same; %d injections", len(values), len(all), met, asked, injections)
}

// What libinjection finds has the bytes that it is said to need, also in texts of what its tokens are made of.
func TestInjectionsHaveTheirNeed(t *testing.T) {
	sql, _ := needOfOperator("detectSQLi", "", false, nil)
	xss, _ := needOfOperator("detectXSS", "", false, nil)
	words := []string{
		"1", "0x", "0x1f", "0b", "0b1", "1e", "1e5", "1.", "d", "f", "fUNION", "union", "select", "UNION_ALL", "or", "and", "not", "in", "sleep", "null", "true", "int", "binary", "x", "n", "q", "u",
		"\x80", "\xff", "\u0131n", "_", "drop", "if", "into", "sp_password", "like", "collate", "waitfor", "xml", "import", "script", "onload", "style", "href", "data:", "javascript:", "'", "`", "\"", ">", "/", " ", "\x00",
	}
	random := rand.New(rand.NewPCG(12, 13))
	for range 50_000 {
		text := ""
		for range 1 + random.IntN(7) {
			text += words[random.IntN(len(words))]
		}
		if is, print := libinjection.IsSQLi(text); is && !sql.holds(text) {
			t.Fatalf("%q is an injection of SQL (%s) without its need", text, print)
		}
		if libinjection.IsXSS(text) && !xss.holds(text) {
			t.Fatalf("%q is a script without its need", text)
		}
	}
}

// How many checks a harmless value may meet.
func TestPrecision(t *testing.T) {
	for _, paranoia := range []int{1, 4} {
		var all []*needed
		for _, c := range allChecks(t) {
			if c.paranoia <= paranoia && (c.some || c.name == "rx" && !c.negated) {
				all = append(all, c)
			}
		}
		s := newScreen(needsOf(all))
		var out candidates
		sum := 0
		for _, text := range harmless {
			s.may(text, &out)
			sum += out.count()
			t.Logf("%3d of %d at paranoia %d: %.60q", out.count(), len(all), paranoia, text)
		}
		t.Logf("on average %.1f of %d at paranoia %d; %d KiB", float64(sum)/float64(len(harmless)), len(all), paranoia, s.size()>>10)
		if 10*sum > 2*len(harmless)*len(all) {
			t.Errorf("a harmless value may meet more than a fifth of the checks at paranoia %d", paranoia)
		}
	}
}

func TestMayAllocatesNothing(t *testing.T) {
	s, _ := ruleScreen(t)
	var out candidates
	s.may(english, &out)
	if n := testing.AllocsPerRun(100, func() {
		s.may(english, &out)
		s.may("' or 1=1 union select", &out)
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkMay(b *testing.B) {
	var all []*needed
	for _, c := range allChecks(b) {
		if c.paranoia == 1 && c.some {
			all = append(all, c)
		}
	}
	s := newScreen(needsOf(all))
	b.Logf("%d checks", len(all))
	for _, text := range []struct{ name, text string }{
		{"number", "42"},
		{"word", "welcome"},
		{"uuid", "3f2504e0-4f89-11d3-9a0c-0305e82c3301"},
		{"sentence40", "The quick brown fox, a jumping lazy dogs"},
		{"alphanumeric40", "dGhlIHF1aWNrIGJyb3duIGZveCBqdW1wcyBvdmVy"},
		{"agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36"},
		{"english", english},
		{"attack", "1' or 1=1 union select password from users--"},
	} {
		b.Run(text.name, func(b *testing.B) {
			var out candidates
			s.may(text.text, &out)
			b.ReportAllocs()
			for b.Loop() {
				s.may(text.text, &out)
			}
			b.ReportMetric(float64(out.count()), "left")
		})
	}
}

func BenchmarkNewScreen(b *testing.B) {
	all := allChecks(b)
	for b.Loop() {
		newScreen(needsOf(all))
	}
}

func BenchmarkNeeds(b *testing.B) {
	all := allChecks(b)
	for b.Loop() {
		for _, c := range all {
			needOfOperator(c.name, c.argument, c.negated, readRuleFile)
		}
	}
}
