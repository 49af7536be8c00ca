//go:build !race

package cache

import (
	"testing"
	"time"
)

// The race detector allocates, so this runs without it.
func TestAPolicyDoesNotAllocate(t *testing.T) {
	plain := &Policy{TTL: time.Minute}
	full := &Policy{
		Query:  Query{Ignore: NewNames("utm_*", "fbclid"), Sort: true},
		Key:    Key{Cookies: []string{"lang"}, Headers: []string{"X-Country"}, Device: true},
		Bypass: Bypass{Paths: NewPaths("/wp-admin/*"), Query: NewNames("nocache"), Cookies: NewNames("wordpress_logged_in_*"), Headers: []string{"X-Preview"}},
		Rules:  []Rule{{Paths: NewPaths("/static/*"), TTL: time.Hour}, {Paths: NewPaths("*.css"), TTL: time.Hour}, {Paths: NewPaths("/live/*")}},
	}
	h := head("Cookie", "session=1; lang=de", "X-Country", "DE", "User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0")
	h.PeekAll("Cookie") // its own room
	dst := make([]byte, 0, 1<<10)
	for name, p := range map[string]*Policy{"plain": plain, "full": full} {
		for _, target := range []string{"/a/b.css?a=1&b=2", "/a/b.css?b=2&utm_x=3&a=1", "/a/caf%C3%A9.css?%61=2"} {
			if n := testing.AllocsPerRun(100, func() {
				p.Bypasses(target, h)
				p.Target(dst, target)
				p.AppendKey(dst, h)
				p.Device(h)
				p.TTLFor(target, 200, "text/css; charset=utf-8")
			}); n != 0 {
				t.Errorf("%s: %s: %v allocations", name, target, n)
			}
		}
	}
}

func BenchmarkPolicy(b *testing.B) {
	p := &Policy{
		Query: Query{Ignore: NewNames("utm_*", "fbclid", "gclid"), Sort: true},
		Key:   Key{Cookies: []string{"lang"}, Device: true},
		Rules: []Rule{{Paths: NewPaths("/static/*"), TTL: time.Hour}, {Paths: NewPaths("*.css"), TTL: time.Hour}},
	}
	h := head("Cookie", "session=1; lang=de", "User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0")
	dst := make([]byte, 0, 1<<10)
	b.ReportAllocs()
	for b.Loop() {
		p.Target(dst, "/a/b.css?b=2&utm_x=3&a=1")
		p.AppendKey(dst, h)
		p.TTLFor("/a/b.css", 200, "text/css")
	}
}
