package edge

import (
	"bytes"
	"context"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"gatehouse/cache"
	"gatehouse/internal/edgetest"
)

// succeed starts a node that has what n's cache has.
func (n *node) succeed(t *testing.T, yaml string) (*node, cache.Restored) {
	t.Helper()
	var b bytes.Buffer
	if _, err := n.store.Snapshot(context.Background(), &b, cache.SnapshotOptions{Templates: StoredHeads()}); err != nil {
		t.Fatal(err)
	}
	saved, err := cache.OpenSnapshot(&b, StoredHeads())
	if err != nil {
		t.Fatal(err)
	}
	heir := start(t, yaml)
	done, err := heir.store.Restore(context.Background(), saved, heir.CacheOf)
	if err != nil {
		t.Fatal(err)
	}
	return heir, done
}

func TestRestoredAnswerIsTheSame(t *testing.T) {
	b := edgetest.NewBackend(t)
	site := shopSite(b.URL, "cache: {enabled: true}", "waf: {responses: true}") // so that the digest counts
	n := start(t, site)
	target := "/respond?Cache-Control=max-age%3D60&Etag=%22v1%22&Vary=Accept-Language&Strict-Transport-Security=max-age%3D5&Content-Type=text/plain&body=hello"
	n.get(t, "www.shop.test", target, "Accept-Language: de")
	was := n.get(t, "www.shop.test", target, "Accept-Language: de")
	heir, done := n.succeed(t, site)
	asked := b.Deliveries("/respond")
	is := heir.get(t, "www.shop.test", target, "Accept-Language: de")
	if done.Entries != 1 || b.Deliveries("/respond") != asked || !strings.HasPrefix(is.Header.Get("Cache-Status"), "gatehouse; hit; ttl=") {
		t.Fatalf("%+v, the backend was asked %d times more, %v", done, b.Deliveries("/respond")-asked, is.Header)
	}
	for _, h := range []map[string][]string{was.Header, is.Header} {
		for _, name := range []string{"X-Request-Id", "Age", "Cache-Status"} {
			delete(h, name)
		}
	}
	if is.Status != was.Status || string(is.Body) != string(was.Body) || !reflect.DeepEqual(is.Header, was.Header) {
		t.Errorf("%d %v %q, was %d %v %q", is.Status, is.Header, is.Body, was.Status, was.Header, was.Body)
	}
	if got := heir.get(t, "www.shop.test", target, "Accept-Language: de", `If-None-Match: "v1"`); got.Status != 304 {
		t.Errorf("If-None-Match: %d", got.Status)
	}
	if got := heir.get(t, "www.shop.test", target, "Accept-Language: fr").Header.Get("Cache-Status"); !strings.Contains(got, "fwd=vary-miss") {
		t.Errorf("another language: %q", got)
	}
	figures := heir.store.Figures()
	if len(figures) != 1 || figures[0].Tenant != "shop" || figures[0].Vhost != "www.shop.test" || figures[0].Entries == 0 {
		t.Errorf("%+v", figures)
	}
}

// What tells answers apart is in the key: under other settings it is not found. What was inspected by other rules is not served.
func TestRestoredAnswerUnderOtherSettings(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, shopSite(b.URL, "cache: {enabled: true}", "waf: {responses: true}"))
	target := "/respond?Cache-Control=max-age%3D60&body=hello"
	n.get(t, "www.shop.test", target)
	other := strings.Replace(shopSite(b.URL, "cache: {enabled: true}"), "tenant: shop", "tenant: other", 1)
	for _, c := range []struct{ name, site, want string }{
		{"the same", shopSite(b.URL, "cache: {enabled: true}", "waf: {responses: true}"), "hit"},
		{"another key", shopSite(b.URL, "cache: {enabled: true, key: {device: true}}"), "fwd=uri-miss"},
		{"goes past", shopSite(b.URL, "cache: {enabled: true, bypass: {paths: [/respond]}}"), "fwd=bypass"},
		{"other rules", shopSite(b.URL, "cache: {enabled: true}", "waf: {responses: true, paranoia: 2}"), "fwd=stale"},
		{"cache off", shopSite(b.URL), ""},
		{"another tenant", other, "fwd=uri-miss"},
		{"another name", strings.Replace(shopSite(b.URL, "cache: {enabled: true}", "aliases: [www.shop.test]"), "  www.shop.test:", "  shop.test:", 1), "fwd=uri-miss"},
	} {
		heir, done := n.succeed(t, c.site)
		if gone := c.name == "cache off" || strings.HasPrefix(c.name, "another ") && c.name != "another key"; (done.Gone == 1) != gone || (done.Entries == 1) == gone {
			t.Errorf("%s: %+v", c.name, done)
		}
		if got := heir.get(t, "www.shop.test", target).Header.Get("Cache-Status"); !strings.Contains(got, c.want) || c.want == "" && got != "" {
			t.Errorf("%s: Cache-Status %q, want %s", c.name, got, c.want)
		}
	}
	empty, err := New(Options{Cache: n.store})
	if err != nil {
		t.Fatal(err)
	}
	if empty.CacheOf("shop", "www.shop.test") != nil {
		t.Error("a vhost of no table has a cache")
	}
}

func TestStoredHeadRoundTrip(t *testing.T) {
	for _, h := range []*storedHead{
		{},
		{lines: []byte("Content-Type: text/html\r\nX-Empty: \r\nX-High: \xff\xfe\r\n")},
		{lines: []byte("A: b\r\n"), hsts: []byte("Strict-Transport-Security: max-age=1\r\n")},
	} {
		b, err := StoredHeads().Append([]byte("before"), h)
		if err != nil {
			t.Fatal(err)
		}
		got, size, err := StoredHeads().Read(b[len("before"):])
		if err != nil {
			t.Fatal(err)
		}
		clear(b) // it must not keep them
		is := got.(*storedHead)
		if string(is.lines) != string(h.lines) || string(is.hsts) != string(h.hsts) || size != is.size() || size < len(h.lines)+len(h.hsts) {
			t.Errorf("%q %q, size %d; want %q %q", is.lines, is.hsts, size, h.lines, h.hsts)
		}
	}
	if _, err := StoredHeads().Append(nil, "text"); err == nil {
		t.Error("what is no head is written")
	}
}

func FuzzStoredHead(f *testing.F) {
	for _, s := range []string{
		"", "\x00", "\x06A: b\r\n", "\x06A: b\r\nStrict-Transport-Security: x\r\n", "\x7fA: b\r\n", "\x05A: b\r\n", "\x06A: \n\r\n",
		"\x08A: b\r\n\r\n", "\x0aA : b\r\n", "\x13Content-Length: 5\r\n", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, _, err := StoredHeads().Read(b)
		if err != nil {
			return
		}
		h := got.(*storedHead)
		head := string(h.lines) + string(h.hsts)
		if strings.Contains("\r\n"+head, "\r\n\r\n") || head != "" && !strings.HasSuffix(head, "\r\n") || strings.Count(head, "\n") != strings.Count(head, "\r\n") {
			t.Errorf("a head that ends within %q", head)
		}
		if again, err := StoredHeads().Append(nil, h); err != nil || len(again) > len(b) {
			t.Errorf("%q was written of %q: %v", again, b, err)
		}
	})
}

func TestSettled(t *testing.T) {
	release := make(chan struct{})
	b := edgetest.NewBackendWith(t, edgetest.BackendOptions{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release })})
	n := start(t, shopSite(b.URL), func(o *Options) { o.Limits.DrainAccept, o.Limits.DrainGrace = -1, 10*time.Second })
	answered := make(chan int, 1)
	go func() { answered <- n.get(t, "www.shop.test", "/slow").Status }()
	edgetest.WaitFor(t, "the request", func() bool { return n.InFlight() == 1 })
	drained := make(chan error, 1)
	go func() { drained <- n.Shutdown(context.Background()) }()
	edgetest.WaitFor(t, "the drain", n.Draining)
	select {
	case <-n.Settled():
		t.Error("settled while a request is under way")
	default:
	}
	close(release)
	if got := <-answered; got != 200 {
		t.Errorf("status %d", got)
	}
	<-n.Settled()
	if err := <-drained; err != nil {
		t.Error(err)
	}
}
