package edge

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"gatehouse/internal/edgetest"
)

// The order of the chain is a security property (docs/architecture.md).
func TestChainOrder(t *testing.T) {
	s, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, l := range s.links() {
		names = append(names, l.name)
	}
	want := []string{
		"observe", "finishBody", "errorPages", "selectVhost", "allowAddress", "limitRate", "shedLoad",
		"inspectRequest", "compress", "serveCached", "inspectResponse",
	}
	if !slices.Equal(names, want) {
		t.Errorf("links are\n%v, want\n%v", names, want)
	}
	// And the list is what runs, outermost first.
	var ran []string
	var links []link
	for _, name := range names {
		links = append(links, link{name, func(next handler) handler {
			return func(r *request) error {
				ran = append(ran, name)
				return next(r)
			}
		}})
	}
	last := func(*request) error { ran = append(ran, "forward"); return nil }
	if err := chain(links, last)(&request{}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(ran, append(slices.Clone(want), "forward")) {
		t.Errorf("the chain ran %v", ran)
	}
}

func TestPanicBecomes500AndALogLineWithStack(t *testing.T) {
	var log bytes.Buffer
	s, err := New(Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	run := chain(s.links()[:3], func(*request) error { panic("boom") })
	r := &request{ID: "n1-x", body: &requestBody{}}
	r.body.reset(nil, 0, 0, nil)
	if err := run(r); err != nil {
		t.Fatal(err)
	}
	if r.response.status != 500 || !r.response.close {
		t.Errorf("status %d, close %v; want 500 and a closed connection", r.response.status, r.response.close)
	}
	if strings.Contains(string(r.response.body), "boom") {
		t.Error("the visitor sees the panic")
	}
	for _, want := range []string{"level=ERROR", "boom", "id=n1-x", "stack=", "goroutine ", "chain_test.go"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %q:\n%s", want, &log)
		}
	}
}

func TestUnknownHostIs404WithRequestID(t *testing.T) {
	n := start(t, shopSite(edgetest.NewBackend(t).URL))
	got := n.get(t, "nobody.test", "/")
	if got.Status != 404 || !strings.HasPrefix(got.Header.Get("X-Request-Id"), "n1-") {
		t.Errorf("status %d, id %q", got.Status, got.Header.Get("X-Request-Id"))
	}
	if !strings.Contains(string(got.Body), got.Header.Get("X-Request-Id")) {
		t.Error("the error page does not show the request id")
	}
}

func TestErrorPageIsProblemJSONWhereAcceptPrefersIt(t *testing.T) {
	n := start(t, shopSite(edgetest.NewBackend(t).URL))
	got := n.get(t, "nobody.test", "/", "Accept: application/json")
	if got.Header.Get("Content-Type") != "application/problem+json" || !strings.Contains(string(got.Body), `"status":404`) {
		t.Errorf("%s %s", got.Header.Get("Content-Type"), got.Body)
	}
}

// RFC 9110 has other words for these than net/http.
func TestErrorPageHasTheWordsOfRFC9110(t *testing.T) {
	n := start(t, shopSite(edgetest.NewBackend(t).URL))
	for title, got := range map[string]*edgetest.RawAnswer{
		"413 Content Too Large": n.get(t, "www.shop.test", "/", "Content-Length: 999999999999"),
		"414 URI Too Long":      n.get(t, "www.shop.test", "/"+strings.Repeat("a", 9000)),
	} {
		if !strings.Contains(string(got.Body), "<h1>"+title+"</h1>") {
			t.Errorf("want %q in the page:\n%s", title, got.Body)
		}
	}
}

func TestNoTableYetIs503(t *testing.T) {
	n := start(t, "")
	n.table = nil
	n.Server.table.Store(nil)
	got := n.get(t, "www.shop.test", "/")
	if got.Status != 503 || got.Header.Get("Retry-After") == "" {
		t.Errorf("status %d, Retry-After %q", got.Status, got.Header.Get("Retry-After"))
	}
}
