package gate

import (
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
	"unsafe"
)

// Each transformation, and each chain of them that the CRS has, gives what Coraza's gives. With
// GATEHOUSE_TRANSFORM_TESTS=all that are millions of comparisons, a few minutes.
func TestTransformationsAreThoseOfCoraza(t *testing.T) {
	count, want, random := 0, 20_000, 300
	if fullTransforms() {
		want, random = 1_000_000, 60_000
	}
	chains := crsChains(t)
	if len(chains) < 40 {
		t.Fatalf("%d chains in the CRS", len(chains))
	}
	alone, whole := newReference(t, false, eachAlone()...), newReference(t, false, chains...)
	values := slices.Concat(crsValues(t), longValues(), randomValues(1, random), pieces)
	count += alone.compare(t, values...)
	count += whole.compare(t, values...)
	count += alone.compare(t, shortValues()...)
	t.Logf("%d comparisons, %d values, %d chains", count, len(values), len(chains))
	if count < want {
		t.Errorf("%d comparisons, want %d", count, want)
	}
}

// A rule with multiMatch sees each stage that Coraza takes for a new one.
func TestStagesAreThoseOfCoraza(t *testing.T) {
	n := 150
	if fullTransforms() {
		n = 20_000
	}
	r := newReference(t, true, append(eachAlone(), crsChains(t)...)...)
	values := append(randomValues(2, n), pieces...)
	// A change of which Coraza takes no notice.
	values = append(values, "&#0", "a&#0 b", "\xff", "\xff a")
	r.compareStages(t, values...)
}

// "none" drops what comes before it, in lower case only.
func TestNoneBeginsAnew(t *testing.T) {
	chains := [][]string{
		{"lowercase", "none"}, {"none", "lowercase"}, {"lowercase", "None"}, {"lowercase", "NONE", "hexEncode"}, {"lowercase", "none", "hexEncode", "none", "removeNulls"},
	}
	newReference(t, false, chains...).compare(t, "AbC", "a\x00", "", "É")
	for names, steps := range map[string]int{"lowercase,none": 0, "lowercase,None": 1, "none,None": 0, "lowercase,trim": 2} {
		if c, ok := newChain(strings.Split(names, ",")); !ok || len(c.steps) != steps {
			t.Errorf("%s: %d steps, want %d", names, len(c.steps), steps)
		}
	}
}

// A transformation that fails leaves its value to the next one.
func TestFailureLeavesTheValue(t *testing.T) {
	chains := [][]string{{"hexDecode"}, {"hexDecode", "lowercase"}, {"uppercase", "hexDecode", "hexDecode"}}
	values := []string{"", "XYZ", "4", "4A", "3441", "3441 ", "é"}
	newReference(t, false, chains...).compare(t, values...)
	newReference(t, true, chains...).compareStages(t, values...)
}

func TestTransformOfKnowsItsNames(t *testing.T) {
	for name, want := range map[string]string{"urlDecodeUni": "urlDecodeUni", "URLDECODEUNI": "urlDecodeUni", "normalisePath": "normalizePath", "normalisePathWin": "normalizePathWin", "none": "none"} {
		if got, ok := transformOf(name); !ok || got.name != want {
			t.Errorf("%s: %q, %v", name, got.name, ok)
		}
	}
	for _, name := range []string{"", "sqlHexDecode", "parityEven7bit", "urldecode "} {
		if _, ok := transformOf(name); ok {
			t.Errorf("%q is known", name)
		}
		if _, ok := newChain([]string{"lowercase", name}); ok {
			t.Errorf("a chain with %q is known", name)
		}
	}
}

// What the fields of a transformation and of a chain promise, on every kind of text.
func TestTriggersTellWhatMayChange(t *testing.T) {
	values := slices.Concat(shortValues(), pieces, longValues(), randomValues(3, 1000))
	chains := crsChains(t)
	for _, names := range append(eachAlone(), chains...) {
		c, ok := newChain(names)
		if !ok {
			t.Fatalf("%v is not known", names)
		}
		for _, whole := range values {
			// A text without triggers is rare: what is left of it without them is one as well.
			for _, s := range []string{whole, without(whole, c.triggers)} {
				out := c.apply(s)
				if out != s && !c.always && !bytesOf(s).intersects(c.triggers) {
					t.Fatalf("%v: %q has no trigger, and becomes %q", names, s, out)
				}
				if out == s && len(c.steps) == 1 && unsafe.StringData(out) != unsafe.StringData(s) && s != "" {
					t.Fatalf("%v: %q does not change, and is copied", names, s)
				}
			}
		}
	}
}

func without(s string, set byteSet) string {
	var b strings.Builder
	for i := range len(s) {
		if !set.has(s[i]) {
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

// Every byte that is a trigger of a transformation alone is one for a reason.
func TestTriggersAreNeeded(t *testing.T) {
	values := slices.Concat(shortValues(), pieces, randomValues(4, 5000))
	for i := range eachByte {
		values = append(values, strings.Repeat(eachByte[i:i+1], 2))
	}
	for _, tr := range transforms {
		var missing byteSet
		for c := range 256 {
			if tr.triggers.has(byte(c)) {
				missing.add(byte(c))
			}
		}
		for _, s := range values {
			found := bytesOf(s)
			var only byteSet
			for i := range only {
				only[i] = found[i] & tr.triggers[i]
			}
			if only.intersects(missing) && tr.apply(s) != s {
				missing = missing.without(only)
			}
		}
		if missing != (byteSet{}) {
			t.Errorf("%s: with these triggers it changes nothing: %x", tr.name, missing)
		}
	}
}

// What lowers says holds for ASCII, and only there.
func TestLowersLowersASCII(t *testing.T) {
	for _, tr := range transforms {
		if !tr.lowers {
			continue
		}
		for _, s := range slices.Concat(shortValues(), randomValues(5, 3000)) {
			s = without(s, highBytes)
			want := strings.Map(func(r rune) rune {
				if 'A' <= r && r <= 'Z' {
					return unicode.ToLower(r)
				}
				return r
			}, s)
			if got := tr.apply(s); got != want {
				t.Fatalf("%s of %q: %q", tr.name, s, got)
			}
		}
		if tr.apply("\u0130\u212a") != "ik" || tr.apply("\xff") != "\ufffd" {
			t.Errorf("%s: what is not ASCII may be left out of its account", tr.name)
		}
	}
}

// Nothing is copied if nothing changes, also where there are triggers.
func TestTransformsDoNotAllocWhenNothingChanges(t *testing.T) {
	const harmless, plain = "/shop/list?page=3 id_0 the-quick (brown) fox*", "abcdefghijklmnopqrstuvwxyz_0"
	for name, s := range map[string]string{
		"urlDecode": "100% of %zz%", "urlDecodeUni": "100% of %zz %u00g0 %u%", "urlEncode": "abc*", "utf8toUnicode": harmless,
		"cssDecode": harmless, "escapeSeqDecode": `at the end \`, "jsDecode": `at the end \`,
		"htmlEntityDecode": "a & b &c=1 &# &#x; &; &=&nosuch &co &", "removeComments": "a-b * c / d < e <!- f",
		"removeCommentsChar": "a-b * c / d < e <!- f", "replaceComments": "a */ / * b", "compressWhitespace": "a b c dà\u2003",
		"removeWhitespace": "aéz€", "trim": "a b", "trimLeft": "a ", "trimRight": " a", "removeNulls": harmless, "replaceNulls": harmless,
		"cmdLine": "usr/bin(x) a b é", "normalizePath": "/a/b.c/...x/", "normalizePathWin": "c:/a b/.c/../../d.e/",
		"lowercase": "a é €", "uppercase": "A É €", "hexDecode": "61 62", "none": harmless,
	} {
		tr, _ := transformOf(name)
		if name == "normalizePathWin" {
			s = "c:/a b/.c/d.e/"
		}
		for _, s := range []string{s, plain, harmless} {
			if tr.apply(s) != s {
				continue
			}
			if n := testing.AllocsPerRun(20, func() { tr.apply(s) }); n != 0 {
				t.Errorf("%s of %q: %v allocations, though nothing changes", name, s, n)
			}
		}
		if tr.apply(s) != s {
			t.Errorf("%s changes %q", name, s)
		}
	}
}

func TestBytesOfIsEveryByte(t *testing.T) {
	for _, s := range append(shortValues(), randomValues(6, 1000)...) {
		set := bytesOf(s)
		for c := range 256 {
			if want := strings.IndexByte(s, byte(c)) >= 0; set.has(byte(c)) != want {
				t.Fatalf("%q has %#x: %v", s, c, want)
			}
		}
	}
	if !bytesOf("ab").intersects(bytesOf("bc")) || bytesOf("ab\xff").intersects(bytesOf("cd\xfe")) {
		t.Error("intersects")
	}
}

// Characters fold to the same byte wherever they come from, and to ASCII if they have a fitting one.
func TestBestFitIsSorted(t *testing.T) {
	for i, run := range bestFit {
		if len(run.to) == 0 || !utf8.ValidString(run.to) || i > 0 && run.from < bestFit[i-1].from+rune(len(bestFit[i-1].to)) {
			t.Errorf("run %d, from %U, is empty or out of order", i, run.from)
		}
	}
}

// All that %uHHHH can say, to urlDecodeUni; to the others the same in their way.
func TestEveryCharacterFolds(t *testing.T) {
	var values []string
	step := 1
	if !fullTransforms() {
		step = 17
	}
	const digits = "0123456789abcdef"
	for code := 0; code < 0x10000; code += step {
		hex := string([]byte{digits[code>>12], digits[code>>8&15], digits[code>>4&15], digits[code&15]})
		values = append(values, "%u"+hex+`\u`+hex+`\u{`+hex+`}\`+hex+" &#x"+hex+";")
	}
	for code := 0xa0; code < 0x2124; code++ {
		hex := string([]byte{digits[code>>12], digits[code>>8&15], digits[code>>4&15], digits[code&15]})
		values = append(values, "%u"+hex)
	}
	newReference(t, false, []string{"urlDecodeUni"}, []string{"jsDecode"}, []string{"cssDecode"}, []string{"htmlEntityDecode"}).compare(t, values...)
}
