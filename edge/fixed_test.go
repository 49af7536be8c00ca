package edge

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/internal/edgetest"
	"gatehouse/routes"
)

func TestRedirectVhosts(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	n := start(t, `vhosts:
  www.shop.test: {backends: [`+b.URL+`]}
  shop.test: {redirect: {to: "https://www.shop.test"}}
  found.test: {redirect: {to: "https://www.shop.test/", status: 302}}
  moved.test: {redirect: {to: "https://www.shop.test/new/", status: 308}, waf: {mode: block}}
  landing.test: {redirect: {to: "https://www.shop.test/landing?from=old", status: 307, keep_path: false}}
  www.shop.test/old: {redirect: {to: "https://www.shop.test/new"}, strip: true}
  "*.wild.test": {redirect: {to: "https://www.wild.test"}}
  alias.test: {aliases: [other.test], backends: [`+b.URL+`]}
  alias.test/kept: {redirect: {to: "https://other.test"}}
  alias.test/off: {redirect: {to: "https://other.test"}, strip: true}
`)
	for _, c := range []struct {
		host, target string
		status       int
		location     string
	}{
		{"shop.test", "/a%2Fb?c=d", 301, "https://www.shop.test/a%2Fb?c=d"},
		{"shop.test", "//evil.test/", 301, "https://www.shop.test//evil.test/"},
		{"found.test", "/", 302, "https://www.shop.test/"},
		{"moved.test", "/x", 308, "https://www.shop.test/new/x"},
		{"moved.test", "/?q=<script>alert(1)</script>", 403, ""}, // the WAF is the vhost's as with backends
		{"landing.test", "/x?y", 307, "https://www.shop.test/landing?from=old"},
		{"www.shop.test", "/old", 301, "https://www.shop.test/new/"},
		{"www.shop.test", "/old/x?y", 301, "https://www.shop.test/new/x?y"},
		{"alias.test", "/kept/x", 508, ""}, // https://other.test/kept/x is the path vhost's own: for ever
		{"alias.test", "/off/x", 301, "https://other.test/x"},
		{"alias.test", "/off/off/x", 301, "https://other.test/off/x"}, // and from there to /x
		{"a.wild.test", "/", 508, ""},                                 // www.wild.test is the wildcard's own: for ever
	} {
		got := n.get(t, c.host, c.target)
		if got.Status != c.status || got.Header.Get("Location") != c.location {
			t.Errorf("%s%s: %d %q, want %d %q", c.host, c.target, got.Status, got.Header.Get("Location"), c.status, c.location)
		}
	}
	// The body of a request is not taken for the next request.
	conn := edgetest.Dial(t, n.http)
	post := head("POST", "shop.test", "/x", "Content-Length: 30") + "\r\nGET /smuggled HTTP/1.1\r\nHost:a"
	for range 2 {
		if got := conn.Do("POST", post); got.Status != 301 || got.Header.Get("Location") != "https://www.shop.test/x" {
			t.Fatalf("POST: %d %v", got.Status, got.Header)
		}
	}
	n.apply(t, "vhosts:\n  www.wild.test: {backends: ["+b.URL+"]}\n")
	if got := n.get(t, "a.wild.test", "/"); got.Header.Get("Location") != "https://www.wild.test/" {
		t.Errorf("a wildcard to a name of its own vhost: %d %v", got.Status, got.Header)
	}
	if len(b.Requests()) != 0 {
		t.Error("a redirect asked a backend")
	}
}

// A redirect loop is named with the way that it takes.
func TestRedirectsInACircleAreConflicts(t *testing.T) {
	t.Parallel()
	n := start(t, `vhosts:
  a.test: {redirect: {to: "https://b.test/x", keep_path: false}}
  b.test: {redirect: {to: "https://a.test"}}
  c.test: {redirect: {to: "https://c.test/in", keep_path: false}}
  c.test/in: {respond: {body: in}}
`)
	for name, want := range map[string]string{"a.test": "a.test → b.test → a.test", "b.test": "b.test → a.test → b.test", "c.test": ""} {
		got := n.table.Conflicts(n.table.Vhost(name))
		if want == "" && got != nil || want != "" && !strings.Contains(got.Error(), want) {
			t.Errorf("%s: %v, want %q", name, got, want)
		}
	}
	if got := n.get(t, "c.test", "/"); got.Status != 301 || string(n.get(t, "c.test", "/in").Body) != "in" {
		t.Errorf("from a host into a path of it: %d", got.Status)
	}
}

// The site for unknown hosts needs no backend.
func TestRespondVhosts(t *testing.T) {
	t.Parallel()
	n := start(t, `vhosts:
  "*": {respond: {status: 404, body: "<h1>Nobody lives here</h1>"}}
  text.test: {respond: {body: "ok`+strings.Repeat(" and so on", 500)+`", content_type: text/plain}, compress: "on", waf: {mode: block, responses: true}}
  empty.test: {respond: {status: 204}}
`)
	got := n.get(t, "whoever.example", "/x")
	if got.Status != 404 || string(got.Body) != "<h1>Nobody lives here</h1>" || got.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("unknown host: %d %v %q", got.Status, got.Header, got.Body)
	}
	headed := edgetest.Dial(t, n.http).Do("HEAD", head("HEAD", "whoever.example", "/")+"\r\n")
	if headed.Status != 404 || headed.Header.Get("Content-Length") != "26" {
		t.Errorf("HEAD: %d %v", headed.Status, headed.Header)
	}
	if got = n.get(t, "text.test", "/", "Accept-Encoding: gzip"); got.Status != 200 || got.Header.Get("Content-Encoding") != "gzip" {
		t.Errorf("text: %d %v", got.Status, got.Header)
	}
	if got = n.get(t, "empty.test", "/"); got.Status != 204 || got.Header.Get("Content-Type") != "" {
		t.Errorf("empty: %d %v", got.Status, got.Header)
	}
	n.waitFor(t, n.access, `"vhost":"*"`)
}

// A page's file is followed; while it cannot be read, the last good one stays.
func TestRespondFileIsFollowed(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "page.html")
	n := start(t, "vhosts:\n  page.test: {respond: {file: "+file+"}}\n")
	conn := edgetest.Dial(t, n.http) // one for all: how often it is asked depends on the machine
	body := func() string { return string(conn.Do("GET", head("GET", "page.test", "/")+"\r\n").Body) }
	if got := n.get(t, "page.test", "/"); got.Status != 503 {
		t.Errorf("without its file: %d", got.Status)
	}
	n.waitFor(t, n.log, "page cannot be read")
	for _, text := range []string{"one", "another"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		edgetest.WaitFor(t, "the page to be "+text, func() bool { return body() == text })
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	p := newPage(&routes.Vhost{Name: "page.test", VhostExtras: &routes.VhostExtras{Respond: &routes.Respond{File: file}}}, n.Server.log)
	if _, err := p.get(); err == nil {
		t.Error("a page of a file that is gone")
	}
	st, err := n.siteOf(n.table.Match("page.test"))
	if err != nil {
		t.Fatal(err)
	}
	st.fixed.page.looked.Store(time.Now().Add(-time.Hour).UnixNano())
	if got := body(); got != "another" {
		t.Errorf("after its file is gone: %q", got)
	}
}

// While a disk hangs, whoever has a page read waits for a second, others get the last good one at once; without one all wait for the
// same second. One reading is under way for a page, and so many for an owner.
func TestDiskThatHangsHoldsNoRequestsOfAPage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "page.html")
		if err := os.WriteFile(file, []byte("one"), 0o600); err != nil {
			t.Fatal(err)
		}
		page := func(turns *places) *pageFile {
			p := newPage(&routes.Vhost{Name: "page.test", VhostExtras: &routes.VhostExtras{Respond: &routes.Respond{File: file}}}, slog.New(slog.DiscardHandler))
			p.turns = turns
			return p
		}
		want := func(p *pageFile, body string, after time.Duration) {
			t.Helper()
			begun := time.Now()
			got, err := p.get()
			if took := time.Since(begun); string(got) != body || (err != nil) != (body == "") || took != after {
				t.Errorf("%q, %v after %v, want %q after %v", got, err, took, body, after)
			}
		}
		turns := &places{}
		turns.bound(1)
		p, next := page(turns), page(turns)
		want(p, "one", 0)
		time.Sleep(pagePoll)
		disk, readings := make(chan struct{}), 0
		hang := func(was os.FileInfo) ([]byte, os.FileInfo, error) {
			readings++
			<-disk
			return []byte("two"), was, nil
		}
		p.load, next.load = hang, hang
		var all sync.WaitGroup
		all.Go(func() { want(p, "one", pageWait) })
		synctest.Wait()
		want(p, "one", 0)
		for range 3 {
			all.Go(func() { want(next, "", pageWait) })
		}
		all.Wait()
		want(next, "", 0)
		if readings != 1 {
			t.Errorf("%d readings under way", readings)
		}
		close(disk)
		synctest.Wait()
		want(p, "two", 0)
		want(next, "two", 0)
	})
}
