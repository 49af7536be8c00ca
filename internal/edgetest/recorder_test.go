package edgetest

import (
	"net"
	"strings"
	"testing"
)

func TestRecorderKeepsWhatHasOneReading(t *testing.T) {
	r := NewRecorder(t, "A", "B")
	r.Play("/two", func(c net.Conn) bool {
		_, err := c.Write([]byte("HTTP/1.1 204 No Content\r\n\r\n"))
		return err == nil
	})
	c := Dial(t, strings.TrimPrefix(r.URL("B"), "http://"))
	c.SendBytewise("POST /one HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n")
	if a := c.Receive("POST"); a.Status != 200 {
		t.Errorf("status %d", a.Status)
	}
	if a := c.Do("PUT", "PUT /two HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"); a.Status != 204 {
		t.Errorf("status %d", a.Status)
	}
	seen, faults := r.Take()
	if len(faults) != 0 || len(seen) != 2 || seen[0].String() != "B POST /one hi" || seen[1].String() != "B PUT /two abc" || !seen[1].Has("host: a") {
		t.Errorf("seen %v, faults %q", seen, faults)
	}
}

// What a strict second parser must not take: if it did, no test that leans on it could fail.
func TestRecorderReportsWhatHasTwoReadings(t *testing.T) {
	post := "POST / HTTP/1.1\r\nHost: a\r\n"
	for name, raw := range map[string]string{
		"bare LF":                 "GET / HTTP/1.1\nHost: a\r\n\r\n",
		"bare CR":                 "GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n",
		"NUL":                     "GET / HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n",
		"ESC":                     "GET / HTTP/1.1\r\nHost: a\r\nX: \x1b\r\n\r\n",
		"two spaces":              "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
		"HTTP/2.0":                "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
		"fragment":                "GET /#a HTTP/1.1\r\nHost: a\r\n\r\n",
		"no Host":                 "GET / HTTP/1.1\r\n\r\n",
		"two Hosts":               "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
		"space in a name":         "GET / HTTP/1.1\r\nHost: a\r\nX A: b\r\n\r\n",
		"fold":                    "GET / HTTP/1.1\r\nHost: a\r\n b: c\r\n\r\n",
		"no colon":                "GET / HTTP/1.1\r\nHost: a\r\nb\r\n\r\n",
		"length and chunked":      post + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"two lengths":             post + "Content-Length: 0\r\nContent-Length: 0\r\n\r\n",
		"signed length":           post + "Content-Length: +0\r\n\r\n",
		"empty length":            post + "Content-Length:\r\n\r\n",
		"gzip":                    post + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"chunk size with a sign":  post + "Transfer-Encoding: chunked\r\n\r\n+0\r\n\r\n",
		"chunk extension":         post + "Transfer-Encoding: chunked\r\n\r\n0;a\r\n\r\n",
		"chunk with a junk end":   post + "Transfer-Encoding: chunked\r\n\r\n1\r\naXX0\r\n\r\n",
		"trailer":                 post + "Transfer-Encoding: chunked\r\n\r\n0\r\nX-A: b\r\n\r\n",
		"a size that never comes": post + "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("0", 40),
	} {
		r := NewRecorder(t, "A")
		c := Dial(t, strings.TrimPrefix(r.URL("A"), "http://"))
		c.Send(raw)
		c.WantClosed()
		if seen, faults := r.Take(); len(seen) != 0 || len(faults) != 1 {
			t.Errorf("%s: seen %v, faults %q", name, seen, faults)
		}
	}
}
