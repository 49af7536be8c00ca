package cache

import (
	"bytes"
	"testing"
)

func secs(n int64) seconds { return seconds{set: true, n: n} }

func TestParseControl(t *testing.T) {
	lines := func(s ...string) []string { return s }
	for _, tt := range []struct {
		name  string
		lines []string
		want  control
	}{
		{"absent", nil, control{}},
		{"empty line", lines(""), control{present: true}},
		{"empty members", lines(", ,, max-age=1 ,,"), control{present: true, maxAge: secs(1)}},
		{"any case", lines("No-Store, PRIVATE, Max-Age=5"), control{present: true, noStore: true, private: true, maxAge: secs(5)}},
		{"quoted argument", lines(`max-age="60"`), control{present: true, maxAge: secs(60)}},
		{"escaped argument is no number", lines(`max-age="6\0"`), control{present: true, maxAge: secs(0)}},
		{"several lines", lines("public", "s-maxage=9"), control{present: true, public: true, sMaxAge: secs(9)}},
		{"duplicates: the smallest", lines("max-age=60, max-age=5", "max-age=600"), control{present: true, maxAge: secs(5)}},
		{"duplicates: one invalid is stale", lines("max-age=60, max-age=x"), control{present: true, maxAge: secs(0)}},
		{"negative is stale", lines("max-age=-1"), control{present: true, maxAge: secs(0)}},
		{"fraction is stale", lines("max-age=1.5"), control{present: true, maxAge: secs(0)}},
		{"no argument is stale", lines("max-age"), control{present: true, maxAge: secs(0)}},
		{"huge is capped", lines("max-age=99999999999999999999999"), control{present: true, maxAge: secs(maxSeconds)}},
		{"leading zeros", lines("max-age=007"), control{present: true, maxAge: secs(7)}},
		{"no-cache with fields counts whole", lines(`no-cache="Set-Cookie, X"`), control{present: true, noCache: true}},
		{"private with fields counts whole", lines(`private="X"`), control{present: true, private: true}},
		{"public with an argument permits nothing", lines("public=yes"), control{present: true}},
		{"must-revalidate with an argument permits nothing", lines("must-revalidate=1"), control{present: true}},
		{"no-store with an argument forbids", lines("no-store=0"), control{present: true, noStore: true}},
		{"a directive inside a quoted string is none", lines(`ext="no-store, max-age=9"`), control{present: true}},
		{"a quote inside a quoted string", lines(`ext="a\",no-store"`), control{present: true}},
		{"a longer name is another", lines("max-age2=1, xno-store"), control{present: true}},
		{"request directives", lines("min-fresh=3, only-if-cached"), control{present: true, minFresh: secs(3), onlyIfCached: true}},
		{"semicolon", lines("max-age=60; no-store"), control{present: true, malformed: true, maxAge: secs(60)}},
		{"space instead of comma", lines("public max-age=60"), control{present: true, malformed: true, public: true}},
		{"space before the equals sign", lines("max-age =60"), control{present: true, malformed: true, maxAge: secs(0)}},
		{"space after the equals sign", lines("max-age= 60"), control{present: true, malformed: true, maxAge: secs(0)}},
		{"open quote", lines(`ext="no-store`), control{present: true, malformed: true}},
		{"open quote does not reach the next line", lines(`ext="a`, `no-store"`), control{present: true, malformed: true, noStore: true}},
		{"equals sign alone", lines("=60"), control{present: true, malformed: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b [][]byte
			for _, l := range tt.lines {
				b = append(b, []byte(l))
			}
			if got := parseControl(b); got != tt.want {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

// FuzzControl: whatever the line, no panic; a no-store that stands alone in a
// list is never lost; and a number is within its bounds.
func FuzzControl(f *testing.F) {
	for _, s := range []string{
		"", "max-age=60", `private="a, b", s-maxage=1`, `x="\`, "max-age=99999999999999999999", "a=b=c", `"`, "no-cache\x00",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		c := parseControl([][]byte{line})
		for _, s := range []seconds{c.maxAge, c.sMaxAge, c.minFresh} {
			if s.n < 0 || s.n > maxSeconds || !s.set && s.n != 0 {
				t.Fatalf("%q: %+v", line, s)
			}
		}
		if c.malformed {
			return
		}
		for _, joined := range [][]byte{
			append([]byte("no-store, "), line...),
			append(bytes.Clone(line), ", no-store"...),
		} {
			if j := parseControl([][]byte{joined}); !j.noStore {
				t.Fatalf("%q: no-store is lost: %+v", joined, j)
			}
		}
	})
}
