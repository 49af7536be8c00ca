package cache

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
	"testing"
)

// RFC 9110 §12.5.4, §12.4.2: what means the same is the same, and nothing else is.
func TestAcceptLanguageRFC9110Section12_5_4(t *testing.T) {
	same := func(values ...string) []string { return values }
	for _, class := range [][]string{
		same("de", " de ", "DE", "de;q=1", "de ; q=1.0", "de;Q=1.000", "de,", ",de,,"),
		same("de,en;q=0.5", "en;q=0.5,de", "EN ; q=0.50 , De;q=1", "de, en;q=0.500"),
		same("de,en", "en,de", "en, de"),
		same("de;q=0", "de;q=0.000", "DE;q=0."),
		same("*"),
		same("de-AT,de;q=0.9", "de-at, de;q=0.9"),
		same("de,de", "de,DE"),
		same(""),
		same("de;q=0.5"),
		same("de;q=1.001"), // what cannot be read is compared as it is
		same("de;q=x"),
		same("de_AT"),
		same("de;q=0.1,en;q=0.9,x_y"),
		same("x_y,en;q=0.9,de;q=0.1"),
	} {
		first := string(appendLanguages(nil, [][]byte{[]byte(class[0])}))
		for _, other := range class[1:] {
			if got := string(appendLanguages(nil, [][]byte{[]byte(other)})); got != first {
				t.Errorf("%q is %q, but %q is %q", class[0], first, other, got)
			}
		}
	}
	seen := map[string]string{}
	for _, value := range []string{"de", "de,en", "de,en;q=0.5", "de;q=0.5", "de;q=0", "*", "", "de-at", "de;q=1.001", "de;q=0.5,en", "de,de", "de;q=0.1,en;q=0.9,x_y"} {
		form := string(appendLanguages(nil, [][]byte{[]byte(value)}))
		if other, is := seen[form]; is {
			t.Errorf("%q and %q are both %q", value, other, form)
		}
		seen[form] = value
	}
}

// A response that names its language serves whoever wants that most, and nobody else whose fields differ from those of
// the request that it answered.
func TestContentLanguageSelects(t *testing.T) {
	many := make([]string, maxLanguages+1)
	for i := range many {
		many[i] = "x-" + string(rune('a'+i%26)) + string(rune('a'+i/26)) + ";q=0.1"
	}
	for _, tt := range []struct {
		language string // of the response to a request for "de, fr;q=0.5"
		asks     string
		hit      bool
	}{
		{"de", "de", true},
		{"DE", "de-x;q=0.5, de", true},
		{"de", "de;q=0.3", true},
		{"de", "de;q=0.3, en;q=0.2", true},
		{"de", "en;q=0.2, de;q=0.3", true},
		{"de", "de, *;q=0.1", true},
		{"de", "de, en", false}, // which of the two is the backend's choice
		{"de", "de;q=0.5, en;q=0.5", false},
		{"de", "en, de;q=0.9", false},
		{"de", "de;q=0", false},
		{"de", "de;q=0, en;q=0", false},
		{"de", "de-AT", false},
		{"de", "*", false},
		{"de", "", false},
		{"de-AT", "de", false},
		{"fr", "de, fr;q=0.1", false},
		{"fr", "fr", true}, // the backend had no other for that request either
		{"de, fr", "de", false},
		{"", "de", false},
		{"de", "de, fr;q=0.5", true},
		// What cannot be read says nothing of what is wanted most.
		{"de", "de;q=0.1, en;q=0.9, x_y", false},
		{"de", "de;q=0.1, en, fr;q=2", false},
		{"de", "de;q=0.1," + strings.Join(many, ","), false},
		{"de", "de;q=0.1, en;q=high", false},
	} {
		s, _ := newStore(t, MinMaxBytes)
		fields := []string{"Cache-Control", "max-age=60", "Vary", "Accept-Language"}
		if tt.language != "" {
			fields = append(fields, "Content-Language", tt.language)
		}
		fill(t, s, get("/", "Accept-Language", "de, fr;q=0.5"), answer(200, fields...), "page")
		if l := s.Lookup(get("/", "Accept-Language", tt.asks), &Policy{}); (l.Entry != nil) != tt.hit {
			t.Errorf("in %q, for %.40q: hit %v", tt.language, tt.asks, l.Entry != nil)
		}
	}
}

// wanted is a second reading of Accept-Language, by the letter of the RFC: the language that is wanted more than any
// other, or none. ok is false if the field cannot be read.
func wantedMost(field string) (tag string, ok bool) {
	type choice struct {
		tag    string
		weight float64
	}
	var choices []choice
	for member := range strings.SplitSeq(field, ",") {
		member = strings.Trim(member, " \t")
		tag, weight, weighted := strings.Cut(member, ";")
		tag = strings.ToLower(strings.Trim(tag, " \t"))
		if strings.Trim(tag, "abcdefghijklmnopqrstuvwxyz0123456789-*") != "" {
			return "", false
		}
		c := choice{tag, 1}
		if weighted {
			name, value, _ := strings.Cut(strings.Trim(weight, " \t"), "=")
			whole, fraction, _ := strings.Cut(value, ".")
			if strings.ToLower(name) != "q" || whole != "0" && whole != "1" || strings.Trim(fraction, "0123456789") != "" || len(fraction) > 3 ||
				whole == "1" && strings.Trim(fraction, "0") != "" {
				return "", false
			}
			if c.weight = 0; whole == "1" {
				c.weight = 1
			}
			for i, digit := range []byte(fraction) {
				c.weight += float64(digit-'0') / []float64{10, 100, 1000}[i]
			}
		}
		if tag != "" {
			choices = append(choices, c)
		}
	}
	if len(choices) > maxLanguages {
		return "", false
	}
	slices.SortStableFunc(choices, func(a, b choice) int { return cmp.Compare(b.weight, a.weight) })
	if len(choices) == 0 || choices[0].weight == 0 || len(choices) > 1 && choices[1].weight == choices[0].weight {
		return "", true
	}
	return choices[0].tag, true
}

// FuzzLanguage: a stored response in some language is selected by a field only if it was made for one that means the
// same, or its language is what the field wants most.
func FuzzLanguage(f *testing.F) {
	for _, field := range []string{"de, en;q=0.5", "de;q=0.1,en;q=0.9,x_y", "*;q=0", ",,", "de;q=1.000", "de;q=", ";q=1", "de;q=0.5;x", "a,b,c;q=0", "de;q=0.1234"} {
		f.Add(field, "en", "de")
		f.Add("de", field, "en")
	}
	f.Fuzz(func(t *testing.T, stored, asks, language string) {
		one, two := appendLanguages(nil, [][]byte{[]byte(stored)}), appendLanguages(nil, [][]byte{[]byte(asks)})
		again := appendLanguages(nil, [][]byte{one})
		if _, ok := wantedMost(stored); ok && !bytes.Equal(again, one) {
			t.Fatalf("%q is %q, and that %q", stored, one, again)
		}
		field := selectBy([]string{"Accept-Language"}, head("Accept-Language", stored))
		nameLanguage(field, head("Content-Language", language))
		if !field[0].matches(head("Accept-Language", stored)) {
			t.Fatalf("%q does not select its own", stored)
		}
		if !field[0].matches(head("Accept-Language", asks)) || bytes.Equal(one, two) {
			return
		}
		if tag, ok := wantedMost(asks); !ok || tag == "" || tag != strings.ToLower(language) {
			t.Fatalf("a response in %q to %q answers %q, which wants %q (read: %v)", language, stored, asks, tag, ok)
		}
	})
}
