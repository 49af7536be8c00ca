package cache

import (
	"testing"
	"time"
)

func TestRequestDirectivesRFC9111Section5_2_1(t *testing.T) {
	for _, tt := range []struct {
		name    string
		request []string
		forward string // empty: hit
		detail  string
		store   bool
	}{
		{"none", nil, "", "", true},
		{"no-cache", []string{"Cache-Control", "no-cache"}, ForwardRequest, "", true},
		{"max-age=0", []string{"Cache-Control", "max-age=0"}, ForwardRequest, "", true},
		{"max-age below the age", []string{"Cache-Control", "max-age=9"}, ForwardRequest, "", true},
		{"max-age equal to the age", []string{"Cache-Control", "max-age=10"}, "", "", true},
		{"an invalid max-age is 0", []string{"Cache-Control", "max-age=x"}, ForwardRequest, "", true},
		{"min-fresh within what remains", []string{"Cache-Control", "min-fresh=50"}, "", "", true},
		{"min-fresh above what remains", []string{"Cache-Control", "min-fresh=51"}, ForwardRequest, "", true},
		{"max-stale permits nothing more", []string{"Cache-Control", "max-stale=100"}, "", "", true},
		{"no-store is served, the answer to it not stored", []string{"Cache-Control", "no-store"}, "", "", false},
		{"no-store with no-cache", []string{"Cache-Control", "no-store, no-cache"}, ForwardRequest, "", false},
		{"only-if-cached hits", []string{"Cache-Control", "only-if-cached"}, "", "", true},
		{"Pragma", []string{"Pragma", "no-cache"}, ForwardRequest, "", true},
		{"§5.4 Pragma does not count beside Cache-Control", []string{"Pragma", "no-cache", "Cache-Control", "max-age=100"}, "", "", true},
		{"Range", []string{"Range", "bytes=0-1"}, "", "", false},
		{"If-Match", []string{"If-Match", `"a"`}, ForwardBypass, "precondition", false},
		{"§3.5 Authorization", []string{"Authorization", "Basic YTpi"}, ForwardRequest, "authorization", true},
		{"If-None-Match hits", []string{"If-None-Match", `"a"`}, "", "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, c := newStore(t, MinMaxBytes)
			fill(t, s, get("/"), answer(200, "Cache-Control", "max-age=60"), "body")
			c.advance(10 * time.Second)
			l := s.Lookup(get("/", tt.request...), &Policy{})
			if (l.Entry != nil) != (tt.forward == "") || l.Forward != tt.forward || l.Detail != tt.detail || l.MayStore != tt.store {
				t.Errorf("got %+v", l)
			}
			if l.Entry != nil && (l.Age != 10*time.Second || l.TTL != 50*time.Second) {
				t.Errorf("age %v, ttl %v", l.Age, l.TTL)
			}
		})
	}
}

func TestOnlyIfCachedWithoutAHitIsSaid(t *testing.T) {
	s, c := newStore(t, MinMaxBytes)
	only := func() Lookup {
		return s.Lookup(get("/", "Cache-Control", "only-if-cached"), &Policy{})
	}
	if l := only(); !l.OnlyIfCached || l.Forward != ForwardURIMiss {
		t.Errorf("nothing stored: %+v", l)
	}
	fill(t, s, get("/"), answer(200, "Cache-Control", "max-age=60"), "body")
	if l := only(); l.OnlyIfCached || l.Entry == nil {
		t.Errorf("stored: %+v", l)
	}
	c.advance(time.Minute)
	if l := only(); !l.OnlyIfCached || l.Forward != ForwardStale {
		t.Errorf("stale: %+v", l)
	}
	if l := s.Lookup(get("/", "Cache-Control", "only-if-cached", "If-Match", "*"), &Policy{}); !l.OnlyIfCached {
		t.Errorf("range: %+v", l)
	}
}

func TestMethods(t *testing.T) {
	s, _ := newStore(t, MinMaxBytes)
	head := get("/")
	head.Method = "HEAD"
	if l := wantForward(t, s, head, ForwardURIMiss); l.MayStore {
		t.Error("the answer to HEAD may be stored")
	}
	fill(t, s, get("/"), answer(200, "Cache-Control", "max-age=60"), "body")
	wantHit(t, s, head, "body") // RFC 9111 §4: a stored GET answers HEAD
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "OPTIONS", "QUERY", "get", ""} {
		req := get("/")
		req.Method = method
		if l := wantForward(t, s, req, ForwardMethod); l.MayStore {
			t.Errorf("%s: may store", method)
		}
	}
	fat := get("/")
	fat.HasBody = true
	if l := wantForward(t, s, fat, ForwardBypass); l.MayStore || l.Detail != "request-body" {
		t.Errorf("a fat GET: %+v", l)
	}
}

// A hit is served until the last moment of its freshness and not at it: RFC
// 9111 §4.2, fresh means lifetime > age.
func TestFreshUntilTheLifetimeIsReached(t *testing.T) {
	s, c := newStore(t, MinMaxBytes)
	req := get("/")
	fill(t, s, req, answer(200, "Cache-Control", "max-age=60", "Age", "20"), "body")
	if l := wantHit(t, s, req, "body"); l.Age != 20*time.Second || l.TTL != 40*time.Second {
		t.Errorf("age %v, ttl %v", l.Age, l.TTL)
	}
	c.advance(40*time.Second - 1)
	wantHit(t, s, req, "body")
	c.advance(1)
	if l := wantForward(t, s, req, ForwardStale); !l.MayStore {
		t.Error("a stale response cannot be replaced")
	}
	put(t, s, req, &Response{Status: 200, Header: head("Cache-Control", "max-age=60"), BodyLength: -1, Received: c.now()}, "new")
	wantHit(t, s, req, "new")
	c.advance(-time.Hour) // the clock is set back: the age does not become negative
	if l := wantHit(t, s, req, "new"); l.Age != 0 {
		t.Errorf("age %v", l.Age)
	}
}

// RFC 9111 §3.5: a page stored for everybody goes to a request with
// credentials only if the origin said so.
func TestAuthorizedRequestsHitOnlyWhatPermitsIt(t *testing.T) {
	credentials := []string{"Authorization", "Basic YTpi"}
	for control, hit := range map[string]bool{
		"max-age=60":                  false,
		"public, max-age=60":          true,
		"s-maxage=60":                 true,
		"must-revalidate, max-age=60": true,
	} {
		s, _ := newStore(t, MinMaxBytes)
		fill(t, s, get("/"), answer(200, "Cache-Control", control), "body")
		if l := s.Lookup(get("/", credentials...), &Policy{}); (l.Entry != nil) != hit {
			t.Errorf("%s: %+v", control, l)
		}
	}
}

// The vhost's word on stale answers is not for failures: one that is over would outlast its own lifetime.
func TestStoredFailuresAreNotServedStale(t *testing.T) {
	p := &Policy{StaleWhileRevalidate: time.Minute, StaleIfError: time.Hour, Rules: []Rule{{Status: []int{404, 503}, TTL: time.Second}}}
	for status, stale := range map[int]bool{404: true, 503: false} {
		s, c := newStore(t, MinMaxBytes)
		req := get("/")
		s.Lookup(req, p)
		resp := answer(status)
		if err := s.Put(NewEntry(req, resp, Decide(req, resp, p), nil, 100, []byte("gone"), "")); err != nil {
			t.Fatal(err)
		}
		c.advance(2 * time.Second)
		l := s.Lookup(get("/"), p)
		if served := l.Entry != nil; served != stale || s.ServesOnError(&l) && !stale {
			t.Errorf("%d: %+v", status, l)
		}
	}
}

func TestRangeThatNothingIsStoredForSaysSo(t *testing.T) {
	s, _ := newStore(t, MinMaxBytes)
	l := s.Lookup(get("/", "Range", "bytes=0-1"), &Policy{})
	if l.MayStore || string(FormatStatus(nil, &l, Outcome{})) != "gatehouse; fwd=uri-miss; detail=range" {
		t.Errorf("%s", FormatStatus(nil, &l, Outcome{}))
	}
}
