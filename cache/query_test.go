package cache

import (
	"net/url"
	"slices"
	"strings"
	"testing"
)

func TestTarget(t *testing.T) {
	ignore := Query{Ignore: NewNames("utm_*", "fbclid", "a b")}
	only := Query{Only: NewNames("id", "page*")}
	none := Query{Only: NewNames()}
	sorted := Query{Sort: true}
	all := Query{Ignore: NewNames("x"), Only: NewNames("a*", "x"), Sort: true}
	for _, c := range []struct {
		query    Query
		in, want string
	}{
		{Query{}, "/a?utm_x=1&&b", "/a?utm_x=1&&b"},
		{ignore, "/a", "/a"},
		{ignore, "*", "*"},
		{ignore, "/a?b=1&c", "/a?b=1&c"},
		{ignore, "/utm_x=1", "/utm_x=1"}, // a path
		{ignore, "/a?utm_source=1", "/a"},
		{ignore, "/a?utm_source=1&b=2&fbclid=3", "/a?b=2"},
		{ignore, "/a?b=2&b=1&utm_=&b=2", "/a?b=2&b=1&b=2"}, // repeated ones keep their order
		{ignore, "/a?UTM_x=1", "/a?UTM_x=1"},               // another name
		{ignore, "/a?utm_x", "/a"},
		{ignore, "/a?utm", "/a?utm"},
		{ignore, "/a?%75tm_x=1&b=%41+c", "/a?b=%41+c"}, // the others stay as they were written
		{ignore, "/a?utm%5fx=1", "/a"},
		{ignore, "/a?utm%255fx=1", "/a?utm%255fx=1"}, // decoded once
		{ignore, "/a?utm%5=1", "/a?utm%5=1"},
		{ignore, "/a?a+b=1&a%20b=2&a%2Bb=3", "/a?a%2Bb=3"},
		{ignore, "/a?b=utm_x=1", "/a?b=utm_x=1"},
		{ignore, "/a?b=1?utm_x=2", "/a?b=1?utm_x=2"}, // a "?" is data from the second on
		{ignore, "/a?utm_x=1?b=2", "/a"},
		{ignore, "/a?", "/a"},
		{ignore, "/a?&&", "/a"},
		{ignore, "/a?b&&utm_x&", "/a?b"},
		{ignore, "/a?=1", "/a?=1"}, // a name that is empty is one
		{only, "/a?id=1&x=2&pages=3&page=4", "/a?id=1&pages=3&page=4"},
		{only, "/a?x=2", "/a"},
		{only, "/a?id=1", "/a?id=1"},
		{none, "/a?id=1", "/a"},
		{none, "/a", "/a"},
		{sorted, "/a?b=1&a=2", "/a?a=2&b=1"},
		{sorted, "/a?a=2&b=1", "/a?a=2&b=1"},
		{sorted, "/a?b=2&a=2&b=1", "/a?a=2&b=2&b=1"}, // the order of one name may mean something
		{sorted, "/a?%61=2&a=1", "/a?%61=2&a=1"},
		{sorted, "/a?a[1]=2&a[]=1", "/a?a[1]=2&a[]=1"},
		{sorted, "/a?a.b=2&a_b=1&A_B=3&a+b", "/a?a.b=2&a_b=1&A_B=3&a+b"},
		{sorted, "/a?b&a=&", "/a?a=&b"},
		{all, "/a?b=1&x=2&ab=3&aa=4", "/a?aa=4&ab=3"},
	} {
		p := &Policy{Query: c.query}
		if got := targetOf(p, c.in); got != c.want {
			t.Errorf("%s: got %s, want %s", c.in, got, c.want)
		}
		if got := targetOf(p, c.want); got != c.want {
			t.Errorf("%s: becomes %s", c.want, got)
		}
	}
	var off *Policy
	if _, changed := off.Target(nil, "/a?utm_x"); changed {
		t.Error("without a policy the target changes")
	}
	if out, _ := (&Policy{Query: ignore}).Target([]byte("before"), "/a?utm_x"); string(out) != "before/a" {
		t.Errorf("not appended: %s", out)
	}
	many := "/a?" + strings.Repeat("b=1&", 1000) + "a=1"
	if got := targetOf(&Policy{Query: sorted}, many); got != "/a?a=1"+strings.Repeat("&b=1", 1000) {
		t.Errorf("many parameters: %.40s…", got)
	}
}

// targetOf is the target as it is keyed and forwarded.
func targetOf(p *Policy, target string) string {
	out, changed := p.Target(nil, target)
	if !changed {
		if out != nil {
			panic("dst was written to")
		}
		return target
	}
	if string(out) == target {
		panic("changed to the same: " + target)
	}
	return string(out)
}

// A parameter that is not in the key must not reach the backend: its answer would be stored for everybody.
func TestUnkeyedParameterPoisoning(t *testing.T) {
	p := &Policy{Query: Query{Ignore: NewNames("utm_*", "callback")}}
	for _, attack := range []string{
		`/page?utm_content=<script>alert(1)</script>`, `/page?utm_content="><svg/onload=alert(1)>`, `/page?callback=alert`,
		"/page?callback=a&callback=b", "/page?%63allback=alert", "/page?call%62ack", "/page?utm_x", "/page?utm_%78=1&utm%5fy=2",
		"/page?callback=1;id=2", // behind ";" stands more of the value
	} {
		if got := targetOf(p, attack); got != "/page" {
			t.Errorf("%s is forwarded as %s, and keyed as /page", attack, got)
		}
	}
	for _, kept := range []string{"/page?Callback=alert", "/page?callback%00=1", "/page?callback[]=1", "/page?%2563allback=1", "/page?+callback=1", "/page?x.callback"} {
		if got := targetOf(p, kept); got != kept { // whoever takes it for the name has it in the key
			t.Errorf("%s is forwarded as %s", kept, got)
		}
	}
}

// Servers divide parameters in different ways. Whatever one of them could find in what is forwarded is in the key.
func TestParameterCloaking(t *testing.T) {
	p := &Policy{Query: Query{Ignore: NewNames("utm_*")}}
	only := &Policy{Query: Query{Only: NewNames("id")}}
	for _, c := range []struct{ in, ignored, only string }{
		{"/?a=1;utm_x=2", "/?a=1;utm_x=2", "/"},                // one parameter, a
		{"/?utm_x=1;a=2", "/", "/"},                            // and none of it goes on
		{"/?id=1;utm_x=2", "/?id=1;utm_x=2", "/?id=1;utm_x=2"}, //
		{"/?utm_x%3d1&id=1", "/?id=1", "/?id=1"},               // the name is "utm_x=1"
		{"/?utm_x%26id=1", "/", "/"},                           // an encoded "&" divides nothing
		{"/?utm_x=1%26id=2", "/", "/"},                         //
		{"/?id=1%26utm_x=2", "/?id=1%26utm_x=2", "/?id=1%26utm_x=2"},
		{"/?utm%255fx=1", "/?utm%255fx=1", "/"},                // encoded twice
		{"/?%69d=1", "/?%69d=1", "/?%69d=1"},                   //
		{"/?%2569d=1", "/?%2569d=1", "/"},                      //
		{"/?id=1?utm_x=2", "/?id=1?utm_x=2", "/?id=1?utm_x=2"}, //
		{"/?utm_x=1#&id=2", "/?id=2", "/?id=2"},                //
		{"/?utm_x\x00=1", "/", "/"},                            //
		{"/?id%00=1&id=2", "/?id%00=1&id=2", "/?id=2"},         //
		{"/%3futm_x=1", "/%3futm_x=1", "/%3futm_x=1"},          // a path
		{"/?ID=1&id=2", "/?ID=1&id=2", "/?id=2"},               //
		{"/?id=1&id=2", "/?id=1&id=2", "/?id=1&id=2"},          // both, in order
	} {
		if got := targetOf(p, c.in); got != c.ignored {
			t.Errorf("ignore: %s: got %s, want %s", c.in, got, c.ignored)
		}
		if got := targetOf(only, c.in); got != c.only {
			t.Errorf("only: %s: got %s, want %s", c.in, got, c.only)
		}
	}
	if a, b := targetOf(p, "/?a=1;utm_x=2"), targetOf(p, "/?a=1"); a == b {
		t.Error("two requests that a backend may answer differently have one key")
	}
}

// keptOf is what counts of a target, by net/url instead of our own reader.
func keptOf(q Query, target string) (path string, kept []string) {
	path, query, _ := strings.Cut(target, "?")
	for parameter := range strings.SplitSeq(query, "&") {
		name, _, _ := strings.Cut(parameter, "=")
		if decoded, err := url.QueryUnescape(name); err == nil {
			name = decoded
		} else {
			name = string(appendDecoded(nil, name, true)) // net/url gives up at one bad escape
		}
		if parameter != "" && (q.Only == nil || q.Only.fits(name)) && (q.Ignore == nil || !q.Ignore.fits(name)) {
			kept = append(kept, parameter)
		}
	}
	return path, kept
}

func FuzzTarget(f *testing.F) {
	f.Add("/a?b=1&utm_x=2&a=3", "/a?a=3&b=1", "utm_*", "", false, true)
	f.Add("/a?b;c&%61+=&", "/a?", "c", "a*", true, true)
	f.Add("/a?a[]=1&a.b&A_b&a%5b", "*?x", "", "", true, false)
	f.Fuzz(func(t *testing.T, a, b, ignore, only string, hasOnly, sort bool) {
		q := Query{Sort: sort}
		if ignore != "" {
			q.Ignore = NewNames(ignore)
		}
		if hasOnly {
			q.Only = NewNames(only)
		}
		p := &Policy{Query: q}
		outA, outB := targetOf(p, a), targetOf(p, b)
		if again := targetOf(p, outA); again != outA {
			t.Fatalf("%q: %q, then %q", a, outA, again)
		}
		if q == (Query{}) {
			return
		}
		pathA, keptA := keptOf(q, a)
		path, kept := keptOf(Query{}, outA)
		inOrder := slices.Clone(keptA)
		slices.Sort(inOrder)
		sorted := slices.Sorted(slices.Values(kept))
		if path != pathA || !slices.Equal(sorted, inOrder) {
			t.Fatalf("%q: %q and %q are forwarded, want %q and %q", a, path, kept, pathA, keptA)
		}
		if !sort && !slices.Equal(kept, keptA) {
			t.Fatalf("%q: the order has changed: %q", a, kept)
		}
		if outA == outB {
			pathB, keptB := keptOf(q, b)
			slices.Sort(keptB)
			if pathA != pathB || !slices.Equal(inOrder, keptB) {
				t.Fatalf("%q and %q are both %q", a, b, outA)
			}
		}
	})
}
