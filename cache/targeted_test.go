package cache

import "testing"

// RFC 9213 §2.1: a targeted field is a Dictionary, or it is ignored as a whole.
func TestTargetedFieldsRFC9213(t *testing.T) {
	for name, c := range map[string]struct {
		lines []string
		want  control
		ok    bool
	}{
		"absent":                       {nil, control{}, false},
		"empty":                        {[]string{""}, control{}, false},
		"max-age":                      {[]string{"max-age=60"}, control{present: true, maxAge: secs(60)}, true},
		"two lines are one Dictionary": {[]string{"max-age=60", "no-store"}, control{present: true, maxAge: secs(60), noStore: true}, true},
		"the last of a key counts":     {[]string{"max-age=60, max-age=5"}, control{present: true, maxAge: secs(5)}, true},
		"huge is capped":               {[]string{"max-age=999999999999999"}, control{present: true, maxAge: secs(maxSeconds)}, true},
		"unknown ones":                 {[]string{"foo, bar=(1 2), max-age=1"}, control{present: true, maxAge: secs(1)}, true},
		"false":                        {[]string{"no-store=?0, max-age=1"}, control{present: true, maxAge: secs(1)}, true},
		"private with fields":          {[]string{`private="X-A"`}, control{present: true, private: true}, true},
		"public with an argument":      {[]string{"public=1"}, control{present: true}, true},
		"parameters say nothing":       {[]string{"max-age=60;x=1"}, control{present: true, maxAge: secs(60)}, true},
		"no Dictionary":                {[]string{"max-age=60, &&&"}, control{}, false},
		"capitals are no key":          {[]string{"Max-Age=60"}, control{}, false},
		"space before the equals sign": {[]string{"max-age =60"}, control{}, false},
		"a string for a number":        {[]string{`max-age="60"`}, control{}, false},
		"a fraction":                   {[]string{"max-age=1.5"}, control{}, false},
		"negative":                     {[]string{"max-age=-1"}, control{}, false},
		"without a number":             {[]string{"no-store, max-age"}, control{}, false},
		"a list for a number":          {[]string{"max-age=(1 2)"}, control{}, false},
	} {
		var lines [][]byte
		for _, l := range c.lines {
			lines = append(lines, []byte(l))
		}
		if got, ok := parseTargeted(lines); got != c.want || ok != c.ok {
			t.Errorf("%s: %+v, %t, want %+v, %t", name, got, ok, c.want, c.ok)
		}
	}
}

// An invalid field is passed over for the next one, and for Cache-Control in the end.
func TestTheFirstValidTargetedFieldCounts(t *testing.T) {
	for name, c := range map[string]struct {
		fields   []string
		want     int64
		targeted bool
	}{
		"ours":                   {[]string{"Gatehouse-Cache-Control", "max-age=1", "CDN-Cache-Control", "max-age=2", "Cache-Control", "max-age=3"}, 1, true},
		"ours is invalid":        {[]string{"Gatehouse-Cache-Control", "max-age=", "CDN-Cache-Control", "max-age=2", "Cache-Control", "max-age=3"}, 2, true},
		"that of all is invalid": {[]string{"CDN-Cache-Control", `max-age="2"`, "Cache-Control", "max-age=3"}, 3, false},
		"none":                   {[]string{"Cache-Control", "max-age=3"}, 3, false},
	} {
		if got, targeted := responseControl(head(c.fields...)); got.maxAge.n != c.want || targeted != c.targeted {
			t.Errorf("%s: max-age %d, targeted %t", name, got.maxAge.n, targeted)
		}
	}
}

// RFC 9111 §4.2.2.
func TestHeuristicFreshnessIsATenthOfTheAge(t *testing.T) {
	const dayBefore, yearsBefore, after = "Tue, 03 Mar 2026 05:06:07 GMT", "Wed, 04 Mar 2020 05:06:07 GMT", "Wed, 04 Mar 2026 06:06:07 GMT"
	for name, c := range map[string]struct {
		status int
		fields []string
		want   int64 // seconds
		reason Reason
	}{
		"a day":                    {200, []string{"Last-Modified", dayBefore}, 8640, ""},
		"bounded":                  {200, []string{"Last-Modified", yearsBefore}, 86400, ""},
		"in the future":            {200, []string{"Last-Modified", after}, 0, ReasonNoFreshness},
		"no date":                  {200, []string{"Last-Modified", "yesterday"}, 0, ReasonNoFreshness},
		"two":                      {200, []string{"Last-Modified", dayBefore, "Last-Modified", dayBefore}, 0, ReasonNoFreshness},
		"a status that is not so":  {403, []string{"Last-Modified", dayBefore}, 0, ReasonNoFreshness},
		"unless it says public":    {403, []string{"Last-Modified", dayBefore, "Cache-Control", "public"}, 8640, ""},
		"what is stated is stated": {200, []string{"Last-Modified", dayBefore, "Cache-Control", "max-age=5"}, 5, ""},
		"yields to Pragma":         {200, []string{"Last-Modified", dayBefore, "Pragma", "no-cache"}, 0, ReasonNoCache},
	} {
		d := Decide(get("/"), answer(c.status, append(c.fields, "Date", epochDate)...), &Policy{Heuristic: true})
		if d.Reason != c.reason || d.Store && int64(d.Lifetime.Seconds()) != c.want {
			t.Errorf("%s: %q, %v, want %q, %d s", name, d.Reason, d.Lifetime, c.reason, c.want)
		}
	}
}
