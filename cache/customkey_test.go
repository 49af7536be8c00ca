package cache

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"
)

func TestPolicyAppendKey(t *testing.T) {
	p := &Policy{Key: Key{Cookies: []string{"lang", "site_id"}, Headers: []string{"X-Country"}, Device: true}}
	key := func(fields ...string) string { return string(p.AppendKey(nil, head(fields...))) }
	same := func(a, b []string) {
		t.Helper()
		if key(a...) != key(b...) {
			t.Errorf("%q and %q have different keys", a, b)
		}
	}
	plain := []string{"Cookie", "lang=de"}
	same(plain, []string{"Cookie", "session=1; lang=de;other=\"x\""})
	same(plain, []string{"Cookie", "session=1", "Cookie", "\tlang=de "})
	same(plain, []string{"Cookie", "language=en; lang=de; xlang=1; a=lang=1"})
	same(plain, []string{"Cookie", "lang=de", "User-Agent", "curl/8.0", "X-Countries", "DE"})
	same([]string{}, []string{"Cookie", "", "User-Agent", ""})
	seen := map[string][]string{}
	for _, fields := range [][]string{
		{},
		plain,
		{"Cookie", "lang=en"},
		{"Cookie", "lang="},
		{"Cookie", "lang"},
		{"Cookie", `lang="de"`}, // some servers keep the quotes
		{"Cookie", "site_id=de"},
		{"Cookie", "lang=de; site_id=1"},
		{"X-Country", "DE"},
		{"X-Country", ""},
		{"X-Country", "DE", "X-Country", ""},
		{"X-Country", "", "X-Country", "DE"},
		{"X-Country", "D", "X-Country", "E"},
		{"Cookie", "lang=de", "X-Country", "DE"},
		{"User-Agent", "iPhone"},
		{"User-Agent", "iPad"},
		// Which one counts is the backend's choice.
		{"Cookie", "lang=de; lang=en"},
		{"Cookie", "lang=en; lang=de"},
		{"Cookie", "lang=en", "Cookie", "lang=de"}, // the same as the one before, see below
		// What some server takes for the cookie.
		{"Cookie", "LANG=de"},
		{"Cookie", "site.id=de"},
		{"Cookie", "lang[x]=de"},
		{"Cookie", "%6cang=de"},
		{"Cookie", `a="; lang=de; b="`},
		{"Cookie", `a="\"; lang=de; b="`},
		{"Cookie", "a=1, lang=de"},
		{"Cookie", "a=1,lang=en"},
	} {
		k := key(fields...)
		if other, ok := seen[k]; ok && strings.Join(fields, ";") != "Cookie;lang=en;Cookie;lang=de" {
			t.Errorf("%q and %q share a key", fields, other)
		}
		seen[k] = fields
	}
	var off *Policy
	for _, p := range []*Policy{off, {}} {
		if got := p.AppendKey([]byte("k"), head("Cookie", "lang=de")); string(got) != "k" {
			t.Errorf("a plain policy appends %q", got)
		}
	}
}

// Two policies that take the same texts from different places do not share keys: a store outlives a change of settings.
func TestKeysOfTwoPoliciesDiffer(t *testing.T) {
	keys := map[string]bool{}
	policies := []*Policy{
		{},
		{Key: Key{Cookies: []string{"a"}}},
		{Key: Key{Cookies: []string{"b"}}},
		{Key: Key{Headers: []string{"A"}}},
		{Key: Key{Device: true}},
		{Key: Key{Cookies: []string{"a", "b"}}},
		{Key: Key{Headers: []string{"A", "B"}}},
	}
	for _, p := range policies {
		keys[string(p.AppendKey(nil, head("Cookie", "a=a", "A", "a=a", "User-Agent", "a=a")))] = true
	}
	if len(keys) != len(policies) {
		t.Errorf("%d keys of %d policies", len(keys), len(policies))
	}
}

// values reads back what AppendKey has written for the policy.
func values(t *testing.T, key []byte, k *Key) (out [][]string) {
	part := func() string {
		n, size := binary.Uvarint(key)
		if size <= 0 || uint64(len(key)-size) < n {
			t.Fatalf("%q: no part", key)
		}
		text := string(key[size : size+int(n)])
		key = key[size+int(n):]
		return text
	}
	next := func() byte {
		if len(key) == 0 {
			t.Fatal("the key ends early")
		}
		c := key[0]
		key = key[1:]
		return c
	}
	list := func(kind byte, name string) {
		if c := next(); c != kind {
			t.Fatalf("%q, want %q", c, kind)
		}
		if name != "" && part() != name {
			t.Fatalf("not the part of %s", name)
		}
		values := []string{}
		for next() == 1 {
			values = append(values, part())
		}
		out = append(out, values)
	}
	for _, name := range k.Cookies {
		list('c', name)
	}
	if len(key) > 0 && key[0] == 'l' {
		list('l', "")
	}
	for _, name := range k.Headers {
		list('h', name)
	}
	if k.Device {
		if next() != 'd' {
			t.Fatal("no class")
		}
		out = append(out, []string{part()})
	}
	if len(key) > 0 {
		t.Fatalf("%q is left over", key)
	}
	return out
}

func FuzzPolicyAppendKey(f *testing.F) {
	f.Add("lang=de; a=1", "x", "", "lang=de", "lang=en; lang=de", "y")
	f.Add(`a="; lang=1`, "", "lang", "lang=", "", "\x00")
	f.Fuzz(func(t *testing.T, cookieA1, cookieA2, headerA, cookieB1, cookieB2, headerB string) {
		p := &Policy{Key: Key{Cookies: []string{"lang", "a"}, Headers: []string{"X-Country"}, Device: true}}
		a := head("Cookie", cookieA1, "Cookie", cookieA2, "X-Country", headerA)
		b := head("Cookie", cookieB1, "Cookie", cookieB2, "X-Country", headerB, "User-Agent", headerA)
		keyA, keyB := p.AppendKey(nil, a), p.AppendKey(nil, b)
		valuesA, valuesB := values(t, keyA, &p.Key), values(t, keyB, &p.Key)
		if equal := slices.EqualFunc(valuesA, valuesB, slices.Equal); equal != bytes.Equal(keyA, keyB) {
			t.Fatalf("%q and %q: keys %q and %q", valuesA, valuesB, keyA, keyB)
		}
		// A cookie that nobody could read otherwise is in the key.
		for pair := range strings.SplitSeq(cookieA1, ";") {
			if pair = strings.Trim(pair, " \t"); strings.HasPrefix(pair, "lang=") && !bytes.Contains(keyA, []byte(pair)) {
				t.Fatalf("%q is not in %q", pair, keyA)
			}
		}
	})
}

func TestDeviceClass(t *testing.T) {
	for agent, want := range map[string]string{
		"":                       "desktop",
		"curl/8.5.0":             "desktop",
		strings.Repeat("x", 9e3): "desktop",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36":                                            "desktop",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605.1.15":                                      "desktop",
		"Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0":                                                                                     "desktop",
		"Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1; Trident/4.0; Tablet PC 2.0)":                                                                             "desktop",
		"Mozilla/5.0 (SMART-TV; Linux; Tizen 2.4.0) AppleWebkit/538.1 (KHTML, like Gecko) SamsungBrowser/1.1 TV Safari/538.1":                                        "desktop",
		"Mozilla/5.0 (Linux; Android 12; BRAVIA 4K Build/SP1A; Android TV) AppleWebKit/537.36 Chrome/126.0.0.0 Safari/537.36":                                        "desktop",
		"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)":                                                                                   "desktop",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1":                    "mobile",
		"Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36":                                      "mobile",
		"Mozilla/5.0 (Android 14; Mobile; rv:127.0) Gecko/127.0 Firefox/127.0":                                                                                       "mobile",
		"Opera/9.80 (J2ME/MIDP; Opera Mini/7.1.32052/29.3709; U; en) Presto/2.8.119 Version/11.10":                                                                   "mobile",
		"Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Mobile Safari/537.36 (compatible; Googlebot/2.1)":          "mobile",
		"Mozilla/5.0 (iPad; CPU OS 12_2 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/12.1 Mobile/15E148 Safari/604.1":                             "tablet",
		"Mozilla/5.0 (Linux; Android 13; SM-X900) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36":                                             "tablet",
		"Mozilla/5.0 (Android 13; Tablet; rv:127.0) Gecko/127.0 Firefox/127.0":                                                                                       "tablet",
		"Mozilla/5.0 (Linux; U; Android 4.0.3; en-us; KFTT Build/IML74K) AppleWebKit/535.19 (KHTML, like Gecko) Silk/3.4 Mobile Safari/535.19 Silk-Accelerated=true": "tablet",
		"MOZILLA/5.0 (IPHONE)": "mobile",
	} {
		if got := DeviceClass([]byte(agent)); got != want {
			t.Errorf("%.80s: %s, want %s", agent, got, want)
		}
	}
	p := &Policy{Key: Key{Device: true}}
	if got := p.Device(head("User-Agent", "iPhone", "User-Agent", "iPad")); got != "mobile" {
		t.Errorf("of two fields: %s", got)
	}
	if got := (&Policy{}).Device(head("User-Agent", "iPhone")); got != "" {
		t.Errorf("a policy that does not ask for it: %s", got)
	}
}
