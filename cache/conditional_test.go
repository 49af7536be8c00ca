package cache

import (
	"bytes"
	"testing"

	"gatehouse/internal/octets"
)

func TestNotModifiedRFC9111Section4_3_2(t *testing.T) {
	const (
		earlier = "Wed, 04 Mar 2026 05:06:06 GMT"
		later   = "Wed, 04 Mar 2026 05:06:08 GMT"
	)
	tag := []string{"ETag", `"v1"`, "Last-Modified", epochDate}
	for _, tt := range []struct {
		name     string
		status   int
		response []string
		request  []string
		want     bool
	}{
		{"no condition", 200, tag, nil, false},
		{"the tag", 200, tag, []string{"If-None-Match", `"v1"`}, true},
		{"another tag", 200, tag, []string{"If-None-Match", `"v2"`}, false},
		{"weak comparison: theirs", 200, tag, []string{"If-None-Match", `W/"v1"`}, true},
		{"weak comparison: ours", 200, []string{"ETag", `W/"v1"`}, []string{"If-None-Match", `"v1"`}, true},
		{"w/ in lower case is no tag", 200, tag, []string{"If-None-Match", `w/"v1"`}, false},
		{"in a list", 200, tag, []string{"If-None-Match", `"a,", W/"b" ,"v1"`}, true},
		{"in a second line", 200, tag, []string{"If-None-Match", `"a"`, "If-None-Match", `"v1"`}, true},
		{"after garbage", 200, tag, []string{"If-None-Match", `x, "v1"`}, false},
		{"not divided by a comma", 200, tag, []string{"If-None-Match", `"a" "v1"`}, false},
		{"without quotes", 200, tag, []string{"If-None-Match", `v1`}, false},
		{"an open quote", 200, tag, []string{"If-None-Match", `"v1`}, false},
		{"star", 200, tag, []string{"If-None-Match", ` * `}, true},
		{"star without a tag", 200, nil, []string{"If-None-Match", `*`}, true},
		{"star in quotes", 200, tag, []string{"If-None-Match", `"*"`}, false},
		{"no tag to compare", 200, nil, []string{"If-None-Match", `""`}, false},
		{"an empty tag", 200, []string{"ETag", `""`}, []string{"If-None-Match", `""`}, true},
		{"two tags are none", 200, []string{"ETag", `"v1"`, "ETag", `"v1"`}, []string{"If-None-Match", `"v1"`}, false},
		{"a tag without quotes is none", 200, []string{"ETag", `v1`}, []string{"If-None-Match", `"v1"`}, false},
		{"If-None-Match goes before If-Modified-Since", 200, tag, []string{"If-None-Match", `"v2"`, "If-Modified-Since", later}, false},
		{"an empty If-None-Match does so too", 200, tag, []string{"If-None-Match", ``, "If-Modified-Since", later}, false},
		{"not modified since", 200, tag, []string{"If-Modified-Since", epochDate}, true},
		{"not modified since later", 200, tag, []string{"If-Modified-Since", later}, true},
		{"modified since", 200, tag, []string{"If-Modified-Since", earlier}, false},
		{"since an invalid date", 200, tag, []string{"If-Modified-Since", "0"}, false},
		{"since two dates", 200, tag, []string{"If-Modified-Since", later, "If-Modified-Since", later}, false},
		{"no Last-Modified: Date", 200, []string{"Date", later}, []string{"If-Modified-Since", epochDate}, false},
		{"no Last-Modified: Date, reached", 200, []string{"Date", later}, []string{"If-Modified-Since", later}, true},
		{"neither: receipt", 200, nil, []string{"If-Modified-Since", epochDate}, true},
		{"neither: before receipt", 200, nil, []string{"If-Modified-Since", earlier}, false},
		{"RFC 9110 §13.2.1: 404", 404, tag, []string{"If-None-Match", `"v1"`}, false},
		{"RFC 9110 §13.2.1: 301", 301, tag, []string{"If-None-Match", `*`}, false},
		{"RFC 9110 §13.2.1: 203", 203, tag, []string{"If-None-Match", `"v1"`}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req, resp := get("/"), answer(tt.status, append([]string{"Cache-Control", "max-age=60"}, tt.response...)...)
			e := NewEntry(req, resp, Decide(req, resp, &Policy{}), nil, 0, nil, "")
			if got := e.NotModified(head(tt.request...)); got != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestValidatesRFC9111Section4_3_4(t *testing.T) {
	const modified, justNow = "Wed, 04 Mar 2026 05:06:00 GMT", epochDate
	for _, tt := range []struct {
		name        string
		stored, now []string
		want        bool
	}{
		{"the same tag", []string{"ETag", `"1"`}, []string{"ETag", `"1"`}, true},
		{"another tag", []string{"ETag", `"1"`}, []string{"ETag", `"2"`}, false},
		{"no tag", []string{"ETag", `"1"`}, nil, true},
		{"the same malformed tag", []string{"ETag", "1"}, []string{"ETag", "1"}, true},
		{"nothing of nothing", nil, nil, true},
		{"a strong tag where none was", nil, []string{"ETag", `"1"`}, false},
		{"a strong tag where a date was", []string{"Last-Modified", modified}, []string{"ETag", `"1"`}, false},
		{"a strong tag beside another date", []string{"Last-Modified", modified}, []string{"ETag", `"1"`, "Last-Modified", justNow}, false},
		{"a strong tag beside the same date", []string{"Last-Modified", modified}, []string{"ETag", `"1"`, "Last-Modified", modified}, true},
		{"a strong tag beside the same date, too young to tell", []string{"Last-Modified", justNow}, []string{"ETag", `"1"`, "Last-Modified", justNow}, false},
		{"a strong tag beside the same date, which is none", []string{"Last-Modified", "x"}, []string{"ETag", `"1"`, "Last-Modified", "x"}, false},
		{"a weak tag where none was", []string{"Last-Modified", modified}, []string{"ETag", `W/"1"`}, true},
		{"a malformed tag where none was", []string{"Last-Modified", modified}, []string{"ETag", `1`}, true},
		{"the same date", []string{"Last-Modified", modified}, []string{"Last-Modified", modified}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req, resp := get("/"), answer(200, append([]string{"Cache-Control", "max-age=60", "Date", epochDate}, tt.stored...)...)
			e := NewEntry(req, resp, Decide(req, resp, &Policy{}), nil, 0, nil, "")
			if got := e.Validates(head(tt.now...)); got != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

// FuzzIfNoneMatch: a tag that is not in the text is never found in it.
func FuzzIfNoneMatch(f *testing.F) {
	for _, s := range []string{`"v1"`, `W/"v1"`, `"a", "v1"`, `*`, `"`, `W/`, `"a"v1"`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, list []byte) {
		e := &Entry{Status: 200, etag: `"0123456789abcdef"`}
		star := string(octets.TrimOWS(list)) == "*"
		if e.matchesAny(list) && !star && !bytes.Contains(list, []byte(e.etag)) {
			t.Fatalf("%q matches", list)
		}
	})
}
