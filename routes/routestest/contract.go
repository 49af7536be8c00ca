package routestest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/routes"
)

func testEmpty(t *testing.T, f Fixture) {
	b, docs := load(t, f.Store)
	if !b.Full || b.Incomplete || len(docs) != 0 || len(b.Problems) != 0 {
		t.Errorf("got %+v", b)
	}
	if n := Follow(t, f.Store, "").Table().Len(); n != 0 {
		t.Errorf("%d vhosts out of nothing", n)
	}
	if err := f.Store.Up(); err != nil {
		t.Errorf("followed, but Up() says %v", err)
	}
}

func testLoad(t *testing.T, f Fixture) {
	f.Write(t, Tenant("shop"), `{"waf": {"mode": "block"}}`)
	f.Write(t, Vhost("www.shop.test"), `{"tenant": "shop", "backends": ["http://127.0.0.1:9000"]}`)
	f.Write(t, Vhost("*.shop.test"), site("http://127.0.0.1:9001"))
	f.Write(t, Vhost("*"), site("http://127.0.0.1:9002"))
	b, docs := load(t, f.Store)
	if !b.Full || len(docs) != 4 {
		t.Fatalf("full: %v, %d documents, want 4", b.Full, len(docs))
	}
	if got := docs[Tenant("shop")].Tenant; got == nil || got.Name != "shop" || got.WAF.Mode != "block" {
		t.Errorf("tenant: %+v", got)
	}
	if got := docs[Vhost("www.shop.test")].Vhost; got == nil || got.Name != "www.shop.test" || got.Tenant != "shop" {
		t.Errorf("vhost: %+v", got)
	}
	table := Follow(t, f.Store, "").Table()
	for host, want := range map[string]string{"www.shop.test": "www.shop.test", "a.b.shop.test": "*.shop.test", "other.test": "*"} {
		if r := table.Match(host); r == nil || r.Name != want {
			t.Errorf("%s is answered by %v, want %s", host, r, want)
		}
	}
	if r := table.Vhost("www.shop.test"); r.Tenant == nil || r.Tenant.WAF.Mode != "block" {
		t.Error("the vhost lacks its tenant's document")
	}
}

func testWatch(t *testing.T, f Fixture) {
	f.Write(t, Vhost("old.test"), site("http://127.0.0.1:9000"))
	w := Follow(t, f.Store, "")
	w.UntilBackend("old.test", "http://127.0.0.1:9000")
	f.Write(t, Vhost("new.test"), site("http://127.0.0.1:9001"))
	w.UntilBackend("new.test", "http://127.0.0.1:9001")
	f.Write(t, Vhost("old.test"), site("http://127.0.0.1:9002"))
	w.UntilBackend("old.test", "http://127.0.0.1:9002")
	f.Write(t, Tenant("shop"), `{"waf": {"paranoia": 2}}`)
	w.Until("the tenant is there", func(t *routes.Table) bool {
		doc, _, _ := t.Tenant("shop")
		return doc != nil && doc.WAF.Paranoia == 2
	})
	f.Remove(t, Vhost("old.test"))
	w.UntilBackend("old.test", "")
	f.Remove(t, Tenant("shop"))
	w.Until("the tenant is gone", func(t *routes.Table) bool {
		_, _, known := t.Tenant("shop")
		return !known
	})
	if w.Table().Match("new.test") == nil {
		t.Error("a vhost that nobody touched is gone")
	}
}

// testLive takes the best of several tries: the machine may be busy once.
func testLive(t *testing.T, f Fixture) {
	w := Follow(t, f.Store, "")
	best := time.Hour
	for i := range 5 {
		url := fmt.Sprintf("http://127.0.0.1:%d", 9000+i)
		begin := time.Now()
		f.Write(t, Vhost("www.shop.test"), site(url))
		w.UntilBackend("www.shop.test", url)
		if best = min(best, time.Since(begin)); best <= time.Second {
			break
		}
	}
	t.Logf("live after %v", best.Round(time.Millisecond))
	if best > time.Second {
		t.Errorf("a change is live after %v at best, want at most a second", best)
	}
}

func testUnknownField(t *testing.T, f Fixture) {
	f.Write(t, Vhost("www.shop.test"), site("http://127.0.0.1:9000"))
	w := Follow(t, f.Store, "")
	f.Write(t, Vhost("www.shop.test"), `{"backends": ["http://127.0.0.1:9001"], "cache": {"tttl": "1s"}}`)
	r := w.UntilProblem("www.shop.test", `unknown key "tttl" in cache (did you mean "ttl"?)`)
	if r.Vhost == nil || r.Vhost.Backends[0].URL != "http://127.0.0.1:9000" {
		t.Errorf("the last good form is not in force: %+v", r.Vhost)
	}
	if p := r.Problems()[0]; p.File == "" || p.Line != 1 && p.Line != 2 || p.Column == 0 || !strings.HasSuffix(p.Excerpt, "^") {
		t.Errorf("the problem has no place: %+v", p)
	}
	f.Write(t, Vhost("www.shop.test"), site("http://127.0.0.1:9002"))
	w.UntilBackend("www.shop.test", "http://127.0.0.1:9002")
	if problems := w.Table().Vhost("www.shop.test").Problems(); len(problems) != 0 {
		t.Errorf("mended, but still: %v", problems)
	}
}

func testBadAmongGood(t *testing.T, f Fixture) {
	for i := range 5 {
		f.Write(t, Vhost(fmt.Sprintf("a%d.test", i)), site("http://127.0.0.1:9000"))
	}
	f.Write(t, Vhost("bad.test"), `{"backends": []}`)
	w := Follow(t, f.Store, "")
	if r := w.UntilProblem("bad.test", "needs at least one backend"); r.Vhost != nil {
		t.Errorf("a vhost without backends is served: %+v", r.Vhost)
	}
	for i := range 5 {
		if w.Table().Match(fmt.Sprintf("a%d.test", i)) == nil {
			t.Errorf("a%d.test suffers from bad.test", i)
		}
	}
	f.Write(t, Vhost("a1.test"), `{"backends": "no`)
	w.UntilProblem("a1.test", "")
	f.Write(t, Vhost("a2.test"), site("http://127.0.0.1:9009"))
	w.UntilBackend("a2.test", "http://127.0.0.1:9009")
	if w.Table().Match("a1.test") == nil {
		t.Error("a document that is no JSON took its last good form away")
	}
}

func testPutDelete(t *testing.T, f Fixture) {
	w := Follow(t, f.Store, "")
	put(t, f.Store, parse(t, Vhost("www.shop.test"), `{"tenant": "shop", "backends": ["http://127.0.0.1:9000"]}`))
	put(t, f.Store, parse(t, Tenant("shop"), `{"waf": {"mode": "off"}}`))
	w.Until("what was put is live", func(t *routes.Table) bool {
		r := t.Match("www.shop.test")
		return r != nil && r.Tenant != nil && r.Tenant.WAF.Mode == "off"
	})
	for _, key := range []routes.Key{Vhost("www.shop.test"), Tenant("shop")} {
		if err := f.Store.Delete(context.Background(), key); err != nil {
			t.Fatal(err)
		}
	}
	w.Until("what was deleted is gone", func(t *routes.Table) bool {
		_, _, known := t.Tenant("shop")
		return t.Len() == 0 && !known
	})
}

// everyField has each field that acts in this version.
const everyField = `{
	"tenant": "shop", "suspended": false, "aliases": ["shop.test", "*.shop.test"], "balance": "round_robin", "compress": "on",
	"backends": ["http://127.0.0.1:9000", "https://[::1]:8443/app", "unix:/run/app.sock", {"url": "http://b.test", "weight": 1}],
	"timeouts": {"connect": "300ms", "first_byte": "1h30m"},
	"cache": {"enabled": true, "ttl": "2d", "max_body": "1536KiB", "set_cookie": "bypass", "heuristic": false,
		"stale_if_error": "0s", "stale_while_revalidate": "90s", "ignore_client_no_cache": true,
		"query": {"only": [], "sort": true}, "key": {"cookies": ["lang"], "headers": ["X-Country"], "device": false},
		"bypass": {"paths": ["/wp-admin/*", "*.php"], "cookies": ["*_logged_in"], "query": ["nocache", "*"], "headers": ["X-Preview"]},
		"rules": [{"paths": ["/static/*"], "status": [200, 404], "ttl": "1h", "override": true}, {"ttl": "0s"}]},
	"waf": {"mode": "block", "paranoia": 2, "inbound_threshold": 7, "outbound_threshold": 9, "inspect_body": "64KiB",
		"responses": false, "on_oversize": "block", "on_error": "block", "allowed_methods": ["GET", "PROPFIND"]},
	"tls": {"min_version": "1.3", "certificate": {"cert": "/etc/ssl/a b.pem", "key": "/etc/ssl/#1: key.pem"},
		"policy": "modern", "key_type": "rsa", "client_auth": {"mode": "optional", "ca": "/etc/ssl/clients: all.pem", "header": false},
		"redirect_http": "false", "hsts": {"max_age": "365d", "subdomains": true, "preload": true}}}`

func testFidelity(t *testing.T, f Fixture) {
	for _, name := range []string{"www.shop.test", "*.wild.test", "*", "[2001:db8::1]"} {
		want := parse(t, Vhost(name), everyField)
		if name != "www.shop.test" {
			want.Vhost.Aliases = nil // one host cannot be everybody's
		}
		put(t, f.Store, want)
		_, docs := load(t, f.Store)
		same(t, want.Key, docs[want.Key].Vhost, want.Vhost)
	}
	tenant := parse(t, Tenant("shop"), `{"suspended": true, "waf": {"mode": "detect", "responses": true, "allowed_methods": ["GET"], "allowed_types": ["text/plain"],
		"rules": "# two lines\nSecRule ARGS:a \"@streq b\" \"id:1,phase:2,deny\"\n",
		"exclusions": [{"id": "ex-1", "rules": [942100, "941100-941199"], "target": "ARGS:/^json\\.[0-9]+\\.a$/", "paths": ["/a b", "/c*"], "methods": ["POST"],
			"note": "why: \"that\"", "until": "2099-01-31"}, {"tags": ["attack-sqli"], "target": "REQUEST_COOKIES:a"}]}}`)
	put(t, f.Store, tenant)
	empty := parse(t, Tenant("Empty_1.x"), `{}`)
	put(t, f.Store, empty)
	_, docs := load(t, f.Store)
	same(t, tenant.Key, docs[tenant.Key].Tenant, tenant.Tenant)
	same(t, empty.Key, docs[empty.Key].Tenant, empty.Tenant)
}

func testPutReplaces(t *testing.T, f Fixture) {
	put(t, f.Store, parse(t, Vhost("www.shop.test"), everyField))
	small := parse(t, Vhost("www.shop.test"), `{"backends": ["http://127.0.0.1:9000"], "waf": {"paranoia": 3}}`)
	put(t, f.Store, small)
	b, docs := load(t, f.Store)
	same(t, small.Key, docs[small.Key].Vhost, small.Vhost)
	put(t, f.Store, small)
	if _, docs = load(t, f.Store); len(docs) != 1 || len(b.Problems) != 0 {
		t.Errorf("%d documents, problems %v, want one and none", len(docs), b.Problems)
	}
}

func testDeleteMissing(t *testing.T, f Fixture) {
	for _, key := range []routes.Key{Vhost("nobody.test"), Tenant("nobody")} {
		if err := f.Store.Delete(context.Background(), key); !errors.Is(err, routes.ErrNotFound) {
			t.Errorf("delete %s: %v, want ErrNotFound", key, err)
		}
	}
}

func testWhere(t *testing.T, f Fixture) {
	f.Write(t, Vhost("www.shop.test"), site("http://127.0.0.1:9000"))
	if where := f.Store.Where(t.Context(), Vhost("www.shop.test")); !strings.Contains(where, "www.shop.test") {
		t.Errorf("the vhost is at %q", where)
	}
	places := f.Store.Places()
	if place, where := places(Vhost("www.shop.test")), f.Store.Where(t.Context(), Vhost("www.shop.test")); place != "" && place != where {
		t.Errorf("place %q, but where %q", place, where)
	}
	if where := f.Store.Where(t.Context(), Vhost("nobody.test")); where != "" {
		t.Errorf("a vhost that is not there is at %q", where)
	}
}

func testConcurrent(t *testing.T, f Fixture) {
	const writers, each = 4, 5
	w := Follow(t, f.Store, "")
	var wait sync.WaitGroup
	errs := make(chan error, writers*each)
	for i := range writers {
		wait.Go(func() {
			for j := range each {
				key := Vhost(fmt.Sprintf("h%d-%d.test", i, j))
				doc := routes.ParseJSON(key, "", []byte(site("http://127.0.0.1:9000")))
				errs <- f.Store.Put(context.Background(), doc)
			}
		})
	}
	for j := range each {
		f.Write(t, Vhost(fmt.Sprintf("other%d.test", j)), site("http://127.0.0.1:9001"))
	}
	wait.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
	w.Until("all are there", func(t *routes.Table) bool { return t.Len() == (writers+1)*each })
	if _, docs := load(t, f.Store); len(docs) != (writers+1)*each {
		t.Errorf("%d documents are stored", len(docs))
	}
}

func testWatchEnds(t *testing.T, f Fixture) {
	ctx, cancel := context.WithCancel(context.Background())
	var batches []routes.Batch
	first := make(chan struct{}, 1)
	done := make(chan error, 1)
	go func() {
		done <- f.Store.Watch(ctx, func(b routes.Batch) {
			if batches = append(batches, b); len(batches) == 1 {
				first <- struct{}{}
			}
		})
	}()
	<-first
	cancel()
	select {
	case err := <-done:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("watch ended with %v", err)
		}
	case <-time.After(patience):
		t.Fatal("watch does not end")
	}
	if !batches[0].Full || slices.ContainsFunc(batches[1:], func(b routes.Batch) bool { return b.Full }) {
		t.Errorf("want a full batch first and no other: %+v", batches)
	}
}

// testEdit changes one document from many sides at once: every change is kept.
func testEdit(t *testing.T, f Fixture) {
	ctx := t.Context()
	key := Tenant("shop")
	if err := f.Store.Edit(ctx, key, func(present routes.Change) (routes.Document, error) {
		if present.Tenant != nil || len(present.Problems) > 0 {
			t.Errorf("before there is one: %+v", present)
		}
		return parse(t, key, `{"waf": {"mode": "block"}}`), nil
	}); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	const editors = 8
	for i := range editors {
		all.Go(func() {
			id := fmt.Sprintf("ex-%d", i)
			if err := f.Store.Edit(ctx, key, func(present routes.Change) (routes.Document, error) {
				if present.Tenant == nil {
					return routes.Document{}, errors.New("it is gone")
				}
				w := *present.Tenant.WAF
				w.Exclusions = append(slices.Clone(w.Exclusions), routes.Exclusion{ID: id, Tags: []string{"attack-sqli"}})
				return routes.Document{Key: key, Tenant: &routes.Tenant{Name: key.Name, WAF: &w}}, nil
			}); err != nil {
				t.Errorf("edit %d: %v", i, err)
			}
		})
	}
	all.Wait()
	_, docs := load(t, f.Store)
	got := docs[key].Tenant
	if got == nil || got.WAF.Mode != "block" || len(got.WAF.Exclusions) != editors {
		t.Errorf("after %d edits: %+v", editors, got)
	}
	refusal := errors.New("not so")
	if err := f.Store.Edit(ctx, key, func(routes.Change) (routes.Document, error) { return parse(t, key, `{}`), refusal }); !errors.Is(err, refusal) {
		t.Errorf("a refused edit: %v", err)
	}
	if _, docs := load(t, f.Store); docs[key].Tenant == nil || docs[key].Tenant.WAF == nil {
		t.Error("a refused edit has changed the document")
	}
}
