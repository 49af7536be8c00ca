package edge

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"gatehouse/internal/edgetest"
)

// A backend that reads X.Api.Key as X-Api-Key, or the last of two, gets no request past the limit of the one that counts.
func TestARateByHeaderOrCookieIsNotHiddenByASecondOne(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t).URL
	for _, test := range []struct{ key, field string }{
		{"header:X-Api-Key", "X.Api.Key: one"},
		{"header:X-Api-Key", "X.Api-Key: one"},
		{"header:X-Api-Key", "X-Api-Key: %d\r\nX.Api.Key: one"},
		{"header:X-Api-Key", "X.Api.Key: one\r\nX-Api-Key: %d"},
		{"header:X-Api-Key", "X-Api-Key: %d\r\nx-api-key: one"},
		{"cookie:sid", "Cookie: sid=%d; sid=one"},
		{"cookie:sid", "Cookie: sid=one\r\nCookie: a=b; sid=%d"},
	} {
		n := start(t, shopSite(b, "rate: {requests: 1, per: 1h, key: '"+test.key+"'}"))
		for i, want := range []int{200, 429, 429} {
			field := test.field
			if strings.Contains(field, "%d") {
				field = fmt.Sprintf(field, i)
			}
			if got := n.get(t, "www.shop.test", "/", field).Status; got != want {
				t.Errorf("%s, %q: %d, want %d", test.key, field, got, want)
			}
		}
	}
	n := start(t, shopSite(b, "rate: {requests: 1, per: 1h, key: 'header:X-Api-Key'}"))
	for field, want := range map[string]int{"X-Api-Key: two\r\nX-Api-Key: two": 200, "X-Api-Key: three": 200} {
		if got := n.get(t, "www.shop.test", "/", field).Status; got != want {
			t.Errorf("%q: %d, want %d", field, got, want)
		}
	}
}

// What a field with dots has made of an answer is for those who send it: PHP takes it for the one that key, bypass or Vary name.
func TestAttackDottedFieldsOfKeyBypassAndVary(t *testing.T) {
	php := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Vary", "X-Lang")
		for name, values := range r.Header {
			switch strings.ToLower(strings.ReplaceAll(name, ".", "-")) {
			case "x-lang", "x-shop", "x-preview":
				_, _ = fmt.Fprint(w, values)
			}
		}
	}
	for _, test := range []struct{ settings, attack string }{
		{"", "X.Lang: evil"},
		{"", "x.lAng: evil"},
		{", key: {headers: [X-Shop]}", "X.Shop: evil"},
		{", bypass: {headers: [X-Preview]}", "X.Preview: evil"},
	} {
		n, _ := handled(t, php, test.settings)
		n.get(t, "www.shop.test", "/", test.attack)
		if got := n.get(t, "www.shop.test", "/"); got.Status != 200 || strings.Contains(string(got.Body), "evil") {
			t.Errorf("%v: the visitor gets %q (%s)", test, got.Body, got.Header.Get("Cache-Status"))
		}
		if got := n.get(t, "www.shop.test", "/"); !strings.Contains(got.Header.Get("Cache-Status"), "hit") {
			t.Errorf("%v: the page is not stored: %s", test, got.Header.Get("Cache-Status"))
		}
	}
}
