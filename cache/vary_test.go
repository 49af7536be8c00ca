package cache

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"gatehouse/internal/octets"
)

func TestVaryRFC9111Section4_1(t *testing.T) {
	for _, tt := range []struct {
		name       string
		vary       string
		first, now []string
		hit        bool
	}{
		{"equal", "Accept", []string{"Accept", "a"}, []string{"Accept", "a"}, true},
		{"different", "Accept", []string{"Accept", "a"}, []string{"Accept", "b"}, false},
		{"case of the value counts", "Accept", []string{"Accept", "a"}, []string{"Accept", "A"}, false},
		{"case of the name does not", "aCCept", []string{"Accept", "a"}, []string{"Accept", "a"}, true},
		{"order of the value counts", "Accept", []string{"Accept", "a,b"}, []string{"Accept", "b,a"}, false},
		{"absent both times", "Accept", nil, nil, true},
		{"absent, then present", "Accept", nil, []string{"Accept", "a"}, false},
		{"present, then absent", "Accept", []string{"Accept", "a"}, nil, false},
		{"empty is not absent", "Accept", []string{"Accept", ""}, nil, false},
		{"whitespace around commas", "Accept", []string{"Accept", "a,b"}, []string{"Accept", " a ,\t b "}, true},
		{"whitespace inside a member counts", "Accept", []string{"Accept", "a b"}, []string{"Accept", "a  b"}, false},
		{"whitespace in a quoted string counts", "Accept", []string{"Accept", `"a,b"`}, []string{"Accept", `"a, b"`}, false},
		{"an escaped quote does not end the string", "Accept", []string{"Accept", `"\",b"`}, []string{"Accept", `"\", b"`}, false},
		{"two lines are one list", "Accept", []string{"Accept", "a, b"}, []string{"Accept", "a", "Accept", "b"}, true},
		{"a cookie's comma is data", "Cookie", []string{"Cookie", "a=1,2"}, []string{"Cookie", "a=1, 2"}, false},
		{"two cookie lines are not one", "Cookie", []string{"Cookie", "a=1,b=2"}, []string{"Cookie", "a=1", "Cookie", "b=2"}, false},
		{"all names must match", "Accept, Foo", []string{"Accept", "a", "Foo", "1"}, []string{"Accept", "a", "Foo", "2"}, false},
		{"a field that is not named does not count", "Accept", []string{"Accept", "a", "Foo", "1"}, []string{"Accept", "a", "Foo", "2"}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := newStore(t, MinMaxBytes)
			resp := answer(200, "Cache-Control", "max-age=60", "Vary", tt.vary)
			if !fill(t, s, get("/", tt.first...), resp, "first") {
				t.Fatal("not stored")
			}
			wantHit(t, s, get("/", tt.first...), "first")
			if tt.hit {
				wantHit(t, s, get("/", tt.now...), "first")
			} else if l := wantForward(t, s, get("/", tt.now...), ForwardVaryMiss); !l.MayStore {
				t.Error("the other variant may not be stored")
			}
		})
	}
}

func TestVariantsOfOneKeyLiveSideBySide(t *testing.T) {
	s, _ := newStore(t, 8<<20)
	resp := answer(200, "Cache-Control", "max-age=60", "Vary", "Accept-Language")
	for _, lang := range []string{"de", "fr", "en"} {
		if !fill(t, s, get("/", "Accept-Language", lang), resp, lang) {
			t.Fatalf("%s is not stored", lang)
		}
	}
	for _, lang := range []string{"de", "fr", "en"} {
		wantHit(t, s, get("/", "Accept-Language", lang), lang)
	}
	if st := s.Stats(); st.Objects != 1 || st.Entries != 3 {
		t.Errorf("%d objects, %d entries", st.Objects, st.Entries)
	}
	// One of them again: in its place, not beside it.
	req := get("/", "Accept-Language", "fr", "Cache-Control", "no-cache")
	wantForward(t, s, req, ForwardRequest)
	put(t, s, req, resp, "fr2")
	wantHit(t, s, get("/", "Accept-Language", "fr"), "fr2")
	wantHit(t, s, get("/", "Accept-Language", "de"), "de")
	if n := s.Stats().Entries; n != 3 {
		t.Errorf("%d entries", n)
	}
}

// RFC 9111 §4.1: a response that omits Vary by mistake must not hide those that
// have it.
func TestAVariantIsPreferredToAResponseWithoutVary(t *testing.T) {
	s, _ := newStore(t, 8<<20)
	fill(t, s, get("/", "Accept-Language", "de"), answer(200, "Cache-Control", "max-age=60", "Vary", "Accept-Language"), "de")
	req := get("/")
	wantForward(t, s, req, ForwardVaryMiss)
	put(t, s, req, answer(200, "Cache-Control", "max-age=60"), "plain")
	wantHit(t, s, get("/", "Accept-Language", "de"), "de")
	wantHit(t, s, get("/", "Accept-Language", "fr"), "plain")
}

// A client that sends ever new values must not grow an object without end.
func TestTheOldestVariantLeavesBeyondTheCap(t *testing.T) {
	s, _ := newStore(t, 64<<20)
	resp := answer(200, "Cache-Control", "max-age=60", "Vary", "Foo")
	for i := range maxVariants + 8 {
		fill(t, s, get("/", "Foo", fmt.Sprint(i)), resp, fmt.Sprint(i))
	}
	if n := s.Stats().Entries; n != maxVariants {
		t.Fatalf("%d entries", n)
	}
	wantForward(t, s, get("/", "Foo", "7"), ForwardVaryMiss)
	wantHit(t, s, get("/", "Foo", "8"), "8")
	wantHit(t, s, get("/", "Foo", fmt.Sprint(maxVariants+7)), fmt.Sprint(maxVariants+7))
}

func TestVariantsTogetherStayWithinTheirRoom(t *testing.T) {
	s, _ := newStore(t, 10<<20)
	resp := answer(200, "Cache-Control", "max-age=60", "Vary", "Foo")
	body := string(make([]byte, 90<<10)) // an entry may cost a hundredth: 105 kB
	for i := range 10 {
		if !fill(t, s, get("/", "Foo", fmt.Sprint(i)), resp, body) {
			t.Fatalf("variant %d is refused", i)
		}
	}
	if st := s.Stats(); st.Bytes > variantRoom*s.MaxEntry() || st.Entries != 4 {
		t.Errorf("%d entries of %d bytes, room for %d", st.Entries, st.Bytes, variantRoom*s.MaxEntry())
	}
	wantHit(t, s, get("/", "Foo", "9"), body)
}

// RFC 9111 §4: what was stored last is used, also where it varies no more. What varied and is fresh still comes first, see above.
func TestAResourceThatVariesNoMoreHitsAgain(t *testing.T) {
	for name, before := range map[string]string{
		"stale":                     "max-age=10",
		"that serves while stale":   "max-age=10, stale-while-revalidate=600, stale-if-error=600",
		"that is validated always":  "max-age=600, no-cache",
		"that is fresh for nothing": "max-age=0",
	} {
		t.Run(name, func(t *testing.T) {
			s, c := newStore(t, MinMaxBytes)
			ask := func() *Request { return get("/", "Accept-Language", "de") }
			fill(t, s, ask(), answer(200, "Cache-Control", before, "Vary", "Accept-Language", "ETag", `"1"`), "old")
			c.advance(11 * time.Second)
			req := ask()
			s.Lookup(req, &Policy{})
			now := answer(200, "Cache-Control", "max-age=60")
			now.Received = c.now()
			if !put(t, s, req, now, "new") {
				t.Fatal("not stored")
			}
			wantHit(t, s, ask(), "new")
			if n := s.Stats().Entries; n != 1 {
				t.Errorf("%d entries, one of which nobody can get", n)
			}
		})
	}
}

func TestAResourceThatBeginsToVaryIsNotAnsweredAsBefore(t *testing.T) {
	s, c := newStore(t, MinMaxBytes)
	fill(t, s, get("/"), answer(200, "Cache-Control", "max-age=600"), "for all")
	german := get("/", "Accept-Language", "de", "Cache-Control", "no-cache")
	s.Lookup(german, &Policy{})
	put(t, s, german, answer(200, "Cache-Control", "max-age=10", "Vary", "Accept-Language", "ETag", `"1"`), "german")
	wantHit(t, s, get("/", "Accept-Language", "de"), "german")
	c.advance(11 * time.Second)
	if l := wantForward(t, s, get("/", "Accept-Language", "de"), ForwardStale); l.Stale == nil || string(l.Stale.Body) != "german" {
		t.Error("what came later is not what is validated")
	}
	wantHit(t, s, get("/", "Accept-Language", "fr"), "for all")
}

func TestVariantsOfNoMoreUseLeave(t *testing.T) {
	s, c := newStore(t, MinMaxBytes)
	stored := func(foo string, pairs ...string) {
		t.Helper()
		resp := answer(200, append(pairs, "Vary", "Foo")...)
		resp.Received = c.now()
		if !fill(t, s, get("/", "Foo", foo), resp, foo) {
			t.Fatal("not stored")
		}
	}
	stored("plain", "Cache-Control", "max-age=10")
	stored("tagged", "Cache-Control", "max-age=10", "ETag", `"1"`)
	stored("dated", "Cache-Control", "max-age=10", "Last-Modified", "Wed, 04 Mar 2026 05:06:00 GMT")
	stored("kept on error", "Cache-Control", "max-age=10, stale-if-error=60")
	stored("validated always", "Cache-Control", "no-cache", "ETag", `"1"`)
	c.advance(11 * time.Second)
	stored("new", "Cache-Control", "max-age=10")
	if n := s.Stats().Entries; n != 5 {
		t.Errorf("%d entries, want all but one", n)
	}
	wantForward(t, s, get("/", "Foo", "plain"), ForwardVaryMiss)
	for _, foo := range []string{"tagged", "dated", "kept on error", "validated always"} {
		if l := wantForward(t, s, get("/", "Foo", foo), ForwardStale); l.Stale == nil {
			t.Errorf("%s: gone", foo)
		}
	}
}

func TestParseVary(t *testing.T) {
	names, reason := parseVary([][]byte{[]byte("foo, ACCEPT ,,"), []byte("accept,\tbar")})
	if want := []string{"Accept", "Bar", "Foo"}; reason != "" || !slices.Equal(names, want) {
		t.Errorf("%q, %q", names, reason)
	}
}

// FuzzNormalise: a request selects what was stored for it, normalising twice
// changes nothing, and outside lists nothing but outer whitespace goes.
func FuzzNormalise(f *testing.F) {
	for _, s := range []string{"gzip, br", `"a , b" , c`, `"\`, ",,", " a ", "a ,"} {
		f.Add(s, "x")
		f.Add("x", s)
	}
	f.Add(`"`, `" ,`)
	f.Add(`"\`, `",`)
	f.Fuzz(func(t *testing.T, a, b string) {
		for _, name := range []string{"Accept", "Cookie"} {
			h := head(name, a, name, b)
			field := selectBy([]string{name}, h)[0]
			if !field.matches(h) {
				t.Fatalf("%q, %q: %q does not select itself", a, b, field.value)
			}
			if name == "Accept" {
				again := appendNormalised(nil, name, [][]byte{[]byte(field.value)})
				if string(again) != field.value {
					t.Fatalf("%q, %q: %q becomes %q", a, b, field.value, again)
				}
			} else if want := string(octets.TrimOWS([]byte(a))) + "\n" + string(octets.TrimOWS([]byte(b))); field.value != want {
				t.Fatalf("%q, %q: %q", a, b, field.value)
			}
		}
	})
}
