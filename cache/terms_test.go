package cache

import (
	"testing"
	"time"
)

// RFC 9111 §4.2.4, §5.2.2.2, §5.2.2.4, §5.2.2.8, §5.2.2.10, RFC 5861 §3 and §4: what may serve past its freshness, for how
// long, while it is validated (s) and while the backend fails (e).
func TestStaleTermsRFC9111Section4_2_4(t *testing.T) {
	windows := &Policy{StaleWhileRevalidate: 20 * time.Second, StaleIfError: 40 * time.Second}
	for _, tt := range []struct {
		name    string
		policy  *Policy
		control string
		s, e    time.Duration
	}{
		{"says nothing", &Policy{}, "max-age=10", 0, 0},
		{"says nothing, the vhost does", windows, "max-age=10", 20 * time.Second, 40 * time.Second},
		{"says both", &Policy{}, "max-age=10, stale-while-revalidate=5, stale-if-error=7", 5 * time.Second, 7 * time.Second},
		{"its word goes before the vhost's", windows, "max-age=10, stale-while-revalidate=5, stale-if-error=7", 5 * time.Second, 7 * time.Second},
		{"its word may be never", windows, "max-age=10, stale-while-revalidate=0, stale-if-error=0", 0, 0},
		{"garbage is never", windows, "max-age=10, stale-while-revalidate=x, stale-if-error=-1", 0, 0},
		{"of two the smaller", &Policy{}, "max-age=10, stale-if-error=9, stale-if-error=7", 0, 7 * time.Second},
		{"must-revalidate", windows, "max-age=10, must-revalidate, stale-while-revalidate=5, stale-if-error=7", 0, 0},
		{"must-revalidate with an argument is none", windows, "max-age=10, must-revalidate=1", 20 * time.Second, 40 * time.Second},
		{"proxy-revalidate", windows, "max-age=10, proxy-revalidate, stale-while-revalidate=5, stale-if-error=7", 0, 0},
		{"s-maxage is proxy-revalidate", windows, "s-maxage=10", 0, 0},
		{"s-maxage beside its own word", windows, "s-maxage=10, stale-while-revalidate=5, stale-if-error=7", 5 * time.Second, 7 * time.Second},
		{"no-cache", windows, "max-age=10, no-cache, stale-while-revalidate=5, stale-if-error=7", 0, 0},
		{"no-cache with a field's name", windows, `max-age=10, no-cache="set-cookie", stale-if-error=7`, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req, resp := get("/"), answer(200, "Cache-Control", tt.control, "ETag", `"1"`)
			d := Decide(req, resp, tt.policy)
			if !d.Store || d.terms.whileRevalidate != tt.s || d.terms.ifError != tt.e {
				t.Errorf("store %v, while revalidate %v, if error %v; want %v, %v", d.Store, d.terms.whileRevalidate, d.terms.ifError, tt.s, tt.e)
			}
		})
	}
}

// What those terms do to a lookup, second by second, before and after the backend has failed.
func TestStaleAnswersRFC5861(t *testing.T) {
	for _, tt := range []struct {
		name    string
		control string
		fields  []string // of the request
		after   time.Duration
		hit     string // detail of the hit at once; "no": none
		onError bool   // it serves once the backend has failed
		later   string // the same again a moment after that
	}{
		{"fresh", "max-age=10, stale-if-error=60", nil, 9 * time.Second, "", false, ""},
		{"the end of freshness is stale", "max-age=10", nil, 10 * time.Second, "no", false, "no"},
		{"within stale-while-revalidate", "max-age=10, stale-while-revalidate=5", nil, 14 * time.Second, "stale-while-revalidate", false, "stale-while-revalidate"},
		{"past it", "max-age=10, stale-while-revalidate=5", nil, 15 * time.Second, "no", false, "no"},
		{"within stale-if-error", "max-age=10, stale-if-error=5", nil, 14 * time.Second, "no", true, "stale-if-error"},
		{"past that", "max-age=10, stale-if-error=5", nil, 15 * time.Second, "no", false, "no"},
		{"must-revalidate", "max-age=10, must-revalidate, stale-if-error=5", nil, 12 * time.Second, "no", false, "no"},
		// RFC 9111 §5.2.2.4: not without validation, and so not while there is none to be had.
		{"no-cache within its lifetime", "max-age=60, no-cache", nil, 5 * time.Second, "no", false, "no"},
		{"no-cache with stale-if-error", "max-age=60, no-cache, stale-if-error=60", nil, 5 * time.Second, "no", false, "no"},
		{"the client wants it fresher", "max-age=10, stale-while-revalidate=60", []string{"Cache-Control", "max-age=5"}, 12 * time.Second, "no", false, "no"},
		{"the client reloads", "max-age=10, stale-while-revalidate=60, stale-if-error=60", []string{"Cache-Control", "no-cache"}, 12 * time.Second, "no", false, "no"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, clock := newStore(t, MinMaxBytes)
			fill(t, s, get("/"), answer(200, "Cache-Control", tt.control, "ETag", `"1"`), "page")
			clock.advance(tt.after)
			look := func(want string) Lookup {
				l := s.Lookup(get("/", tt.fields...), &Policy{})
				switch got := l.Detail; {
				case (l.Entry == nil) != (want == "no"):
					t.Fatalf("hit %v, forward %q; want %q", l.Entry != nil, l.Forward, want)
				case l.Entry != nil && got != want:
					t.Fatalf("detail %q, want %q", got, want)
				}
				return l
			}
			l := look(tt.hit)
			if l.Entry != nil && l.Stale != nil {
				t.Error("a hit is stale as well")
			}
			if got := s.ServesOnError(&l); got != tt.onError {
				t.Fatalf("serves on error: %v", got)
			}
			if tt.onError && (l.Entry == nil || l.Detail != "stale-if-error" || l.TTL != 10*time.Second-tt.after) {
				t.Errorf("%+v", l)
			}
			clock.advance(time.Millisecond)
			look(tt.later)
		})
	}
}
