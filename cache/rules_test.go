package cache

import (
	"testing"
	"time"
)

func TestTTLFor(t *testing.T) {
	p := &Policy{Rules: []Rule{
		{Paths: NewPaths("/static/live/*"), Override: true},
		{Paths: NewPaths("/static/*", "/favicon.ico"), Status: []int{200}, TTL: time.Hour, Override: true},
		{Status: []int{404, 503}, TTL: 10 * time.Second},
		{Paths: NewPaths("/news"), TTL: time.Minute},
	}}
	for _, c := range []struct {
		path     string
		status   int
		ttl      time.Duration
		override bool
		ok       bool
	}{
		{"/static/a.css", 200, time.Hour, true, true},
		{"/static/a.css?x", 200, time.Hour, true, true},
		{"/favicon.ico", 200, time.Hour, true, true},
		{"/static", 200, 0, false, false},
		{"/Static/a.css", 200, 0, false, false},
		{"/static/a.css", 301, 0, false, false},
		{"/static/a.css", 404, 10 * time.Second, false, true}, // the first that fits
		{"/static/live/a", 200, 0, true, true},
		{"/static/live/a", 302, 0, true, true}, // without statuses, what keeps out keeps all out
		{"/static/%6cive/a", 200, 0, true, true},
		{"/%73tatic/a", 200, 0, false, false},
		{"/x?/static/a", 200, 0, false, false}, // the query never
		{"/x", 503, 10 * time.Second, false, true},
		{"/x", 500, 0, false, false},
		{"/news", 200, time.Minute, false, true},
		{"/news", 301, time.Minute, false, true},
		{"/news", 410, time.Minute, false, true},
		{"/news", 302, 0, false, false},
	} {
		ttl, override, ok := p.TTLFor(c.path, c.status, "text/html")
		if ttl != c.ttl || override != c.override || ok != c.ok {
			t.Errorf("%s %d: %v %v %v", c.path, c.status, ttl, override, ok)
		}
	}
	var off *Policy
	for _, p := range []*Policy{off, {}, {Rules: []Rule{{Paths: NewPaths(), TTL: time.Hour}}}} {
		if _, _, ok := p.TTLFor("/a", 200, ""); ok {
			t.Errorf("%+v has a rule", p)
		}
	}
}

// cacheable is what an owner writes for his files.
var cacheable = &Policy{Rules: []Rule{
	{Paths: NewPaths("*.css", "*.js", "*.jpg", "/files/*.qqq"), TTL: time.Hour, Override: true},
	{Paths: NewPaths("/account.css"), TTL: time.Hour},
}}

// The page of an account, asked for by a name that looks like a file's, must get no freshness by a rule about files.
func wantPrivate(t *testing.T, path string) {
	t.Helper()
	for _, contentType := range []string{"text/html", "text/html; charset=utf-8", "TEXT/HTML", "application/json", "application/xhtml+xml", ""} {
		if ttl, _, ok := cacheable.TTLFor(path, 200, contentType); ok {
			t.Errorf("%s with type %q is fresh for %v", path, contentType, ttl)
		}
	}
}

func TestWebCacheDeceptionByExtension(t *testing.T) {
	for _, path := range []string{"/account/x.css", "/account/x.js", "/account.php/x.jpg", "/account/.css", "/account/x.CSS", "/account/a.b.css", "/files/account/x.css"} {
		wantPrivate(t, path)
	}
	if _, _, ok := cacheable.TTLFor("/files/account/x.qqq", 200, "text/html"); ok {
		t.Error("a page by an extension that nobody knows")
	}
	for path, contentType := range map[string]string{
		"/a.css": "text/css; charset=utf-8", "/a/b.js": "Application/JavaScript", "/c.jpg": "image/webp", "/files/x.qqq": "application/x-qqq",
		"/account.css": "text/html", // named in full, it is what its owner says
	} {
		if _, _, ok := cacheable.TTLFor(path, 200, contentType); !ok {
			t.Errorf("%s of type %s has no rule", path, contentType)
		}
	}
}

// Behind a delimiter the backend stops reading, and the cache must not go on.
func TestWebCacheDeceptionByDelimiter(t *testing.T) {
	for _, path := range []string{
		"/account;x.css", "/account%3bx.css", "/account%2fx.css", "/account%2Fx.css", "/account%3fx.css", "/account%3Fx.css", "/account%23x.css",
		"/account%00x.css", "/account%0ax.css", "/account%5cx.css", `/account\x.css`, "/account%2523x.css", "/account%x.css",
	} {
		wantPrivate(t, path)
		if _, _, ok := cacheable.TTLFor(path, 200, "text/css"); ok {
			t.Errorf("%s has a rule by a type that the page can claim", path)
		}
	}
}

// What one side resolves and the other does not makes a page of a file, or the other way round.
func TestWebCacheDeceptionByTraversal(t *testing.T) {
	p := &Policy{Rules: []Rule{{Paths: NewPaths("/static/*", "*.css"), TTL: time.Hour}}}
	for _, path := range []string{"/static/../account", "/static/..%2faccount", "/static/%2e%2e/account", "/static/..;/account", "/account/..%2fx.css", "/account/%2e%2e%2fstatic/x.css", "/static/..%5caccount"} {
		wantPrivate(t, path)
		if _, _, ok := p.TTLFor(path, 200, "text/css"); ok {
			t.Errorf("%s has a rule", path)
		}
	}
}

// The other way round: what a rule keeps out is not let in by another spelling.
func TestWebCacheDeceptionByAnotherSpelling(t *testing.T) {
	p := &Policy{Rules: []Rule{
		{Paths: NewPaths("/account*", "*.private"), Override: true},
		{TTL: time.Hour},
	}}
	for _, path := range []string{"/account", "/account/x.css", "/account;x.css", "/%61ccount", "/x/../account", "//account", "/x%2f..%2faccount", "/a.private", "/a%2eprivate"} {
		if ttl, override, ok := p.TTLFor(path, 200, "text/css"); ttl != 0 || !override || !ok {
			t.Errorf("%s: %v %v %v", path, ttl, override, ok)
		}
	}
	if ttl, _, _ := p.TTLFor("/other", 200, "text/html"); ttl != time.Hour {
		t.Errorf("another page: %v", ttl)
	}
}

func TestTypesOfExtensions(t *testing.T) {
	for _, c := range []struct {
		path string
		good []string
		bad  []string
	}{
		{"/a.css", []string{"text/css"}, []string{"text/plain", "application/octet-stream", "text/csss", "text", "/css"}},
		{"/a.mjs", []string{"text/javascript", "application/javascript", "application/x-javascript"}, []string{"application/json", "text/plain"}},
		{"/a.png", []string{"image/png", "image/webp"}, []string{"application/octet-stream", "text/html"}},
		{"/a.woff2", []string{"font/woff2", "application/font-woff2", "application/octet-stream"}, []string{"application/json"}},
		{"/a.mp4", []string{"video/mp4", "application/octet-stream"}, []string{"text/html"}},
		{"/a.mp3", []string{"audio/mpeg"}, []string{"text/html"}},
		{"/a.json", []string{"application/json", "application/manifest+json"}, []string{"text/html"}},
		{"/a.xml", []string{"application/xml", "application/rss+xml"}, []string{"application/xhtml+xml", "text/html"}},
		{"/a.txt", []string{"text/plain"}, []string{"text/html", "application/json"}},
		{"/a.html", []string{"text/html", "application/xhtml+xml"}, []string{"application/json"}},
		{"/a.pdf", []string{"application/pdf"}, []string{"text/html"}},
		{"/a.zip", []string{"application/zip", "application/octet-stream"}, []string{"text/html", "application/json", "application/xhtml+xml"}},
		{"/a.wasm", []string{"application/wasm"}, []string{"text/html"}},
		{"/a.qqq", []string{"text/plain", "application/json"}, []string{"text/html", "application/xhtml+xml", ""}},
		{"/a.b/noextension", []string{"text/plain"}, []string{"text/html"}},
		{"/a.averyveryverylongextension", []string{"text/plain"}, []string{"text/html"}},
	} {
		for _, contentType := range c.good {
			if !typeFits(c.path, contentType) || !typeFits(c.path, " "+contentType+" ; charset=utf-8") {
				t.Errorf("%s is not %s", c.path, contentType)
			}
		}
		for _, contentType := range c.bad {
			if typeFits(c.path, contentType) {
				t.Errorf("%s is %s", c.path, contentType)
			}
		}
	}
	for pattern, want := range map[string]bool{
		"*.css": true, "/static/*.css": true, "/a?.css": true, "*.js*": true, "*.min.*": true, "*.*": true, "*.jp?g": true, "*.php": true,
		"/a.css": false, "/static/*": false, "/v1.*": false, "/index.php*": false, "*": false, "*.": false, "*.d/x": false, "/a.b/*": false,
	} {
		if got := hasExtension(pattern); got != want {
			t.Errorf("%s: %v", pattern, got)
		}
	}
}
