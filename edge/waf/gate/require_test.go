package gate

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"regexp/syntax"
	"strings"
	"testing"
)

func TestNeedOf(t *testing.T) {
	for _, test := range []struct {
		pattern string
		words   [][]string
	}{
		{`union\s+select`, [][]string{{"select"}, {"union"}}},
		{`(?i)UNION\s+SeLeCt`, [][]string{{"select"}, {"union"}}},
		{`(?:exec|eval)\(`, [][]string{{"eval(", "exec("}}},
		// What the engine's own prefilter has wrong: nothing may be joined across what is not known.
		{`a(?:bcd|.efg)`, [][]string{{"bcd", "efg"}}},
		{`x(?:bcd|.*efg)y`, [][]string{{"bcdy", "efgy"}}},
		{`abc.def`, [][]string{{"abc"}, {"def"}}},
		{`abc(?:\s*)def`, [][]string{{"abc"}, {"def"}}},
		{`abc\bdef`, [][]string{{"abcdef"}}},
		{`select.*from|set.*to`, [][]string{{"select", "set"}, {"from", "to"}, {"lect", "to"}}},
		{`https?://`, [][]string{{"http://", "https://"}}},
		{`(?:\.\./){3}`, [][]string{{"../../.."}}},
		{`(?:\.\./){2,}etc`, [][]string{{"../../et"}}},
		{`(?:ab)+cd`, [][]string{{"abcd"}}},
		{`abc|`, nil},
		{`(?:abc)?`, nil},
		{`(?:abc)*`, nil},
		{`(?:abc){0,3}`, nil},
		{``, nil},
		{`^$`, nil},
		{`\b`, nil},
		{`.*`, nil},
		{`abc|x`, nil},
		{`(?:abc|)def`, [][]string{{"def"}}},
		{`[a-z]+script`, [][]string{{"script"}}},
		{"(?i)k\u017f", [][]string{{"ks"}}},
		{`é`, nil},                         // two bytes to one engine, one to the other
		{"\u20ac", [][]string{{"\u20ac"}}}, // which this cannot be
		{`\x{fffd}abc`, [][]string{{"abc"}}},
	} {
		n, err := needOf(test.pattern)
		if err != nil {
			t.Errorf("%s: %v", test.pattern, err)
			continue
		}
		if fmt.Sprint(n.words) != fmt.Sprint(test.words) {
			t.Errorf("%s needs %q, want %q", test.pattern, n.words, test.words)
		}
	}
}

func TestNeededBytes(t *testing.T) {
	for _, test := range []struct {
		pattern string
		sets    []byteSet
	}{
		{`e<t`, []byteSet{bytesOf("<")}}, // besides a rare one, what nearly every text has is not asked for
		{`x<`, []byteSet{bytesOf("<"), bytesOf("Xx")}},
		{`e`, []byteSet{bytesOf("Ee")}},
		{`[^a]`, nil},
		{`[0-9A-Za-z]`, nil},
		{`\s`, []byteSet{bytesOf("\t\n\f\r ")}},
		{`<|>`, []byteSet{bytesOf("<>")}},
		{`(?:<.*\(|>.*\))`, []byteSet{bytesOf("<>"), bytesOf(">(")}},
		{`[<>](?:\(|\[)`, []byteSet{bytesOf("<>"), bytesOf("([")}},
		{`<?`, nil},
		{`<|`, nil},
		{`<*`, nil},
		{`<{0,2}`, nil},
		{`.`, nil},
		{`<+`, []byteSet{bytesOf("<")}},
		{`<{2,}`, []byteSet{bytesOf("<")}},
		{`\xac`, []byteSet{bytesOf("\xac\xc2")}},
		{"\u20ac", []byteSet{bytesOf("\xe2")}},
		{"\u212a", nil},
		{"[\u2129-\u212b]", nil},
		{"(?i)k", []byteSet{bytesOf("kK")}},
	} {
		n, err := needOf(test.pattern)
		if err != nil {
			t.Errorf("%s: %v", test.pattern, err)
			continue
		}
		if !reflect.DeepEqual(n.bytes, test.sets) {
			t.Errorf("%s needs %x, want %x", test.pattern, n.bytes, test.sets)
		}
	}
}

func TestNeedOfOperator(t *testing.T) {
	file := func(name string) ([]byte, error) {
		if name != "words" {
			return nil, fmt.Errorf("no file %s", name)
		}
		return []byte("# no word\n\n Abc \r\nabcd\nX-Y\n"), nil
	}
	for _, test := range []struct {
		name, argument string
		negated        bool
		yes, no        []string // what has the need, and what does not; no yes: nothing is known
	}{
		{name: "rx", argument: "a(", negated: false},
		{name: "rx", argument: "<", negated: true},
		{name: "rx", argument: "<", yes: []string{"<"}, no: []string{"a"}},
		{name: "pm", argument: "select Union", yes: []string{"xSELECTx", "union"}, no: []string{"", "selec", "un ion"}},
		{name: "pm", argument: "select  union"}, // the word between the two spaces is in every text
		{name: "pm", argument: "<", yes: []string{"a<"}, no: []string{"a"}},
		{name: "pmFromFile", argument: "words", yes: []string{"ABC", "x-y"}, no: []string{"# no word"}},
		{name: "pmf", argument: "absent"},
		{name: "contains", argument: "/../", yes: []string{"a/../b"}, no: []string{"/./"}},
		{name: "contains", argument: "%{tx.a}"},
		{name: "contains", argument: ""},
		{name: "streq", argument: "POST", yes: []string{"POST", "post"}, no: []string{"GET"}},
		{name: "beginsWith", argument: "ftp", yes: []string{"ftp"}, no: []string{"http"}},
		{name: "endsWith", argument: ".php", yes: []string{"a.php"}, no: []string{"a.html"}},
		{name: "within", argument: "GET POST"},
		{name: "validateByteRange", argument: "32-36,38-126", yes: []string{"%", "\n", "\x80"}, no: []string{"abc"}},
		{name: "validateByteRange", argument: ""},
		{name: "validateByteRange", argument: "1-300"},
		{name: "validateUrlEncoding", yes: []string{"%zz"}, no: []string{"abc"}},
		{name: "validateUtf8Encoding", yes: []string{"\xff"}, no: []string{"abc"}},
		{name: "detectXSS", yes: []string{"<x"}, no: []string{"javascript:alert(1)"}},
		{name: "detectSQLi", yes: []string{"1 or 1"}, no: []string{"1union", "select", "0x1f"}},
		{name: "geoLookup"},
		{name: "eq", argument: "0"},
	} {
		n, ok := needOfOperator(test.name, test.argument, test.negated, file)
		if ok != (len(test.yes) > 0) {
			t.Errorf("@%s %s: something is known: %v", test.name, test.argument, ok)
		}
		for _, text := range test.yes {
			if !n.holds(text) {
				t.Errorf("@%s %s: %q is ruled out", test.name, test.argument, text)
			}
		}
		for _, text := range test.no {
			if n.holds(text) {
				t.Errorf("@%s %s: %q is let through", test.name, test.argument, text)
			}
		}
	}
}

// What an operator says yes to has what it needs: of texts made from each pattern of the rule set, and from its lists.
func TestWhatMatchesHasTheNeed(t *testing.T) {
	matching, few, enough := 0, 0, 300
	if raceDetector { // make waf-identity has them all
		enough = 15
	}
	for number, c := range allChecks(t) {
		if c.matches == nil || c.name == "contains" || c.name == "streq" {
			continue
		}
		g := &generator{Rand: rand.New(rand.NewPCG(uint64(number), 7))}
		text := func() string { return "" }
		if c.name == "rx" {
			tree, err := syntax.Parse("(?sm)"+c.argument, syntax.Perl)
			if err != nil {
				t.Fatalf("rule %s: %v", c.rule, err)
			}
			text = func() string { return g.text(tree) }
		} else if words := allWords(c.need); len(words) > 0 {
			text = func() string { return words[g.IntN(len(words))] }
		}
		found := 0
		for try := 0; try < 10*enough && found < enough; try++ {
			made := text()
			if try%2 == 1 {
				made = g.vary(made)
			}
			if !c.matches(made) {
				continue
			}
			found++
			if !c.need.holdsFolded(made) {
				t.Errorf("rule %s, @%s %s\nmatches %q\nwithout its need %x %q", c.rule, c.name, c.argument, made, c.need.bytes, c.need.words)
				break
			}
		}
		if matching += found; found < enough {
			few++
			t.Logf("rule %s: %d matching texts only: @%s %.80s", c.rule, found, c.name, c.argument)
		}
	}
	t.Logf("%d matching texts; %d operators had fewer than %d", matching, few, enough)
}

func allWords(n need) (out []string) {
	for _, list := range n.words {
		out = append(out, list...)
	}
	return out
}

// How much is known of the rule set's operators, for whoever changes what is kept.
func TestNeedsOfRuleSet(t *testing.T) {
	total, sets, lists := 0, 0, 0
	words := map[string]bool{}
	for _, c := range allChecks(t) {
		if c.name == "rx" && !c.negated {
			total++
			sets += min(1, len(c.need.bytes))
			lists += min(1, len(c.need.words))
			if !c.some {
				t.Logf("rule %s: nothing is known of %.100s", c.rule, c.argument)
			}
		}
		for _, w := range allWords(c.need) {
			words[w] = true
		}
	}
	t.Logf("of %d patterns %d need bytes, %d words; %d words in all", total, sets, lists, len(words))
	if 100*sets < 95*total || 100*lists < 60*total {
		t.Errorf("of %d patterns only %d need bytes and %d words", total, sets, lists)
	}
}

func FuzzNeedHolds(f *testing.F) {
	for _, p := range []string{
		`union\s+select`, `a(?:bcd|.efg)`, `(?i)k\x{212a}|s`, `[^a]é`, `\xac\xed`, `(?i:ab)c{2,3}|`, `(?:a|bc)*d`, `^$`, `(?:<!--)+\b`, `x{3,}y`, `\x{fffd}`, `.`,
	} {
		for _, text := range []string{"", "UNION  select", "axefg", "\u212a", "\xff\xe9", "\xac\xed", "abcc", "xxxxy", "<!--"} {
			f.Add(p, text)
		}
	}
	f.Fuzz(func(t *testing.T, pattern, text string) {
		n, err := needOf(pattern)
		matches := matcherOf(pattern)
		if matches == nil || len(pattern) > 200 {
			return
		}
		if err != nil {
			t.Fatalf("%q compiles, but: %v", pattern, err)
		}
		tree, err := syntax.Parse("(?sm)"+pattern, syntax.Perl)
		if err != nil {
			t.Fatal(err)
		}
		g := &generator{Rand: rand.New(rand.NewPCG(uint64(len(text)), 1))}
		made := g.text(tree)
		for _, text := range []string{text, foldASCII(text), made, text + made + text, g.vary(made), strings.ToUpper(made)} {
			if matches(text) && !n.holdsFolded(text) {
				t.Fatalf("%q matches %q without its need %x %q", pattern, text, n.bytes, n.words)
			}
		}
	})
}

// holdsFolded is holds where the two characters may also be letters.
func (n need) holdsFolded(text string) bool {
	if !unfoldable(text) {
		return n.holds(text)
	}
	return n.holds(text + foldKS.Replace(text))
}
