package routes

import (
	"errors"
	"testing"
)

func TestURLOfARequestIsTakenApartAndNotTidiedUp(t *testing.T) {
	for raw, want := range map[string][3]string{
		"http://a.test":                        {"http", "a.test", "/"},
		"HTTPS://A.test:8443/x?q=1":            {"https", "A.test:8443", "/x?q=1"},
		"http://a.test?q='":                    {"http", "a.test", "/?q='"},
		"http://a.test/../%2e/%zz/<b>?q=%#top": {"http", "a.test", "/../%2e/%zz/<b>?q=%"},
		"http://a.test#x/y":                    {"http", "a.test", "/"},
		"http://a.test/?next=http://b.test/":   {"http", "a.test", "/?next=http://b.test/"},
		"http://[2001:db8::1]:80/":             {"http", "[2001:db8::1]:80", "/"},
		"http://a b.test/":                     {},
		"http:///x":                            {},
		"//a.test/":                            {},
		"ftp://a.test/":                        {},
		"http://user:secret@a.test/":           {},
		"/x?u=http://a.test/":                  {},
	} {
		scheme, authority, target, err := SplitURL(raw)
		if got := [3]string{scheme, authority, target}; got != want || (want[0] == "") != errors.Is(err, ErrBadURL) {
			t.Errorf("%s: %q, %v; want %q", raw, got, err, want)
		}
	}
}
