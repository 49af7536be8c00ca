package edge

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"gatehouse/internal/edgetest"
)

// A stored answer has one form for each coding, made once and behind the requests; parts are of the form without a coding.
func TestHitsHaveOneStoredFormForEachCoding(t *testing.T) {
	version := atomic.Int32{}
	b := edgetest.NewBackendWith(t, edgetest.BackendOptions{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("ETag", fmt.Sprintf(`"%d"`, version.Load()))
		_, _ = io.WriteString(w, fmt.Sprint("version ", version.Load(), strings.Repeat(" ", 5000)))
	})})
	n := start(t, fmt.Sprintf("vhosts:\n  www.shop.test: {backends: [%s], compress: on, cache: {enabled: true}}\n", b.URL))
	codings := []string{"gzip", "br", "zstd"}
	for v := range int32(2) {
		version.Store(v)
		want := fmt.Sprint("version ", v, strings.Repeat(" ", 5000))
		n.get(t, "www.shop.test", "/", "Cache-Control: no-cache")
		for _, coding := range codings {
			var got *edgetest.RawAnswer
			c := edgetest.Dial(t, n.http) // one for all tries: the door lets in so many
			edgetest.WaitFor(t, "the stored form by "+coding, func() bool {
				got = c.Do("GET", head("GET", "www.shop.test", "/", "Accept-Encoding: "+coding)+"\r\n")
				if !strings.Contains(got.Header.Get("Cache-Status"), "; hit") || plainText(t, got) != want || got.Header.Get("Vary") != "Accept-Encoding" {
					t.Fatalf("%s: %v", coding, got.Header)
				}
				return got.Header.Get("Content-Encoding") == coding
			})
			if got.Header.Get("Etag") != fmt.Sprintf(`W/"%d"`, v) || got.Header.Get("Content-Length") != fmt.Sprint(len(got.Body)) || got.Header.Get("Age") == "" {
				t.Errorf("%s: %v", coding, got.Header)
			}
			if head := edgetest.Dial(t, n.http).Do("HEAD", head("HEAD", "www.shop.test", "/", "Accept-Encoding: "+coding)+"\r\n"); head.Header.Get("Content-Length") != got.Header.Get("Content-Length") || head.Header.Get("Content-Encoding") != coding {
				t.Errorf("HEAD: %v", head.Header)
			}
			if not := n.get(t, "www.shop.test", "/", "Accept-Encoding: "+coding, "If-None-Match: "+got.Header.Get("Etag")); not.Status != 304 || not.Header.Get("Etag") != got.Header.Get("Etag") {
				t.Errorf("If-None-Match: %d %v", not.Status, not.Header)
			}
			if not := n.get(t, "www.shop.test", "/", fmt.Sprintf(`If-None-Match: "%d"`, v)); not.Status != 304 || not.Header.Get("Vary") != "Accept-Encoding" {
				t.Errorf("If-None-Match, strong: %d %v", not.Status, not.Header)
			}
		}
		if got := n.get(t, "www.shop.test", "/", "Accept-Encoding: br", "Range: bytes=0-8"); got.Status != 206 || string(got.Body) != want[:9] || got.Header.Get("Content-Encoding") != "" || got.Header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("Range: %d %q %v", got.Status, got.Body, got.Header)
		}
		// The forms of the version before have given way.
		if got := n.store.Stats().Entries; got != 4 {
			t.Errorf("version %d: %d entries, want one without a coding and one for each", v, got)
		}
	}
}

// Whoever waits for another's request gets the coding that he takes.
func TestCollapsedAnswersAreCoded(t *testing.T) {
	var n *node
	b := edgetest.NewBackendWith(t, edgetest.BackendOptions{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		edgetest.WaitFor(t, "all clients to be there", func() bool { return n.InFlight() == 20 })
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Content-Length", "200000")
		_, _ = io.WriteString(w, strings.Repeat("x", 200_000))
	})})
	n = start(t, fmt.Sprintf("vhosts:\n  www.shop.test: {backends: [%s], compress: on, cache: {enabled: true}}\n", b.URL))
	answers := make(chan *edgetest.RawAnswer, 20)
	for range 20 {
		c := edgetest.Dial(t, n.http)
		go func() { answers <- c.Do("GET", head("GET", "www.shop.test", "/", "Accept-Encoding: gzip")+"\r\n") }()
	}
	for range 20 {
		if a := <-answers; plainText(t, a) != strings.Repeat("x", 200_000) || len(a.Body) > 10_000 && !strings.Contains(a.Header.Get("Cache-Status"), "; hit") {
			t.Errorf("%d bytes, %v", len(a.Body), a.Header)
		}
	}
}
