package main

import (
	"fmt"
	"strings"
	"testing"
)

func TestRawRequestIsReadAsOverTheWire(t *testing.T) {
	for _, tc := range []struct {
		name, raw, site                string
		method, url, proto, body, said string // said are the fields
	}{
		{
			name: "plain", raw: "GET /../%zz?q=' HTTP/1.1\r\nHost: a.test:8443\r\nX_One:  1 \r\n\r\n",
			method: "GET", url: "https://a.test:8443/../%zz?q='", proto: "HTTP/1.1", body: "none", said: "[[X_One 1]]",
		},
		{
			name: "an editor's", raw: "\xef\xbb\xbf\n\nPOST /x HTTP/1.0\nHost: a.test\nContent-Length: 99\n\na=1&b=\n2\n",
			method: "POST", url: "https://a.test/x", proto: "HTTP/1.0", body: "a=1&b=\n2\n", said: "[]",
		},
		{name: "no empty line", raw: "GET / HTTP/2\nhost: a.test", method: "GET", url: "https://a.test/", body: "none", said: "[]"},
		{name: "the editor's last line end", raw: "POST / HTTP/1.1\nHost: a.test\n\na=1\r\n", method: "POST", url: "https://a.test/", proto: "HTTP/1.1", body: "a=1", said: "[]"},
		{name: "what is behind the length", raw: "POST / HTTP/1.1\nHost: a.test\nContent-Length: 4\n\na=1\n\n", method: "POST", url: "https://a.test/", proto: "HTTP/1.1", body: "a=1\n", said: "[]"},
		{name: "length 0", raw: "POST / HTTP/1.1\nHost: a.test\nContent-Length: 0\n\n", method: "POST", url: "https://a.test/", proto: "HTTP/1.1", body: "", said: "[]"},
		{
			name: "chunks", raw: "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: Chunked\r\n\r\n3;x=y\r\na=1\r\nA\r\n&b=\r\n34567\r\n0\r\nTrailer: t\r\n\r\n",
			method: "POST", url: "https://a.test/", proto: "HTTP/1.1", body: "a=1&b=\r\n34567", said: "[[Transfer-Encoding Chunked]]",
		},
		{
			name: "an editor's chunks", raw: "POST / HTTP/1.1\nHost: a.test\nTransfer-Encoding: chunked\n\n3\na=1\n0\n\n",
			method: "POST", url: "https://a.test/", proto: "HTTP/1.1", body: "a=1", said: "[[Transfer-Encoding chunked]]",
		},
		{name: "absolute-form", raw: "GET http://b.test?x=1 HTTP/1.1\r\nHost: B.test\r\n\r\n", method: "GET", url: "http://b.test?x=1", proto: "HTTP/1.1", body: "none", said: "[]"},
		{name: "another site", raw: "GET /x HTTP/1.1\nHost: a.test\n\n", site: "http://staging.test:81", method: "GET", url: "http://staging.test:81/x", proto: "HTTP/1.1", body: "none", said: "[]"},
		{name: "no Host", raw: "GET /x HTTP/1.0\n\n", site: "b.test", method: "GET", url: "https://b.test/x", proto: "HTTP/1.0", body: "none", said: "[]"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			in, err := readRaw("-", tc.site, strings.NewReader(tc.raw))
			if err != nil {
				t.Fatal(err)
			}
			body := string(in.Body)
			if in.Body == nil {
				body = "none"
			}
			want(t, "method", in.Method, tc.method)
			want(t, "url", in.URL, tc.url)
			want(t, "proto", in.Proto, tc.proto)
			want(t, "body", body, tc.body)
			want(t, "fields", fmt.Sprint(in.Headers), tc.said)
		})
	}
}

func TestWhatIsNoRequestIsNamedByItsLine(t *testing.T) {
	for raw, says := range map[string]string{
		"":                                              "there is no request in it",
		"hello\n":                                       `line 1: "hello" is no request line: want METHOD TARGET HTTP/1.1`,
		"\nGET /\n":                                     "line 2: ",
		"GET / SPDY/3\n":                                "line 1: ",
		"GET / HTTP/9\n":                                "no version of HTTP that is served",
		"GET /a b HTTP/1.1\n":                           "write %20",
		"GET x HTTP/1.1\nHost: a":                       "want a path",
		"GET / HTTP/1.1\nHost a\n":                      `line 2: "Host a" is no header field: want Name: value, and an empty line before a body`,
		"GET / HTTP/1.1\nHost: a\nX : 1\n":              "line 3: ",
		"GET / HTTP/1.1\nHost: a\nX: 1\n b\n":           "line 4: a field that is continued",
		"GET / HTTP/1.1\nHost: a\nHost: b\n":            "line 3: a second Host",
		"GET / HTTP/1.1\n:authority: a.test\n":          "line 2: a field of HTTP/2",
		"GET / HTTP/1.1\n\n":                            "it has no Host: name the site",
		"GET / HTTP/1.1\nHost: a b\n\n":                 `host "a b"`,
		"GET http://a.test/ HTTP/1.1\nHost: b.test\n\n": "its target is for a.test and its Host is b.test: the edge answers 400",
		"POST / HTTP/1.1\nHost: a\nTransfer-Encoding: gzip\n\n":                 `transfer coding "gzip": the edge answers 501`,
		"POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\na=1\n":         `the body, from line 5 on: "a=1" is no size of a chunk; if it is not in chunks`,
		"POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n9\na=1\n0\n\n": "it ends within a chunk of 9 bytes",
		"POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n2\na=1\n0\n\n": "longer than the 2 bytes",
	} {
		if _, err := readRaw("-", "", strings.NewReader(raw)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v; want %q", raw, err, says)
		} else if !strings.HasPrefix(err.Error(), "standard input: ") {
			t.Errorf("%q: the source is not named: %v", raw, err)
		}
	}
	if _, err := readRaw("-", "", strings.NewReader(strings.Repeat("a", maxRaw+1))); err == nil || !strings.Contains(err.Error(), "standard input: larger than 17 MiB") {
		t.Error(err)
	}
	if _, err := readRaw("/nowhere/file", "", nil); err == nil {
		t.Error("a file that is not there was read")
	}
}
