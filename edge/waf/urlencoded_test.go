package waf

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

const form1001 = "x=1&"

var formSeeds = []string{
	"", "a", "a=", "=a", "=", "&", "&&a=1&&", "a=1&b=2", "a=1;b=2", "a==1", "a=b=c", "a+b=c+d", "%61=%62", "%=1", "a=%", "a=%4", "a=%zz", "a=%4z", "%00=%ff", "a=\x00\xff", "é=ü",
	"a=%2541", "a%3Db=c%26d", "a=1\r\n&b=2", strings.Repeat(form1001, 10), "[]=1&a[b][c]=2", "a.b=1", "A=1", "a=%C0%AF", "+", "%2B=%2b", "a=<script>",
}

// What names have one value each is read as the engine's own reads it.
func FuzzForm(f *testing.F) {
	for _, s := range formSeeds {
		f.Add(s)
	}
	f.Add(strings.Repeat(form1001, 1100))
	e := ungatedEngine(f)
	f.Fuzz(func(t *testing.T, body string) {
		if len(body) > 1<<14 {
			return
		}
		got, want := readMultipart(e, form, body, true), readMultipart(e, form, body, false)
		names := map[string]int{}
		for pair := range strings.SplitSeq(body, "&") {
			name, _, _ := strings.Cut(pair, "=")
			if pair != "" {
				names[strings.ToLower(formUnescape(name))]++
			}
		}
		for _, n := range names {
			if n > 1 { // the engine's own may lose some of them
				for _, v := range []string{"ARGS", "ARGS_POST", "ARGS_NAMES", "ARGS_POST_NAMES", "ARGS_COMBINED_SIZE"} {
					if len(got[v]) < len(want[v]) {
						t.Errorf("%q: %s has %q, the engine's own %q", body, v, got[v], want[v])
					}
					delete(got, v)
					delete(want, v)
				}
				break
			}
		}
		if !maps.EqualFunc(got, want, slices.Equal) {
			t.Errorf("%q\n got %q\nwant %q", body, got, want)
		}
	})
}

// With the engine's own, the rules saw one of these, by chance.
func TestSpellingsOfOneNameAreAllSeen(t *testing.T) {
	e := ungatedEngine(t)
	for range 50 {
		got := readMultipart(e, form, "id=1&ID=2&Id=3&id=4", true)
		if !slices.Equal(got["ARGS_POST"], []string{`"ID"="2"`, `"Id"="3"`, `"id"="1"`, `"id"="4"`}) {
			t.Fatalf("%q", got["ARGS_POST"])
		}
	}
}
