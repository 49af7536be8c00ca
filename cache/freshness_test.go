package cache

import (
	"testing"
	"time"
)

func TestLifetimeRFC9111Section4_2_1(t *testing.T) {
	const later = "Wed, 04 Mar 2026 05:07:07 GMT" // a minute after epochDate
	ttl := &Policy{TTL: 10 * time.Second}
	for _, tt := range []struct {
		name   string
		status int
		header []string
		policy *Policy
		want   time.Duration
		reason Reason
	}{
		{"max-age", 200, []string{"Cache-Control", "max-age=60"}, nil, time.Minute, ""},
		{"s-maxage before max-age", 200, []string{"Cache-Control", "max-age=60, s-maxage=5"}, nil, 5 * time.Second, ""},
		{"max-age before Expires", 200, []string{"Cache-Control", "max-age=7", "Expires", later, "Date", epochDate}, nil, 7 * time.Second, ""},
		{"Expires minus Date", 200, []string{"Expires", later, "Date", epochDate}, nil, time.Minute, ""},
		{"Expires without Date counts from receipt", 200, []string{"Expires", later}, nil, time.Minute, ""},
		{"Expires with an invalid Date counts from receipt", 200, []string{"Expires", later, "Date", "now"}, nil, time.Minute, ""},
		{"the earliest of two Expires", 200, []string{"Expires", later, "Expires", "Wed, 04 Mar 2026 05:06:17 GMT"}, nil, 10 * time.Second, ""},
		{"an invalid s-maxage is stale, max-age does not help", 200, []string{"Cache-Control", "s-maxage=x, max-age=60"}, nil, 0, ReasonStale},
		{"an invalid max-age is stale, Expires does not help", 200, []string{"Cache-Control", "max-age=x", "Expires", later}, nil, 0, ReasonStale},
		{"Expires: 0", 200, []string{"Expires", "0"}, nil, 0, ReasonStale},
		{"Expires: empty", 200, []string{"Expires", ""}, nil, 0, ReasonStale},
		{"one of two Expires is invalid", 200, []string{"Expires", later, "Expires", "0"}, nil, 0, ReasonStale},
		{"Expires equal to Date", 200, []string{"Expires", epochDate, "Date", epochDate}, nil, 0, ReasonStale},
		{"max-age=0", 200, []string{"Cache-Control", "max-age=0"}, nil, 0, ReasonStale},
		{"RFC 9213 targeted before Expires", 200, []string{"CDN-Cache-Control", "max-age=9", "Expires", "0"}, nil, 9 * time.Second, ""},
		{"RFC 9213 targeted without freshness: Expires does not help", 200, []string{"CDN-Cache-Control", "public", "Expires", later}, nil, 0, ReasonNoFreshness},
		{"no heuristics: Last-Modified is no freshness", 200, []string{"Last-Modified", "Wed, 04 Mar 2020 05:06:07 GMT"}, nil, 0, ReasonNoFreshness},
		{"public is no freshness", 200, []string{"Cache-Control", "public"}, nil, 0, ReasonNoFreshness},

		{"the vhost's ttl for 200", 200, nil, ttl, 10 * time.Second, ""},
		{"the vhost's ttl for 301", 301, nil, ttl, 10 * time.Second, ""},
		{"the vhost's ttl for 404", 404, nil, ttl, 10 * time.Second, ""},
		{"the vhost's ttl for 410", 410, nil, ttl, 10 * time.Second, ""},
		{"the vhost's ttl not for 302", 302, nil, ttl, 0, ReasonNoFreshness},
		{"the vhost's ttl not for 203", 203, nil, ttl, 0, ReasonNoFreshness},
		{"the vhost's ttl not for 501", 501, nil, ttl, 0, ReasonNoFreshness},
		{"the vhost's ttl overrides no max-age", 200, []string{"Cache-Control", "max-age=60"}, ttl, time.Minute, ""},
		{"the vhost's ttl overrides no max-age=0", 200, []string{"Cache-Control", "max-age=0"}, ttl, 0, ReasonStale},
		{"the vhost's ttl overrides no invalid Expires", 200, []string{"Expires", "0"}, ttl, 0, ReasonStale},
		{"the vhost's ttl overrides no no-store", 200, []string{"Cache-Control", "no-store"}, ttl, 0, ReasonNoStore},
		{"the vhost's ttl yields to Pragma", 200, []string{"Pragma", "no-cache"}, ttl, 0, ReasonNoCache},
		{"max-age does not yield to Pragma", 200, []string{"Pragma", "no-cache", "Cache-Control", "max-age=60"}, nil, time.Minute, ""},
		{"a negative ttl is none", 200, nil, &Policy{TTL: -1}, 0, ReasonNoFreshness},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.policy == nil {
				tt.policy = &Policy{}
			}
			d := Decide(get("/"), answer(tt.status, tt.header...), tt.policy)
			if d.Reason != tt.reason || d.Store != (tt.reason == "") || d.Store && d.Lifetime != tt.want {
				t.Errorf("got %v, %q, %v; want %q, %v", d.Store, d.Reason, d.Lifetime, tt.reason, tt.want)
			}
		})
	}
}

func TestInitialAgeRFC9111Section4_2_3(t *testing.T) {
	for _, tt := range []struct {
		name   string
		header []string
		delay  time.Duration
		want   time.Duration
	}{
		{"nothing", nil, 0, 0},
		{"Age", []string{"Age", "5"}, 0, 5 * time.Second},
		{"Age and the round trip", []string{"Age", "5"}, 2 * time.Second, 7 * time.Second},
		{"the round trip alone", nil, 2 * time.Second, 2 * time.Second},
		{"an old Date", []string{"Date", "Wed, 04 Mar 2026 05:05:07 GMT"}, 0, time.Minute},
		{"an old Date and a larger Age", []string{"Date", "Wed, 04 Mar 2026 05:05:07 GMT", "Age", "90"}, 0, 90 * time.Second},
		{"a Date ahead of us", []string{"Date", "Wed, 04 Mar 2026 05:07:07 GMT"}, 0, 0},
		{"a request sent after its answer", []string{"Age", "5"}, -time.Hour, 5 * time.Second},
		// RFC 9111 §5.1.
		{"Age: first member", []string{"Age", "5, 100"}, 0, 5 * time.Second},
		{"Age: first line", []string{"Age", "5", "Age", "100"}, 0, 5 * time.Second},
		{"Age: an invalid first member hides the second", []string{"Age", "x, 100"}, 0, 0},
		{"Age: negative", []string{"Age", "-5"}, 0, 0},
		{"Age: signed", []string{"Age", "+5"}, 0, 0},
		{"Age: fraction", []string{"Age", "5.0"}, 0, 0},
		{"Age: parameter", []string{"Age", "5;a=1"}, 0, 0},
		{"Age: quoted", []string{"Age", `"5"`}, 0, 0},
		{"Age: empty", []string{"Age", ""}, 0, 0},
		{"Age: spaces around", []string{"Age", " 5 "}, 0, 5 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			resp := answer(200, append([]string{"Cache-Control", "max-age=9999"}, tt.header...)...)
			if tt.delay != 0 {
				resp.RequestTime = epoch.Add(-tt.delay)
			}
			if d := Decide(get("/"), resp, &Policy{}); !d.Store || d.InitialAge != tt.want {
				t.Errorf("age %v (%q), want %v", d.InitialAge, d.Reason, tt.want)
			}
		})
	}
}

func TestAResponseThatArrivesTooOldIsNotStored(t *testing.T) {
	for _, age := range []string{"60", "61", "99999999999999999999"} {
		d := Decide(get("/"), answer(200, "Cache-Control", "max-age=60", "Age", age), &Policy{})
		if d.Store || d.Reason != ReasonStale {
			t.Errorf("Age %s: got %v, %q", age, d.Store, d.Reason)
		}
	}
	// The largest lifetime with the largest age must not wrap around.
	d := Decide(get("/"), answer(200, "Cache-Control", "max-age=99999999999", "Age", "99999999999"), &Policy{})
	if d.Store {
		t.Error("an age as large as the lifetime is stored")
	}
}
