package waf

import (
	"strings"
	"testing"
)

func TestPathsAreComparedWhole(t *testing.T) {
	for _, c := range []struct {
		pattern, path string
		fits          bool
	}{
		{"/search", "/search", true},
		{"/search", "/search/", false},
		{"/search", "/searching", false},
		{"/search", "/a/search", false},
		{"/search", "/SEARCH", false},
		{"/search*", "/search", true},
		{"/search*", "/search/deep/er", true}, // a star crosses slashes
		{"/*/edit", "/a/edit", true},
		{"/*/edit", "/a/b/c/edit", true},
		{"/*/edit", "/edit", false},
		{"/*/edit", "/a/edit/b", false},
		{"*.svg", "/img/a.svg", true},
		{"*.svg", "/img/a.svg.php", false},
		{"*", "/", true},
		{"**", "/a", true},
		{"*a*b*", "/xaxxbx", true},
		{"*a*b*", "/xbxxax", false},
		{"*ab*ab", "/abab", true},
		{"*ab*ab", "/ab", false},
		{"/a*a", "/a", false}, // the pieces do not overlap
		{"/a?c", "/abc", true},
		{"/a?c", "/a/c", true}, // nor does a question mark stop at one
		{"/a?c", "/aéc", true}, // one character, not one byte
		{"/a?c", "/ac", false},
		{"/a?", "/a", false},
		{"/*?/x", "/é/x", true},
		{"/été", "/été", true},
	} {
		if got := newGlob(c.pattern).fits(c.path); got != c.fits {
			t.Errorf("%q and %q: %t", c.pattern, c.path, got)
		}
	}
	// No pattern takes long, whatever the path.
	worst := newGlob(strings.Repeat("*a?a", 8) + "*b")
	if worst.fits("/" + strings.Repeat("a", 8<<10)) {
		t.Error("it fits")
	}
}

// A path that some backend may take for another one fits no pattern.
func TestPathsWithMoreThanOneReadingAreNotPlain(t *testing.T) {
	for target, want := range map[string]string{
		"/":                    "/",
		"/search":              "/search",
		"/search/":             "/search/",
		"/search?q=/../x;y//z": "/search", // a query has no say
		"/%73earch":            "/search", // what the rules and the backend see
		"/a%20b":               "/a b",
		"/%C3%A9t%c3%a9":       "/été",
		"/.well-known/x":       "/.well-known/x",
		"/a.b/..c/d..":         "/a.b/..c/d..",
		"/a+b":                 "/a+b",
		"/a:b@c!$&'()*,=~":     "/a:b@c!$&'()*,=~",
		"/search/../admin":     "",
		"/search/..":           "",
		"/search/.":            "",
		"/search/./x":          "",
		"/search/.../x":        "",
		"/search/.. /x":        "",
		"/search/%2e%2e/admin": "",
		"/search/%2E./admin":   "",
		"/search/.%2e":         "",
		"/search%2f..%2fadmin": "",
		"/search%2Fadmin":      "",
		"//search":             "",
		"/a//search":           "",
		"/search//":            "",
		`/search\..\admin`:     "",
		"/search%5c..%5cadmin": "",
		"/search;x=1":          "",
		"/search/..;/admin":    "",
		"/search%3bx":          "",
		"/search%3Fx.svg":      "",
		"/search%23x.svg":      "",
		"/search#x":            "",
		"/search%252e%252e":    "",
		"/100%25":              "",
		"/search%00.svg":       "",
		"/search%0a":           "",
		"/search\x01":          "",
		"/search%7f":           "",
		"/search%c0%af..":      "", // an overlong slash
		"/search%ff":           "",
		"/search%u002e":        "",
		"/search%g1":           "",
		"/search%":             "",
		"*":                    "",
		"":                     "",
		"http://shop.test/":    "",
		"search":               "",
	} {
		got, plain := plainPath(target)
		if plain != (want != "") || plain && got != want {
			t.Errorf("%q: %q, %t; want %q", target, got, plain, want)
		}
	}
}

// A star for folders stands for no program: what follows one's name may be taken for its own.
func TestStarForFoldersHoldsNoDot(t *testing.T) {
	for _, c := range []struct {
		pattern, path string
		fits          bool
	}{
		{"*/wp-admin/post.php", "/wp-admin/post.php", true},
		{"*/wp-admin/post.php", "/blog/en/wp-admin/post.php", true},
		{"*/wp-admin/post.php", "/upload.php/wp-admin/post.php", false},
		{"*/wp-admin/post.php", "/v1.2/wp-admin/post.php", false},
		{"*/wp-admin/post.php", "/a/b.php/c/wp-admin/post.php", false},
		{"*/wp-admin/post.php", "/wp-admin/post.php/wp-admin/post.php", false},
		{"*/wp-admin/post.php", "/xwp-admin/post.php", false},
		{"*/wp-admin/post.php", "/wp-admin/post.php/", false},
		{"*/ocs/v?.php/*", "/cloud/ocs/v2.php/x", true},
		{"*/ocs/v?.php/*", "/a.php/ocs/v2.php/x", false},
		{"*/dav/*/a", "/dav/b.php/a", true}, // only the first star
		{"*/dav/*/a", "/dav/x/dav/b/a", true},
		{"*/dav/*/a", "/x.y/dav/b/a", false},
		{"*/a", "", false},
		{"/a/*", "/a/b.c", true}, // no star at the beginning
		{"*x/a", "/a.b/x/a", true},
		{"*", "/a.b", true},
	} {
		if got := newGlobs([]string{c.pattern}, true)[0].fits(c.path); got != c.fits {
			t.Errorf("%s on %q: %t, want %t", c.pattern, c.path, got, c.fits)
		}
		if c.pattern[0] == '*' && c.fits && !newGlob(c.pattern).fits(c.path) {
			t.Errorf("%s on %q: a star for anything does not fit", c.pattern, c.path)
		}
	}
}

func FuzzPlainPath(f *testing.F) {
	for _, seed := range []string{"/a/../b", "/%2e%2e/", "/a%2fb", "/a;b", "//", "/a?b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, target string) {
		path, plain := plainPath(target)
		if !plain {
			return
		}
		if path[0] != '/' || strings.Contains(path, "/../") || strings.Contains(path, "//") || strings.HasSuffix(path, "/..") {
			t.Errorf("%q is plain as %q", target, path)
		}
		if again, stillPlain := plainPath(path); !stillPlain || again != path {
			t.Errorf("%q decodes to %q, and that to %q", target, path, again)
		}
		if !newGlob("*").fits(path) || !newGlob("/*").fits(path) {
			t.Errorf("%q fits no star", path)
		}
	})
}
