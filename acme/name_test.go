package acme

import (
	"strings"
	"testing"
)

func TestCanonicalName(t *testing.T) {
	for in, want := range map[string]string{
		"www.shop.test":                "www.shop.test",
		"WWW.Shop.TEST.":               "www.shop.test",
		"bücher.test":                  "xn--bcher-kva.test",
		"a_b.test":                     "a_b.test",
		"localhost":                    "localhost",
		"1.2.3.test":                   "1.2.3.test",
		"123":                          "123",
		"":                             "",
		".":                            "",
		"a..test":                      "",
		".a.test":                      "",
		"1.2.3.4":                      "",
		"[::1]":                        "",
		"::1":                          "",
		"a.test:443":                   "",
		"*.a.test":                     "",
		"a/../b":                       "",
		"a b":                          "",
		"a\x00b":                       "",
		strings.Repeat("a", 64) + ".b": "",
		strings.Repeat("a.", 127):      "", // 253 octets and a final dot: fine; see below
	} {
		if in == strings.Repeat("a.", 127) {
			want = strings.TrimSuffix(in, ".")
		}
		got, ok := canonicalName(in)
		if ok != (want != "") || (ok && got != want) {
			t.Errorf("canonicalName(%q) is %q, %v; want %q", in, got, ok, want)
		}
	}
	if _, ok := canonicalName(strings.Repeat("ab.", 85)); ok {
		t.Error("a name of 254 octets is taken")
	}
}

func TestCanonicalPattern(t *testing.T) {
	for in, want := range map[string]string{
		"*": "*", "*.A.test": "*.a.test", "A.test": "a.test", "*.": "", "**": "", "*a.test": "", "a.*.test": "", "*.1.2.3.4": "",
	} {
		got, ok := canonicalPattern(in)
		if ok != (want != "") || (ok && got != want) {
			t.Errorf("canonicalPattern(%q) is %q, %v; want %q", in, got, ok, want)
		}
	}
}

func FuzzCanonicalName(f *testing.F) {
	for _, seed := range []string{"www.shop.test", "A.", "bücher.test", "1.2.3.4", "a..b", "xn--", "*.a"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		name, ok := canonicalName(in)
		if !ok {
			return
		}
		if again, ok := canonicalName(name); !ok || again != name {
			t.Errorf("%q gives %q, which gives %q, %v", in, name, again, ok)
		}
		if len(name) > maxNameLength || strings.ContainsAny(name, "/\\*:\x00 ") || name != strings.ToLower(name) {
			t.Errorf("%q gives %q", in, name)
		}
	})
}
