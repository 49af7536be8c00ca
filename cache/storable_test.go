package cache

import (
	"slices"
	"testing"
)

func TestStorableRFC9111Section3(t *testing.T) {
	for _, tt := range []struct {
		name     string
		request  func(*Request)
		response []string // beside Cache-Control: max-age=60
		control  string   // instead of it
		want     Reason
	}{
		{"a plain response", nil, nil, "", ""},
		{"HEAD: no body to store", func(r *Request) { r.Method = "HEAD" }, nil, "", ReasonMethod},
		{"POST", func(r *Request) { r.Method = "POST" }, nil, "", ReasonMethod},
		{"a method in lower case is another", func(r *Request) { r.Method = "get" }, nil, "", ReasonMethod},
		{"a fat GET", func(r *Request) { r.HasBody = true }, nil, "", ReasonRequestBody},
		{"Range", func(r *Request) { r.Header = head("Range", "bytes=0-1") }, nil, "", ReasonRange},
		{"If-Match", func(r *Request) { r.Header = head("If-Match", `"a"`) }, nil, "", ReasonPrecondition},
		{"If-Unmodified-Since", func(r *Request) { r.Header = head("If-Unmodified-Since", epochDate) }, nil, "", ReasonPrecondition},
		{"If-Range without Range", func(r *Request) { r.Header = head("If-Range", `"a"`) }, nil, "", ""},
		{"§5.2.1.5 no-store", func(r *Request) { r.Header = head("Cache-Control", "no-store") }, nil, "", ReasonRequestNoStore},
		{"§5.2.1.5 no-store in garbage", func(r *Request) { r.Header = head("Cache-Control", "x; no-store") }, nil, "", ReasonRequestNoStore},
		{"§5.2.1.4 no-cache may replace", func(r *Request) { r.Header = head("Cache-Control", "no-cache") }, nil, "", ""},

		{"§5.2.2.5 no-store", nil, nil, "no-store, max-age=60", ReasonNoStore},
		{"§5.2.2.5 no-store in capitals", nil, nil, "NO-STORE, max-age=60", ReasonNoStore},
		{"§5.2.2.3 must-understand lifts no-store from a status that is understood", nil, nil, "must-understand, no-store, max-age=60", ""},
		{"§5.2.2.3 must-understand with an argument lifts nothing", nil, nil, "must-understand=1, no-store, max-age=60", ReasonNoStore},
		{"§5.2.2.3 must-understand lifts private from none", nil, nil, "must-understand, no-store, private, max-age=60", ReasonPrivate},
		{"§5.2.2.3 must-understand, an understood status", nil, nil, "must-understand, max-age=60", ""},
		{"§5.2.2.7 private", nil, nil, "private, max-age=60", ReasonPrivate},
		{"§5.2.2.7 private with a field", nil, nil, `private="X-A", max-age=60`, ReasonPrivate},
		{"§5.2.2.7 private beats s-maxage", nil, nil, "private, s-maxage=60", ReasonPrivate},
		{"§5.2.2.4 no-cache", nil, nil, "no-cache, max-age=60", ReasonNoCache},
		{"§5.2.2.4 no-cache with a field", nil, nil, `no-cache="Set-Cookie", max-age=60`, ReasonNoCache},
		{"RFC 9110 §9.3.3 an answer to POST needs freshness", func(r *Request) { r.Explicit = true }, []string{"ETag", `"1"`}, "no-cache", ReasonNoFreshness},
		{"RFC 9110 §9.3.3 an answer to POST that has some", func(r *Request) { r.Explicit = true }, []string{"ETag", `"1"`}, "no-cache, max-age=60", ""},
		{"a malformed Cache-Control", nil, nil, "max-age=60; private", ReasonMalformed},
		{"an unknown directive", nil, nil, "max-age=60, immutable, x=y", ""},
		{"Set-Cookie", nil, []string{"Set-Cookie", "a=b"}, "", ReasonSetCookie},
		{"Set-Cookie with public", nil, []string{"Set-Cookie", "a=b"}, "public, max-age=60", ReasonSetCookie},
		{"an empty Set-Cookie, as fasthttp shows an absent one", nil, []string{"Set-Cookie", ""}, "", ""},
		{"RFC 9110 §14.4 Content-Range means nothing in a 200", nil, []string{"Content-Range", "bytes 0-1/2"}, "", ""},
		{"RFC 9213 CDN-Cache-Control", nil, []string{"CDN-Cache-Control", "no-store"}, "", ReasonNoStore},
		{"RFC 9213 §2.1 in the place of Cache-Control", nil, []string{"CDN-Cache-Control", "max-age=60"}, "no-store", ""},
		{"RFC 9213 §2.2 ours before that of all", nil, []string{"CDN-Cache-Control", "no-store", "Gatehouse-Cache-Control", "max-age=60"}, "private", ""},

		{"§3.5 Authorization", authorized, nil, "", ReasonAuthorization},
		{"§3.5 Authorization, public", authorized, nil, "public, max-age=60", ""},
		{"§3.5 Authorization, s-maxage", authorized, nil, "s-maxage=60", ""},
		{"§3.5 Authorization, must-revalidate", authorized, nil, "must-revalidate, max-age=60", ""},
		{"§3.5 Authorization, proxy-revalidate is not in the list", authorized, nil, "proxy-revalidate, max-age=60", ReasonAuthorization},
		{"§3.5 Authorization, public with an argument", authorized, nil, "public=1, max-age=60", ReasonAuthorization},

		{"§4.1 Vary: *", nil, []string{"Vary", "*"}, "", ReasonVaryStar},
		{"§4.1 Vary: * among others", nil, []string{"Vary", "Accept, *"}, "", ReasonVaryStar},
		{"§4.1 Vary: * in a second line", nil, []string{"Vary", "Accept", "Vary", " * "}, "", ReasonVaryStar},
		{"§4.1 Vary with a name that is none", nil, []string{"Vary", "Accept Encoding"}, "", ReasonMalformed},
		{"§4.1 Vary with too many names", nil, []string{"Vary", "a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q"}, "", ReasonVaryLimit},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req := get("/")
			if tt.request != nil {
				tt.request(req)
			}
			if tt.control == "" {
				tt.control = "max-age=60"
			}
			resp := answer(200, append([]string{"Cache-Control", tt.control}, tt.response...)...)
			if d := Decide(req, resp, &Policy{}); d.Reason != tt.want || d.Store != (tt.want == "") {
				t.Errorf("got %v, %q; want %q", d.Store, d.Reason, tt.want)
			}
		})
	}
}

func authorized(r *Request) { r.Header = head("Authorization", "Basic YTpi") }

// One client's odd request, or a backend's bad minute, must not become what
// everybody gets.
func TestStatusesThatAreStored(t *testing.T) {
	for status := 100; status <= 999; status++ {
		d := Decide(get("/"), answer(status, "Cache-Control", "public, max-age=60"), &Policy{})
		if want := status >= 200 && status != 206 && status != 304; d.Store != want {
			t.Errorf("%d: store %v, %q", status, d.Store, d.Reason)
		}
		if d := Decide(get("/"), answer(status), &Policy{}); d.Store {
			t.Errorf("%d is stored although it says nothing of freshness", status)
		}
	}
	known := []int{200, 203, 204, 300, 301, 302, 303, 307, 308, 400, 403, 404, 405, 410, 413, 414, 421, 431, 451, 500, 501, 502, 503, 504}
	for status := 200; status <= 999; status++ {
		d := Decide(get("/"), answer(status, "Cache-Control", "must-understand, max-age=60"), &Policy{})
		if d.Store != slices.Contains(known, status) {
			t.Errorf("%d with must-understand: store %v, %q", status, d.Store, d.Reason)
		}
	}
}

// CPDoS (cpdos.org): a request whose head is too large for the backend alone makes it refuse what others would get.
func TestAttackOversizedHeaderPoisonsNothing(t *testing.T) {
	for _, status := range []int{400, 405, 413, 414, 431, 501} {
		for size, want := range map[int]Reason{0: "", 4096: "", 4097: ReasonRequestFault, 30_000: ReasonRequestFault} {
			req := get("/")
			req.HeadSize = size
			if d := Decide(req, answer(status, "Cache-Control", "max-age=60"), &Policy{}); d.Reason != want {
				t.Errorf("%d to a head of %d bytes: %q, want %q", status, size, d.Reason, want)
			}
		}
	}
	req := get("/")
	req.HeadSize = 30_000
	if d := Decide(req, answer(404, "Cache-Control", "max-age=60"), &Policy{}); !d.Store {
		t.Errorf("404: %q", d.Reason)
	}
}

func TestBodyLimitOfThePolicy(t *testing.T) {
	for _, tt := range []struct {
		max, length int64
		want        Reason
	}{
		{0, DefaultMaxBody, ""},
		{0, DefaultMaxBody + 1, ReasonTooLarge},
		{10, 10, ""},
		{10, 11, ReasonTooLarge},
		{10, -1, ""},
	} {
		resp := answer(200, "Cache-Control", "max-age=60")
		resp.BodyLength = tt.length
		if d := Decide(get("/"), resp, &Policy{MaxBody: tt.max}); d.Reason != tt.want {
			t.Errorf("%d of %d: %q, want %q", tt.length, tt.max, d.Reason, tt.want)
		}
	}
}

func TestWithoutAPolicyNothingIsStoredOrServed(t *testing.T) {
	if d := Decide(get("/"), answer(200, "Cache-Control", "max-age=60"), nil); d.Store || d.Reason != ReasonPolicy {
		t.Errorf("got %v, %q", d.Store, d.Reason)
	}
	s, _ := newStore(t, MinMaxBytes)
	req := get("/")
	fill(t, s, req, answer(200, "Cache-Control", "max-age=60"), "body")
	if l := s.Lookup(req, nil); l.Entry != nil || l.Forward != ForwardBypass || l.MayStore {
		t.Errorf("got %+v", l)
	}
}
