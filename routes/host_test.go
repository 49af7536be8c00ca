package routes

import (
	"strings"
	"testing"
)

func TestCanonicalHost(t *testing.T) {
	long := strings.Repeat("a", 63)
	for host, want := range map[string]string{ // want empty: refused
		"shop.test":                "shop.test",
		"Shop.TEST":                "shop.test",
		"shop.test.":               "shop.test",
		"shop.test:80":             "shop.test",
		"SHOP.test.:65535":         "shop.test",
		"shop.test:":               "shop.test", // RFC 3986 §3.2.3: the port may be empty
		"a_b.test":                 "a_b.test",
		"localhost":                "localhost",
		"127.0.0.1:8080":           "127.0.0.1",
		"[::1]:443":                "[::1]",
		"[2001:DB8:0:0::1]":        "[2001:db8::1]",
		"bücher.test":              "xn--bcher-kva.test",
		"BÜCHER.test":              "xn--bcher-kva.test",
		"xn--bcher-kva.test":       "xn--bcher-kva.test",
		"ｓｈｏｐ.test":                "shop.test",
		long + ".test":             long + ".test",
		"":                         "",
		".":                        "",
		"..":                       "",
		"a..b":                     "",
		".a":                       "",
		"a.b..":                    "",
		"shop.test:65536":          "",
		"shop.test:000080":         "",
		"shop.test:-1":             "",
		"shop.test:80:80":          "",
		"shop.test:8o":             "",
		"shop test":                "",
		"shop.test\x00":            "",
		"shop.test/":               "",
		"user@shop.test":           "",
		"shop.test,other.test":     "",
		"*.shop.test":              "",
		"::1":                      "",
		"[::1":                     "",
		"[]":                       "",
		"[::1]x":                   "",
		"[127.0.0.1]":              "",
		"[fe80::1%eth0]":           "",
		"[::1]:99999":              "",
		long + "a.test":            "",
		strings.Repeat("a.", 127):  strings.Repeat("a.", 126) + "a",
		strings.Repeat("ab.", 100): "",
		"a\u2025b.test":            "",
		"\xff\xfe.test":            "",
		"b\xc3\xbc\xff.test":       "",
		"\ufffd.test":              "",
		"%73hop.test":              "",
	} {
		got, err := CanonicalHost(host)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, %v, want %q", host, got, err, want)
		}
	}
}

func TestCanonicalName(t *testing.T) {
	for name, want := range map[string]string{
		"*": "*", "*.Shop.test": "*.shop.test", "WWW.shop.test.": "www.shop.test", "*.bücher.test": "*.xn--bcher-kva.test", "[::1]": "[::1]", "*.test": "*.test",
		"": "", "*.": "", "**": "", "*shop.test": "", "a.*.test": "", "*.*": "", "shop.test:80": "", "*.shop.test:80": "", "*:80": "",
	} {
		got, err := CanonicalName(name)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, %v, want %q", name, got, err, want)
		}
	}
}

func TestCanonicalHostOfACanonicalHostDoesNotAllocate(t *testing.T) {
	for _, host := range []string{"www.shop.test", "www.shop.test:443"} {
		if n := testing.AllocsPerRun(100, func() {
			if _, err := CanonicalHost(host); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", host, n)
		}
	}
}

func FuzzCanonicalHost(f *testing.F) {
	for _, seed := range []string{"Shop.test:80", "[::1]:80", "bücher.test.", "*.x.test", "*", "a..b", "xn--a", "xn--bcher-kva.test", "1.2.3.4:", "[::ffff:1.2.3.4]", "ß.test", "a\u3002b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, host string) {
		once, err := CanonicalHost(host)
		if err == nil {
			if twice, err := CanonicalHost(once); err != nil || twice != once {
				t.Errorf("%q becomes %q, and that %q (%v)", host, once, twice, err)
			}
			if strings.ContainsAny(once, "*/@ \r\n\x00") {
				t.Errorf("%q becomes %q", host, once)
			}
		}
		name, err := CanonicalName(host)
		if err == nil {
			if twice, err := CanonicalName(name); err != nil || twice != name {
				t.Errorf("%q becomes %q, and that %q (%v)", host, name, twice, err)
			}
		}
	})
}
