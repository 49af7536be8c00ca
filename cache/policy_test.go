package cache

import (
	"strings"
	"testing"
)

func TestBypasses(t *testing.T) {
	p := &Policy{Bypass: Bypass{
		Paths: NewPaths("/wp-admin/*", "*/cart", "/caf%C3%A9/*"), Query: NewNames("nocache", "preview_*", "a_b"),
		Cookies: NewNames("wordpress_logged_in_*", "cart"), Headers: []string{"X-Preview"},
	}}
	for _, c := range []struct {
		target string
		fields []string
		want   bool
	}{
		{"/", nil, false},
		{"/wp-admin", nil, false},
		{"/wp-admin/", nil, true},
		{"/wp-admin/x/y", nil, true},
		{"/x?/wp-admin/", nil, false}, // the query is no path
		{"/shop/cart", nil, true},
		{"/shop/cart/", nil, false},
		{"/%77p-admin/x", nil, true},     // decoded by the backend
		{"/x/../wp-admin/", nil, true},   // resolved
		{"//wp-admin/", nil, true},       // merged
		{"/./wp-admin/", nil, true},      //
		{"/x;/..%2fwp-admin", nil, true}, //
		{"/%2577p-admin/", nil, true},    // decoded twice
		{"/caf%C3%A9/x", nil, true},
		{"/c%61f%c3%a9/x", nil, true},
		{"/caf\xc3\xa9/x", nil, true},
		{"/b%C3%A9", nil, false},               // but what is encoded once is only read
		{"/?nocache", nil, true},               //
		{"/?nocache=", nil, true},              //
		{"/?xnocache&nocachex=1", nil, false},  //
		{"/?a=nocache", nil, false},            //
		{"/?x=1&preview_id=3", nil, true},      //
		{"/?x=1;preview_id=3", nil, true},      // some servers divide by it
		{"/?%6eocache=1", nil, true},           //
		{"/?a.b=1", nil, true},                 // PHP reads a_b
		{"/?a+b", nil, true},                   //
		{"/?nocache[]=1", nil, true},           //
		{"/?nocache?=1", nil, false},           //
		{"/?&&", nil, false},                   //
		{"/", []string{"X-Preview", ""}, true}, // to have it is enough
		{"/", []string{"X-Previews", "1"}, false},
		{"/", []string{"Cookie", "a=1; wordpress_logged_in_x=1"}, true},
		{"/", []string{"Cookie", "a=1", "Cookie", "cart"}, true}, // several lines, no value
		{"/", []string{"Cookie", "a=wordpress_logged_in_x; b=cart"}, false},
		{"/", []string{"Cookie", `a="; cart=1; "`}, true},
		{"/", []string{"Cookie", "a=1, cart=1"}, true},
		{"/", []string{"Cookie", "wordpress.logged.in_x=1"}, true}, // as PHP reads it
		{"/", []string{"Cookie", "carts=1; ; =cart"}, false},
	} {
		if got := p.Bypasses(c.target, head(c.fields...)); got != c.want {
			t.Errorf("%s %q: %v", c.target, c.fields, got)
		}
	}
	var none *Policy
	for _, p := range []*Policy{none, {}, {Bypass: Bypass{Paths: NewPaths(), Query: NewNames(), Cookies: NewNames()}}} {
		if p.Bypasses("/x/../a;b?x", head("Cookie", "a=1", "X-Preview", "1")) {
			t.Errorf("%+v bypasses", p)
		}
	}
}

func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		path, name    bool
	}{
		{"", "", true, true},
		{"", "a", false, false},
		{"*", "", true, true},
		{"*", "a/b", true, true},
		{"a", "a", true, true},
		{"a", "ab", false, false},
		{"a*", "a", true, true},
		{"*a", "ba", true, true},
		{"*a", "ab", false, false},
		{"a*a", "a", false, false}, // one a cannot be both
		{"a*b*c", "a1b2b3c", true, true},
		{"a*b*c", "a1c2b", false, false},
		{"a**b", "ab", true, true},
		{"?", "a", true, false},
		{"?", "?", true, true},
		{"?", "", false, false},
		{"*?b", "aab", true, false},
		{"*?b*", "xb", true, false},
		{"*?b*", "b", false, false},
		{"/*.css", "/a/b.css", true, true},
	} {
		if got := NewPaths(c.pattern).fits(c.text); got != c.path {
			t.Errorf("path %q: %q: %v", c.pattern, c.text, got)
		}
		if got := NewNames(c.pattern).fits(c.text); got != c.name {
			t.Errorf("name %q: %q: %v", c.pattern, c.text, got)
		}
	}
	if NewNames().fits("") || !NewNames("x", "utm_*").fits("utm_") || NewNames("x", "utm_*").fits("u") {
		t.Error("one of a list has to fit, and none fits an empty one")
	}
}

// A matcher that tries every place of every star, to compare with.
func slowFit(pattern, text string, single bool) bool {
	switch {
	case pattern == "":
		return text == ""
	case pattern[0] == '*':
		return slowFit(pattern[1:], text, single) || text != "" && slowFit(pattern, text[1:], single)
	case text == "" || pattern[0] != text[0] && !(single && pattern[0] == '?'):
		return false
	}
	return slowFit(pattern[1:], text[1:], single)
}

func FuzzPatterns(f *testing.F) {
	f.Add("a*b?*c", "aXbYc")
	f.Add("*.css", "/a.css")
	f.Add("**??*", "ab")
	f.Fuzz(func(t *testing.T, pattern, text string) {
		if len(pattern) > 20 || len(text) > 40 || strings.Count(pattern, "*") > 4 {
			return
		}
		if got := NewPaths(pattern).fits(text); got != slowFit(pattern, text, true) {
			t.Errorf("path %q, %q: %v", pattern, text, got)
		}
		if got := NewNames(pattern).fits(text); got != slowFit(pattern, text, false) {
			t.Errorf("name %q, %q: %v", pattern, text, got)
		}
	})
}

func TestPathsOfSeveralReadings(t *testing.T) {
	for path, want := range map[string]bool{
		"/": false, "/a/b.css": false, "/a.b/c": false, "/caf%C3%A9%20x": false, "/.well-known/x": false, "/a.": false, "/a.b.c": false, "/~a/$b,c": false,
		"/a;b": true, "/a%3Bb": true, "/a%3bb": true, "/a%23b": true, "/a%3Fb": true, "/a%2Fb": true, "/a%5Cb": true, `/a\b`: true,
		"/a%00": true, "/a%0d": true, "/a%7f": true, "/a%25": true, "/a%2525": true, "/%2e": true, "/..": true, "/a..b": true, "/./a": true, "/a/.": true,
		"//a": true, "/a//": true, "/a%": true, "/a%2": true, "/a%g1": true, "/a%u002f": true, "/%c0%af": true, "/a#b": true, "/a\tb": true,
	} {
		if got := ambiguous(path); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
}
