package main

import (
	"testing"

	"gatehouse/routes"
)

// A file for --raw is an error that names its line, or a request that can be asked about.
func FuzzRawRequest(f *testing.F) {
	for _, seed := range []string{
		"GET /?q=' HTTP/1.1\r\nHost: a.test\r\n\r\n",
		"POST http://a.test/ HTTP/1.0\nHost: a.test\nContent-Length: 1\n\nab\n",
		"POST / HTTP/2\nHost: a.test:81\nTransfer-Encoding: chunked\n\n3;x\nabc\n0\n\n",
		"\xef\xbb\xbf\n:method: GET\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		in, err := parseRaw(raw, "https", "")
		if err != nil {
			return
		}
		if _, _, _, err := routes.SplitURL(in.URL); err != nil || in.Method == "" || len(in.Body) > len(raw) {
			t.Errorf("%+v, %v", in, err)
		}
		for _, f := range in.Headers {
			if f[0] == "" {
				t.Errorf("%q", in.Headers)
			}
		}
	})
}
