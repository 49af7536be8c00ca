package routes

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// served is the vhost that answers for a URL without scheme; "?" for an ambiguous path.
func served(t *testing.T, table *Table, url string) string {
	t.Helper()
	host, target := SplitName(url)
	own := table.Match(host)
	if own == nil {
		return ""
	}
	r, err := table.Below(own, target)
	if errors.Is(err, ErrAmbiguousPath) {
		return "?"
	}
	if err != nil {
		t.Fatal(err)
	}
	return r.Name
}

func TestTheLongestPathWinsAtTheEndOfASegment(t *testing.T) {
	table, _ := with(&Table{},
		vhostChange("a.test/blog/admin", "t"), vhostChange("a.test/blog", "t"), vhostChange("a.test", "t", "alias.test"),
		vhostChange("*.wild.test", "t"), vhostChange("*.wild.test/api", "t"), vhostChange("b.test", "t"))
	for url, want := range map[string]string{
		"a.test/": "a.test", "a.test/blog": "a.test/blog", "a.test/blog/": "a.test/blog", "a.test/blog?x=/admin": "a.test/blog",
		"a.test/blog/x/y": "a.test/blog", "a.test/blogs": "a.test", "a.test/blo": "a.test", "a.test/x/blog": "a.test",
		"a.test/blog/admin": "a.test/blog/admin", "a.test/blog/admin/x": "a.test/blog/admin", "a.test/blog/administrator": "a.test/blog",
		"a.test/Blog": "a.test", "alias.test/blog/1": "a.test/blog", "x.y.wild.test/api/1": "*.wild.test/api", "x.wild.test/ap": "*.wild.test",
		"b.test/blog": "b.test", "a.test/blog" + strings.Repeat("/x", 5000): "a.test/blog", "a.test/" + strings.Repeat("x", 5000): "a.test",
	} {
		if got := served(t, table, url); got != want {
			t.Errorf("%.60s is answered by %q, want %q", url, got, want)
		}
	}
	if r, err := table.Below(table.Match("a.test"), "*"); err != nil || r.Name != "a.test" {
		t.Error("OPTIONS * is not the host's own")
	}
}

// What a backend might read as another vhost's path selects neither of the two. What no reading makes
// another's is taken as it stands.
func TestNoReadingOfAPathSelectsAnotherVhost(t *testing.T) {
	table, _ := with(&Table{}, vhostChange("a.test", "t"), vhostChange("a.test/blog", "t"), vhostChange("a.test/blog/admin", "t"))
	for _, path := range []string{
		"/a/..%2fblog", "/a/../blog", "/a/%2e%2e/blog", "/a/.%2E/blog/x", "/./blog", "/%2e/blog", "//blog", "/%2fblog", "/%2Fblog/x", "/a/..//blog",
		"/%62log", "/%2562log", "/a/..%252fblog", "/a/%252e%252e/blog", `/a\..\blog`, `/\blog`, "/%5cblog", "/a/..%5cblog", "/a/..%255cblog",
		"/;x/blog", "/blog;v=1", "/blog%3bv=1", "/a/..;/blog", "/a/..;x=1/blog", "/a;/../blog", "/a/..%3b/blog", "/x;%2f..%2fblog",
		"/blog/..", "/blog/../", "/blog/../x", "/blog/%2e%2e/x", "/blog/..%2fx", "/blog%2f..%2fx", "/blog%2fx", "/blog%5cx", `/blog\x`, "/blog//../../x",
		"/blog/../../x", "/blog/..;/x", "/blog/x/../admin", "/blog/./admin", "/blog//admin", "/blog/%61dmin", "/blog/admin/..", "/blog/admin/%2e%2e/x",
		"/../blog", "/..%2fblog", "/a/b/../../blog", "/a//../blog", "/a/%2f../blog", "/./../blog/", "/a/..%2f" + strings.Repeat("%2e%2f", 400) + "blog",
		"/blog%3fx", "/blog%253fx", "/blog%23x", "/blog/admin%3f/../x", "/x/..%2fblog%3f",
	} {
		if got := served(t, table, "a.test"+path); got != "?" {
			t.Errorf("%.60s is answered by %q, want a refusal", path, got)
		}
	}
	for path, want := range map[string]string{
		"/blog/caf%C3%A9": "a.test/blog", "/blog/a%20b?c=%2e%2e": "a.test/blog", "/blog/x%2fy": "a.test/blog", "/blog/x;v=1": "a.test/blog", "/blog/": "a.test/blog",
		"/projects/group%2Fproject": "a.test", "/x/../y": "a.test", "/x//y": "a.test", "/.well-known/x": "a.test", "/a;b=c": "a.test", "/100%25": "a.test",
		"/blog/what%3f": "a.test/blog", "/blog/" + strings.Repeat("%D0%BF", 1300): "a.test/blog", "/blog/x/../y": "a.test/blog", "/blog/admin/a/../b": "a.test/blog/admin", "/x?/../blog": "a.test", "/blo%67s": "a.test", "/...": "a.test", "/blog..": "a.test",
	} {
		if got := served(t, table, "a.test"+path); got != want {
			t.Errorf("%s is answered by %q, want %q", path, got, want)
		}
	}
}

// With deny: [all] on /p/admin, /p/a/..;/../..;/admin was the host's, where a program in between sent on /p/a/..;/admin.
func TestMixedReadingsOfAPathSelectNoOtherVhost(t *testing.T) {
	t.Parallel()
	table, _ := with(&Table{}, vhostChange("a.test", "t"), vhostChange("a.test/p/admin", "t"))
	for _, path := range []string{
		"/p/a/..;/../..;/admin", "/p/a/%2e%2e/../%2e%2e/admin", "/p/a/%252e%252e/%252e%252e/%2e%2e/admin", `/p/a/..\../../..\admin`,
		"/p/a/..%2fx/../..%2fadmin", "/p/a%2fx/../%61dmin", "/p%3b%252fx/%2561dmin", "/p%3bx%252fy/%2561dmin%3bz", "/p/%3b%252fx/..%2f%2561dmin", "/p//..//admin", "/p/;a/../;b/admin", "/p/a/..;/../%2e%2e/%252e%252e/..;/admin",
	} {
		if got := served(t, table, "a.test"+path); got != "?" {
			t.Errorf("%s is answered by %q, want a refusal", path, got)
		}
	}
	for _, path := range []string{"/p/a/../b", "/p/a/..;/b", "/p/a/b/..;/../c", "/p/x//../y%20z", "/p/a/%2e%2e/caf%C3%A9", "/p;v=1/caf%C3%A9", "/p%3bv=%252f/caf%25C3%25A9"} {
		if got := served(t, table, "a.test"+path); got != "a.test" {
			t.Errorf("%s is answered by %q: no reading of it is /p/admin", path, got)
		}
	}
	if !Climbs("/a%2fx/../%2e%2e/y") { // as /%2e%2e/y is sent on
		t.Error("a path that climbs once its first dot segment is resolved")
	}
	host, path := table.Match("a.test"), strings.Repeat(`/a%255c;..%252f\..;/../..%3b`, 80)
	if _, err := table.Below(host, path); !errors.Is(err, ErrAmbiguousPath) {
		t.Errorf("all readings of readings were made: %v", err)
	}
}

// The readings against the rule, written naively: whatever a path is made of, if one of the ways to read it leads
// elsewhere, it is refused.
func FuzzBelow(f *testing.F) {
	table, _ := (&Table{}).With([]Change{vhostChange("a.test", "t"), vhostChange("a.test/b", "t"), vhostChange("a.test/b/c", "t")})
	own := table.Match("a.test")
	for _, s := range []string{"/b", "/a/..%2fb", "/b/..;x/c", `/b\c%5c..`, "/%2562//../b;/", "/b/a/%2e%2e/../%2e%2e/c", "/b//..//c", "/b/a%2fx/../%63", "/b%3b%252fx/%2563"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		if !strings.HasPrefix(path, "/") || strings.ContainsAny(path, "?") || len(path) > 100 {
			t.Skip()
		}
		got, err := table.Below(own, path)
		if err != nil {
			if got != own {
				t.Errorf("%q: an ambiguous path is not the host's", path)
			}
			return
		}
		// As it is, or by a program that resolves dot segments, or decodes and cuts parameters off.
		for _, sent := range []string{path, string(resolveDots([]byte(path))), string(cutParameters(decodeEscapes([]byte(path))))} {
			if want := cleaned(sent); got.Name != want {
				t.Errorf("%q is answered by %s, and a backend that gets %q would take it for %s", path, got.Name, sent, want)
			}
		}
	})
}

// cleaned is the vhost that a backend would take a path for that decodes once and cleans, the most common one.
func cleaned(path string) string {
	var segments []string
	for s := range strings.SplitSeq(string(decodeEscapes([]byte(path))), "/") {
		switch s {
		case "", ".":
		case "..":
			segments = segments[:max(0, len(segments)-1)]
		default:
			segments = append(segments, s)
		}
	}
	switch {
	case len(segments) == 0 || segments[0] != "b":
		return "a.test"
	case len(segments) > 1 && segments[1] == "c":
		return "a.test/b/c"
	}
	return "a.test/b"
}

// Before any limit of requests, one of 8 KiB took tens of milliseconds of a processor.
func TestReadingsOfAHostilePathAreBounded(t *testing.T) {
	table, _ := with(&Table{}, vhostChange("a.test", "t"), vhostChange("a.test/blog", "t"))
	host, path := table.Match("a.test"), "/"+strings.Repeat(`a%25%3f;\/./a//`, 500)
	if _, err := table.Below(host, path); !errors.Is(err, ErrAmbiguousPath) || !Climbs(path) {
		t.Errorf("all of its readings were made: %v", err)
	}
	if long := "/" + strings.Repeat("%41", 100_000); !Climbs(long) {
		t.Error("a path of 300 kB was decoded")
	}
	x, bytes, count := readingsOf(path), 0, 0
	for x.next() {
		bytes, count = bytes+len(x.base), count+1
	}
	if !x.tooMany() || bytes > maxReadings {
		t.Errorf("%d readings of %d bytes", count, bytes)
	}
}

// A document of a tenant that has 10,000 path vhosts on a host must not hold up all others' for half a minute.
func TestManyPathVhostsOfAHostLoadAsFastAsHosts(t *testing.T) {
	const many = 8000
	load := func(name string) time.Duration {
		changes := []Change{vhostChange("a.test", "t")}
		for i := range many {
			changes = append(changes, vhostChange(fmt.Sprintf(name, i), "t"))
		}
		begin := time.Now()
		table, _ := (&Table{}).With(changes)
		if table.Len() != many+1 {
			t.Fatalf("%d vhosts", table.Len())
		}
		return time.Since(begin)
	}
	if hosts, paths := load("h%d.test"), load("a.test/p%d"); paths > 20*hosts+time.Second {
		t.Errorf("%d path vhosts took %v, as many hosts %v", many, paths, hosts)
	}
}

func TestClimbs(t *testing.T) {
	for path, want := range map[string]bool{
		"/../x": true, "/..": true, "/a/../../x": true, "/a/..%2f..%2fx": true, "/%2e%2e/x": true, "/.%2e": true, "/%252e%252e/x": true, `/..\x`: true, `/a\..\..\x`: true,
		"/..;/x": true, "/..;a=b/x": true, "/a//../../x": true, "/..%3f": true, "/a/../../a": true, "/./../x": true, "//../x": true,
		"/": false, "/x": false, "/a/../x": false, "/a/..": false, "/x?/../..": false, "/..x": false, "/.../x": false, "/a/b/../../x": false, "/caf%C3%A9/..": false, "*": false, "/a//x": false,
	} {
		if got := Climbs(path); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
}

// The readings against the same, step by step.
func FuzzReadings(f *testing.F) {
	for _, s := range []string{"/b", "/a/..%2fb", "/b/..;x/c", `/b\c%5c..`, "/%2562//../b;/", "/a%3f;/../b%23", "//.;/..//."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		if !strings.HasPrefix(path, "/") || len(path) > 60 {
			t.Skip()
		}
		got := map[string]bool{path: true} // as it stands
		for x := readingsOf(path); x.next(); {
			got[string(x.read)] = true
		}
		for decode := range maxDecoded + 1 {
			for bits := range 1 << 6 {
				b := []byte(path)
				if bits&32 != 0 {
					b = cutParameters(b)
				}
				for range decode {
					b = decodeEscapes(b)
				}
				if difference(bits)&turned != 0 {
					b = []byte(strings.ReplaceAll(string(b), `\`, "/"))
				}
				if end := strings.IndexAny(string(b), "?#"); difference(bits)&ended != 0 && end >= 0 {
					b = b[:end]
				}
				if difference(bits)&cut != 0 {
					b = cutParameters(b)
				}
				if difference(bits)&merged != 0 {
					b = []byte(regexp.MustCompile("/+").ReplaceAllString(string(b), "/"))
				}
				if difference(bits)&walked != 0 {
					b = resolveDots(b)
				}
				if !got[string(b)] {
					t.Fatalf("%q decoded %d times with %06b is %q: not among the readings", path, decode, bits, b)
				}
			}
		}
	})
}

// resolveDots removes dot segments in place (RFC 3986 §5.2.4). The path begins with "/".
func resolveDots(b []byte) []byte {
	out := b[:0]
	for len(b) > 0 {
		end := 1
		for end < len(b) && b[end] != '/' {
			end++
		}
		segment, last := b[:end], end == len(b) // with its "/"
		b = b[end:]
		switch string(segment) {
		case "/..":
			out = out[:max(0, strings.LastIndexByte(string(out), '/'))]
		case "/.":
		default:
			out = append(out, segment...)
			continue
		}
		if last {
			out = append(out, '/')
		}
	}
	return out
}

func TestPathVhostIsItsHostsTenants(t *testing.T) {
	table, _ := with(&Table{}, vhostChange("a.test", "shop", "alias.test"), vhostChange("a.test/x", "blog"), vhostChange("a.test/y", ""),
		vhostChange("alias.test/x", "shop"), vhostChange("none.test/x", "shop"), vhostChange("b.test", ""), vhostChange("b.test/x", ""))
	for url, want := range map[string]string{"a.test/x": "a.test", "a.test/y": "a.test", "alias.test/x": "a.test", "none.test/x": "", "b.test/x": "b.test/x"} {
		if got := served(t, table, url); got != want {
			t.Errorf("%s is answered by %q, want %q", url, got, want)
		}
	}
	for name, want := range map[string]string{
		"a.test/x":     "tenant: vhost a.test is tenant shop's, and a path of it has to be too: its requests go to a.test",
		"a.test/y":     "tenant: vhost a.test is tenant shop's, and a path of it has to be too: its requests go to a.test",
		"alias.test/x": "vhost a.test answers for alias.test: name this one a.test/x, or add a vhost alias.test",
		"none.test/x":  "there is no vhost none.test that this could be a path of: add one, such as none.test: {tenant: shop, respond: {status: 404}}",
	} {
		if got := table.Conflicts(table.Vhost(name)); len(got) != 1 || got[0].Error() != want {
			t.Errorf("%s: %v, want %s", name, got, want)
		}
	}
	if got := table.Conflicts(table.Vhost("b.test/x")); got != nil {
		t.Error(got)
	}
}

// Whatever order documents come and go in, a path vhost is found while both it and its host are there.
func TestPathVhostsComeAndGo(t *testing.T) {
	steps := []Change{
		vhostChange("a.test/x", "t"), vhostChange("a.test", "t"), gone(KindVhost, "a.test"), vhostChange("a.test", "t"),
		badChange(KindVhost, "a.test/x", "bad"), badChange(KindVhost, "a.test", "bad"), gone(KindVhost, "a.test/x"), badChange(KindVhost, "a.test/x", "bad"),
		vhostChange("a.test/x", "t"), vhostChange("a.test", "t", "b.test"), vhostChange("a.test/x", "other"), vhostChange("a.test", "other"),
	}
	want := []string{"", "a.test/x", "", "a.test/x", "a.test/x", "a.test/x", "a.test", "a.test", "a.test/x", "a.test/x", "a.test", "a.test/x"}
	table := &Table{}
	for i, step := range steps {
		before, was := table, served(t, table, "a.test/x/y")
		table, _ = with(table, step)
		if got := served(t, table, "a.test/x/y"); got != want[i] {
			t.Errorf("step %d: %q, want %q", i, got, want[i])
		}
		if got := served(t, before, "a.test/x/y"); got != was {
			t.Errorf("step %d changed the table before it: %q, was %q", i, got, was)
		}
	}
	table, _ = with(table, gone(KindVhost, "a.test/x"))
	if table.Match("a.test").rarely().below != nil || table.below.len() != 0 {
		t.Error("something is left of path vhosts that are gone")
	}
}

// Settings of TLS are the host's, also after it changed.
func TestPathVhostHasItsHostsTLS(t *testing.T) {
	host := func(policy string) Change {
		c := vhostChange("a.test", "t")
		c.Vhost.TLS = &TLS{Policy: policy, RedirectHTTP: "true", HSTS: &HSTS{MaxAge: 5}}
		return c
	}
	table, _ := with(&Table{}, vhostChange("a.test/x", "t"), host("old"))
	next, replaced := with(table, host("modern"))
	if !slices.Equal(replaced, []string{"=a.test", "=a.test/x"}) {
		t.Errorf("replaced %v, want the path vhost too", replaced)
	}
	for policy, table := range map[string]*Table{"old": table, "modern": next} {
		s := table.Vhost("a.test/x").Settings(nil)
		if s.TLSPolicy != policy || s.RedirectHTTP != "true" || s.HSTS.MaxAge != 5 {
			t.Errorf("%s: %q, %q, %v", policy, s.TLSPolicy, s.RedirectHTTP, s.HSTS)
		}
	}
	// One path vhost's change does not replace its host's route; that comes or goes does.
	if _, replaced = with(next, vhostChange("a.test/x", "t", "ignored.test")); !slices.Equal(replaced, []string{"=a.test/x"}) {
		t.Errorf("a change replaced %v", replaced)
	}
}

// A path vhost is suspended with its host, whichever came first, and until that is open again, or gone.
func TestPathVhostIsSuspendedWithItsHost(t *testing.T) {
	t.Parallel()
	host := func(suspended bool) Change {
		c := vhostChange("a.test", "t")
		c.Vhost.VhostExtras = &VhostExtras{Suspended: &suspended}
		return c
	}
	path, gone := vhostChange("a.test/x", "t"), Change{Key: Key{Kind: KindVhost, Name: "a.test"}}
	table := &Table{}
	for i, c := range []struct {
		change    []Change
		replaced  []string
		suspended bool
	}{
		{[]Change{path, host(true)}, []string{"+a.test", "+a.test/x"}, true},
		{[]Change{host(false)}, []string{"=a.test", "=a.test/x"}, false},
		{[]Change{vhostChange("a.test", "t", "alias.test")}, []string{"=a.test"}, false},
		{[]Change{host(true), vhostChange("a.test/x", "t", "ignored.test")}, []string{"=a.test", "=a.test/x"}, true},
		{[]Change{gone}, []string{"-a.test", "=a.test/x"}, false},
		{[]Change{host(true)}, []string{"+a.test", "=a.test/x"}, true},
		{[]Change{path}, []string{"=a.test/x"}, true},
		{[]Change{gone, host(false)}, []string{"=a.test", "=a.test/x"}, false},
	} {
		next, replaced := with(table, c.change...)
		if got := next.Vhost("a.test/x").IsSuspended(); got != c.suspended || !slices.Equal(replaced, c.replaced) {
			t.Errorf("step %d: suspended: %v; replaced %v", i, got, replaced)
		}
		table = next
	}
}

// A tenant is suspended with all of its vhosts, whatever they say of themselves, paths of them among them, and nobody else's.
func TestVhostsAreSuspendedWithTheirTenant(t *testing.T) {
	t.Parallel()
	tenant := func(suspended bool) Change {
		return Change{Key: Key{KindTenant, "t"}, Tenant: &Tenant{Name: "t", Suspended: &suspended}}
	}
	own := func(suspended bool) Change {
		c := vhostChange("a.test", "t")
		c.Vhost.VhostExtras = &VhostExtras{Suspended: &suspended}
		return c
	}
	table, _ := with(&Table{}, own(false), vhostChange("a.test/x", "t"), vhostChange("b.test", "t"), vhostChange("other.test", "o"), vhostChange("plain.test", ""))
	all := []string{"=a.test", "=a.test/x", "=b.test"}
	for i, c := range []struct {
		change    []Change
		replaced  []string
		suspended string
	}{
		{[]Change{tenant(true)}, all, "a.test a.test/x b.test"},
		{[]Change{tenantChange("o", "block"), vhostChange("c.test", "t")}, []string{"+c.test", "=other.test"}, "a.test a.test/x b.test c.test"},
		{[]Change{badChange(KindTenant, "t", "bad")}, nil, "a.test a.test/x b.test c.test"},
		{[]Change{gone(KindVhost, "c.test"), vhostChange("b.test", "o")}, []string{"=b.test", "-c.test"}, "a.test a.test/x"},
		{[]Change{own(true)}, []string{"=a.test", "=a.test/x"}, "a.test a.test/x"},
		{[]Change{tenant(false)}, []string{"=a.test", "=a.test/x"}, "a.test a.test/x"}, // by the host's document
		{[]Change{own(false)}, []string{"=a.test", "=a.test/x"}, ""},
		{[]Change{tenant(true)}, []string{"=a.test", "=a.test/x"}, "a.test a.test/x"},
		{[]Change{gone(KindTenant, "t")}, []string{"=a.test", "=a.test/x"}, ""},
	} {
		next, replaced := with(table, c.change...)
		var suspended []string
		for r := range next.Vhosts() {
			if r.IsSuspended() {
				suspended = append(suspended, r.Name)
			}
			if path := strings.Contains(r.Name, "/"); !path && r.Settings(nil).Suspended != r.IsSuspended() {
				t.Errorf("step %d: the settings of %s say something else", i, r.Name)
			}
		}
		slices.Sort(suspended)
		if got := strings.Join(suspended, " "); got != c.suspended || !slices.Equal(replaced, c.replaced) {
			t.Errorf("step %d: suspended: %s; replaced %v", i, got, replaced)
		}
		table = next
	}
}

func TestNamesOfPathVhosts(t *testing.T) {
	for name, want := range map[string]string{
		"WWW.Shop.test./blog/": "www.shop.test/blog", "shop.test/": "shop.test", "*.shop.test/a/B_c": "*.shop.test/a/B_c", "*/x": "*/x", "[::1]/x": "[::1]/x",
		"shop.test//": "", "shop.test/a//b": "", "shop.test/a/../b": "", "shop.test/.": "", "shop.test/a%20b": "", "shop.test/a;b": "", "shop.test/a?b": "",
		"shop.test/é": "", "/blog": "", "shop.test:80/x": "", "shop.test/*": "", "shop.test/" + strings.Repeat("x", 255): "", "shop.test" + strings.Repeat("/x", 9): "",
	} {
		got, err := CanonicalVhost(name)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v, want %q", name, got, err, want)
		}
	}
}

func BenchmarkBelow(b *testing.B) {
	changes := append(manyVhosts(100_000), vhostChange("a.test", "t"), vhostChange("none.test", "t"))
	for i := range 1000 {
		changes = append(changes, vhostChange(fmt.Sprintf("a.test/p%d/q", i), "t"))
	}
	table, _ := (&Table{}).With(changes)
	for name, url := range map[string]string{
		"no-path-vhosts": "none.test/p7/q/index.html", "miss": "a.test/assets/css/site.css", "hit": "a.test/p7/q/index.html", "escaped": "a.test/p7/q/caf%C3%A9",
		"mixed":   "a.test/p7/q/a/b/..;/../c/%2e%2e/d%20e",
		"hostile": "a.test/p7/q/" + strings.Repeat(`a%3f;\/./a//`, 12) + "%2525",
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			host, target := SplitName(url)
			own := table.Match(host)
			for b.Loop() {
				if _, err := table.Below(own, target); (err != nil) != (name == "hostile") {
					b.Fatal(err)
				}
			}
		})
	}
}
