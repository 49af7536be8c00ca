package compress

import (
	"strings"
	"testing"
)

// headOf makes a head of "Name: value" lines.
func headOf(method string, status int, length int64, lines ...string) *Head {
	h := &Head{Method: method, Status: status, Length: length}
	for _, l := range lines {
		name, value, _ := strings.Cut(l, ": ")
		h.Add([]byte(name), []byte(value))
	}
	return h
}

const html = "Content-Type: text/html; charset=utf-8"

func TestWhatHasACodedForm(t *testing.T) {
	for _, c := range []struct {
		rule string
		head *Head
		want bool
	}{
		{"a page", headOf("GET", 200, 5000, html), true},
		{"a page of unknown length", headOf("GET", 200, -1, html), true},
		{"HEAD as GET (RFC 9110 §9.3.2)", headOf("HEAD", 200, 5000, html), true},
		{"the answer to a POST", headOf("POST", 200, 5000, "content-type: application/json"), true},
		{"a page that says what went wrong", headOf("GET", 404, 5000, html), true},
		{"long enough", headOf("GET", 200, MinLength, html), true},
		{"too short", headOf("GET", 200, MinLength-1, html), false},
		{"empty", headOf("GET", 200, 0, html), false},
		{"no type", headOf("GET", 200, 5000), false},
		{"a picture", headOf("GET", 200, 5000, "Content-Type: image/jpeg"), false},
		{"coded already (RFC 9110 §8.4)", headOf("GET", 200, 5000, html, "Content-Encoding: gzip"), false},
		{"coded twice", headOf("GET", 200, 5000, html, "Content-Encoding: identity, br"), false},
		{"coded in a second line", headOf("GET", 200, 5000, html, "Content-Encoding: identity", "Content-Encoding: br"), false},
		{"identity is no coding", headOf("GET", 200, 5000, html, "Content-Encoding: Identity"), true},
		{"no-transform (RFC 9110 §7.7)", headOf("GET", 200, 5000, html, "Cache-Control: max-age=60, No-Transform"), false},
		{"other directives", headOf("GET", 200, 5000, html, "Cache-Control: public, max-age=60"), true},
		{"a part (RFC 9110 §15.3.7)", headOf("GET", 206, 5000, html), false},
		{"Content-Range", headOf("GET", 200, 5000, html, "Content-Range: bytes 0-4999/9000"), false},
		{"no content (RFC 9110 §15.3.5)", headOf("GET", 204, -1, html), false},
		{"reset content (RFC 9110 §15.3.6)", headOf("GET", 205, -1, html), false},
		{"not modified (RFC 9110 §15.4.5)", headOf("GET", 304, 5000, html), false},
		{"a change alone (RFC 3229)", headOf("GET", 226, 5000, html), false},
		{"switching protocols", headOf("GET", 101, -1, html), false},
		{"Content-MD5", headOf("GET", 200, 5000, html, "Content-MD5: x"), false},
		{"Digest (RFC 3230)", headOf("GET", 200, 5000, html, "Digest: sha-256=x"), false},
		{"Content-Digest (RFC 9530 §2)", headOf("GET", 200, 5000, html, "Content-Digest: sha-256=:x:"), false},
		{"Repr-Digest (RFC 9530 §3)", headOf("GET", 200, 5000, html, "repr-digest: sha-256=:x:"), false},
	} {
		if got := c.head.Eligible(); got != c.want {
			t.Errorf("%s: %v", c.rule, got)
		}
	}
}

func TestTypesThatAreWorthIt(t *testing.T) {
	for _, yes := range []string{
		"text/html", "text/plain;charset=utf-8", "TEXT/CSS", "text/event-stream", "application/json", " application/json ; v=1", "application/javascript",
		"text/javascript", "application/wasm", "image/svg+xml", "image/x-icon", "application/ld+json", "application/atom+xml", "application/problem+json",
		"application/vnd.api+json", "font/ttf", "font/otf", "application/vnd.ms-fontobject", "application/x-ndjson", "application/manifest+json",
	} {
		if !Worth([]byte(yes)) {
			t.Errorf("%q is not", yes)
		}
	}
	for _, no := range []string{
		"", ";", "text", "image/jpeg", "image/png", "image/webp", "image/avif", "video/mp4", "audio/mpeg", "font/woff", "font/woff2", "application/zip",
		"application/gzip", "application/zstd", "application/pdf", "application/octet-stream", "multipart/mixed; boundary=text/html", "application/jsonx",
		"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "x/" + strings.Repeat("a", 500) + "+json",
	} {
		if Worth([]byte(no)) {
			t.Errorf("%q is", no)
		}
	}
}

// RFC 9110 §12.5.5: a cache behind us must know by what the forms of an answer are chosen.
func TestVaryIsKnown(t *testing.T) {
	for value, want := range map[string]bool{
		"": false, "Accept-Encoding": true, "Cookie, accept-encoding": true, "*": true, "Accept": false, "X-Accept-Encoding": false,
	} {
		if got := headOf("GET", 200, 5000, html, "Vary: "+value).Varying(); got != want {
			t.Errorf("%q: %v", value, got)
		}
	}
	if !headOf("GET", 200, 5000, "Vary: Accept-Encoding", "Vary: Cookie").Varying() {
		t.Error("a second line hides the first")
	}
}

func TestFieldsOfTheCodedForm(t *testing.T) {
	for _, c := range []struct{ rule, method, line, want string }{
		{"a strong tag becomes weak (RFC 9110 §8.8.3.3)", "GET", `ETag: "x"`, `W/"x"`},
		{"for HEAD, too", "HEAD", `etag: "x"`, `W/"x"`},
		{"a weak tag stays", "GET", `ETag: W/"x"`, `W/"x"`},
		{"the tag of what was made stays (RFC 9110 §8.8)", "PUT", `ETag: "x"`, `"x"`},
		{"an empty tag", "GET", `ETag: ""`, `W/""`},
		{"no tag at all", "GET", `ETag: x`, ""},
		{"half a tag", "GET", `ETag: "x`, ""},
		{"two tags", "GET", `ETag: "x", "y"`, ""},
		{"w/ in small", "GET", `ETag: w/"x"`, ""},
		{"Content-Length", "GET", "Content-Length: 5", ""},
		{"Accept-Ranges (RFC 9110 §14.3)", "GET", "Accept-Ranges: bytes", ""},
		{"Content-Encoding: identity", "GET", "Content-Encoding: identity", ""},
		{"another of that length", "GET", "Date: today", "today"},
		{"another", "GET", "Last-Modified: yesterday", "yesterday"},
	} {
		name, value, _ := strings.Cut(c.line, ": ")
		got, ok := (&Head{Method: c.method}).Coded(nil, []byte(name), []byte(value))
		if ok != (c.want != "") || ok && string(got) != c.want {
			t.Errorf("%s: %q: %q, %v", c.rule, c.line, got, ok)
		}
	}
}

func TestAHeadDoesNotAllocate(t *testing.T) {
	lines := [][2][]byte{
		{[]byte("Content-Type"), []byte("text/html; charset=utf-8")},
		{[]byte("Cache-Control"), []byte("max-age=60")},
		{[]byte("Vary"), []byte("Cookie")},
		{[]byte("ETag"), []byte(`"x"`)},
	}
	room := make([]byte, 0, 64)
	if n := testing.AllocsPerRun(100, func() {
		h := Head{Method: "GET", Status: 200, Length: -1}
		for _, l := range lines {
			h.Add(l[0], l[1])
		}
		for _, l := range lines {
			if _, ok := h.Coded(room, l[0], l[1]); !ok {
				t.Fail()
			}
		}
		if !h.Eligible() || h.Varying() {
			t.Fail()
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
