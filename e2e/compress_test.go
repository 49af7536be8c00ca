package e2e

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"strings"
	"testing"

	"gatehouse/internal/edgetest"
)

// An operator turns compression on while the node runs; from then on clients that take a coding get one.
func TestCompressionIsTurnedOnLive(t *testing.T) {
	t.Parallel()
	page := strings.Repeat("<p>a page of many equal lines</p>\n", 300)
	b := edgetest.NewBackendWith(t, edgetest.BackendOptions{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, page) // the client may have left
	})})
	n := launch(t, "", map[string]string{"site.yaml": vhost("shop.test", b.URL)})
	n.within("shop.test", 200)
	get := func() *edgetest.RawAnswer {
		return edgetest.Dial(t, n.http).Do("GET", "GET / HTTP/1.1\r\nHost: shop.test\r\nAccept-Encoding: gzip\r\n\r\n")
	}
	if got := get(); string(got.Body) != page || got.Header.Get("Content-Encoding") != "" {
		t.Errorf("by default: %v", got.Header)
	}
	n.must("vhost", "set", "shop.test", "compress=on")
	var got *edgetest.RawAnswer
	edgetest.WaitFor(t, "answers to be compressed", func() bool { got = get(); return got.Header.Get("Content-Encoding") == "gzip" })
	z, err := gzip.NewReader(bytes.NewReader(got.Body))
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(z); err != nil || string(text) != page || got.Header.Get("Vary") != "Accept-Encoding" {
		t.Errorf("%d bytes, %v, %v", len(text), err, got.Header)
	}
	if out := n.must("vhost", "show", "shop.test", "--effective"); !strings.Contains(out, "compress") {
		t.Errorf("vhost show --effective:\n%s", out)
	}
}
