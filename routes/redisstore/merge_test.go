package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
	"gatehouse/routes"
	"gatehouse/routes/routestest"
)

func TestVhostIsMergedOverTheListFieldByField(t *testing.T) {
	const host = "www.shop.test"
	for _, test := range []struct {
		name     string
		list     []string
		text     string
		tenant   string
		backends string
		cache    bool
		problem  string // wanted in the problems; then no vhost
	}{
		{name: "a list alone is a site of the tenant that its id names", list: []string{"shop", "http://a", "http://b"}, tenant: "shop", backends: "http://a http://b"},
		{name: "an id that no tenant can have is a tenant of its own", list: []string{"my site, 2013", "http://a"}, tenant: routes.TenantOfID("my site, 2013", host), backends: "http://a"},
		{name: "the cache alone keeps backends and tenant", list: []string{"shop", "http://a"}, text: `{"cache":{"enabled":true}}`, tenant: "shop", backends: "http://a", cache: true},
		{name: "backends replace the list's", list: []string{"shop", "http://a"}, text: `{"backends":["http://c"]}`, tenant: "shop", backends: "http://c"},
		{name: "backends replace even bad ones", list: []string{"shop", "nonsense"}, text: `{"backends":["http://c"]}`, tenant: "shop", backends: "http://c"},
		{name: "a tenant replaces the id", list: []string{"shop", "http://a"}, text: `{"tenant":"other"}`, tenant: "other", backends: "http://a"},
		{name: "an empty tenant is none", list: []string{"shop", "http://a"}, text: `{"tenant":""}`, backends: "http://a"},
		{name: "no list", text: `{"backends":["http://c"]}`, backends: "http://c"},
		{name: "a redirect needs no backend", text: `{"redirect":{"to":"https://b.test"}}`},
		{name: "a redirect stands in the place of the list's backends", list: []string{"shop", "http://a"}, text: `{"redirect":{"to":"https://b.test"}}`, tenant: "shop"},
		{name: "so does an answer, even of bad ones", list: []string{"shop", "nonsense"}, text: `{"respond":{"status":404}}`, tenant: "shop"},
		{name: "a redirect beside backends of the same document", list: []string{"shop", "http://a"}, text: `{"backends":["http://a"],"redirect":{"to":"https://b.test"}}`, problem: "vhost:www.shop.test:1:37: redirect: stands in the place of backends"},
		{name: "a file of the node", text: `{"respond":{"file":"/etc/hostname"}}`, problem: "respond.file: a document in Redis names no file of a node"},
		{name: "another tenant's client key", text: `{"backends":["http://a",{"url":"https://b","tls":{"client_cert":"/etc/c.pem","client_key":"/etc/c.key"}}]}`, problem: "backends[1].tls.client_cert: a document in Redis names no file of a node"},
		{name: "a client key of a folder above", text: `{"backends":[{"url":"https://b","tls":{"client_cert":"../c.pem","client_key":"../c.key"}}]}`, problem: "backends[0].tls.client_key: "},
		{name: "authorities of the node", text: `{"backends":[{"url":"https://b","tls":{"ca":"/etc/ca.pem"}}]}`, problem: "backends[0].tls.ca: a document in Redis names no file of a node"},
		{name: "an id without a backend", list: []string{"shop"}, problem: "frontend:www.shop.test: backends: a vhost needs at least one backend"},
		{name: "neither has a backend", text: `{"tenant":"shop"}`, problem: "vhost:www.shop.test: backends: a vhost needs at least one backend"},
		{name: "the list's bad URL is the list's problem", list: []string{"shop", "http://a", "10.0.0.1:80"}, text: `{"tenant":"x"}`, problem: `frontend:www.shop.test: backends[1]: bad backend "10.0.0.1:80"`},
		{name: "a bad field is a problem of the whole site", list: []string{"shop", "http://a"}, text: `{"waff":{}}`, problem: `vhost:www.shop.test:1:2: unknown key "waff" (did you mean "waf"?)`},
		{name: "a field given twice", list: []string{"shop", "http://a"}, text: `{"tenant":"a","tenant":"b"}`, problem: "given twice"},
		{name: "YAML is not JSON", list: []string{"shop", "http://a"}, text: "tenant: b", problem: "not JSON"},
		{name: "more backends than are allowed", list: append([]string{"shop"}, strings.Split(strings.Repeat("http://a ", maxBackends+1), " ")...), problem: "more than 1000 backends"},
	} {
		t.Run(test.name, func(t *testing.T) {
			doc := routestest.Vhost(host)
			var values []value
			if test.list != nil {
				values = append(values, value{key: rawKey{frontendKey + host, partList, doc}, list: test.list})
			}
			if test.text != "" {
				values = append(values, value{key: rawKey{vhostKey + host, partJSON, doc}, text: test.text})
			}
			c := compose(doc, values)
			if test.problem != "" {
				if c.Vhost != nil || !strings.Contains(c.Problems.Error(), test.problem) {
					t.Fatalf("got %+v, %q, want %q", c.Vhost, c.Problems.Error(), test.problem)
				}
				return
			}
			if err := c.Problems.Err(); err != nil {
				t.Fatal(err)
			}
			var urls []string
			for _, b := range c.Vhost.Backends {
				urls = append(urls, b.URL)
			}
			if c.Vhost.Tenant != test.tenant || strings.Join(urls, " ") != test.backends || c.Vhost.Cache.On() != test.cache || c.Vhost.Name != host {
				t.Errorf("got %+v, backends %v", c.Vhost, urls)
			}
		})
	}
}

// A path of a host is its owner's, whatever form hipache's ids have.
func TestPathsOfAnotherFreeIDAreAConflict(t *testing.T) {
	t.Parallel()
	for _, ids := range [][2]string{{"owner a", "owner b"}, {"a/b", "user@example.com"}, {"Mein-Büro", ""}, {strings.Repeat("x", 3000), strings.Repeat("x", 3001)}} {
		var changes []routes.Change
		for i, host := range []string{"p.test", "p.test/x", "p.test/y"} {
			doc := routestest.Vhost(host)
			changes = append(changes, compose(doc, []value{{key: rawKey{frontendKey + host, partList, doc}, list: []string{ids[i%2], "http://a"}}}))
		}
		table, _ := new(routes.Table).With(changes)
		if p := table.PathProblem(table.Vhost("p.test/x").Vhost); p == nil {
			t.Errorf("%.20q serves a path on the host of %.20q", ids[1], ids[0])
		}
		if p := table.PathProblem(table.Vhost("p.test/y").Vhost); p != nil {
			t.Errorf("%.20q does not serve a path on its host: %v", ids[0], p)
		}
		if p := table.Vhost("p.test").FreeIDProblem(); p == nil || !strings.Contains(p.Reason, "1 to 64 letters") {
			t.Errorf("the warning of %.20q is %v", ids[0], p)
		}
	}
}

// What would not be read is not written.
func TestNoVerbWritesFilesOfANodeIntoRedis(t *testing.T) {
	t.Parallel()
	doc := routestest.Vhost("www.shop.test")
	for field, v := range map[string]*routes.Vhost{
		"respond.file":                {VhostExtras: &routes.VhostExtras{Respond: &routes.Respond{File: "/etc/hostname"}}},
		"backends[0].tls.client_cert": {Backends: []routes.Backend{{URL: "https://b", TLS: &routes.BackendTLS{ClientCert: "/c.pem", ClientKey: "/c.key"}}}},
	} {
		_, err := (&Store{}).edited(doc, "vhost:www.shop.test", nil, func(routes.Change) (routes.Document, error) {
			return routes.Document{Key: doc, Vhost: v}, nil
		})
		if err == nil || !strings.Contains(err.Error(), field+": a document in Redis names no file of a node") {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func TestOneRpushIsLiveWithinASecond(t *testing.T) {
	server := edgetest.Redis(t)
	w := routestest.Follow(t, open(t, server, ""), "")
	best := time.Hour
	for i := range 5 {
		host := string(rune('a'+i)) + ".test"
		begin := time.Now()
		server.CLI("RPUSH", "frontend:"+host, "shop", "http://127.0.0.1:9000")
		w.UntilBackend(host, "http://127.0.0.1:9000")
		if best = min(best, time.Since(begin)); best < time.Second {
			break
		}
	}
	t.Logf("live after %v", best.Round(time.Millisecond))
	if best > time.Second {
		t.Errorf("live after %v at best", best)
	}
}

func TestKeysOfOldHipacheDataAreCanonicalised(t *testing.T) {
	server := edgetest.Redis(t)
	server.CLI("RPUSH", "frontend:WWW.Shop.test:80", "shop", "http://127.0.0.1:9000")
	server.CLI("RPUSH", "frontend:*.WILD.test", "shop", "http://127.0.0.1:9000")
	server.CLI("RPUSH", "frontend:not a host", "shop", "http://127.0.0.1:9000")
	s := open(t, server, "")
	w := routestest.Follow(t, s, "")
	w.UntilBackend("www.shop.test", "http://127.0.0.1:9000")
	w.UntilBackend("*.wild.test", "http://127.0.0.1:9000")
	if got := w.Status().Problems.Error(); !strings.Contains(got, "frontend:not a host") {
		t.Errorf("the key that names no host is not reported: %q", got)
	}
	if where := s.Where(t.Context(), routestest.Vhost("www.shop.test")); where != "frontend:WWW.Shop.test:80" {
		t.Errorf("it is at %q", where)
	}
	server.CLI("DEL", "frontend:not a host")
	w.Until("the report is gone", func(*routes.Table) bool { return len(w.Status().Problems) == 0 })

	// A list under the canonical key wins; the other is named.
	server.CLI("RPUSH", "frontend:www.shop.test", "shop", "http://127.0.0.1:9001")
	w.UntilBackend("www.shop.test", "http://127.0.0.1:9001")
	w.UntilProblem("www.shop.test", "frontend:WWW.Shop.test:80: it names the same host")
	server.CLI("DEL", "frontend:www.shop.test")
	w.UntilBackend("www.shop.test", "http://127.0.0.1:9000")
	// Another odd key, met for the first time by its invalidation.
	server.CLI("RPUSH", "frontend:Second.test.", "shop", "http://127.0.0.1:9002")
	w.UntilBackend("second.test", "http://127.0.0.1:9002")
	if err := s.Delete(context.Background(), routestest.Vhost("www.shop.test")); err != nil {
		t.Fatal(err)
	}
	w.UntilBackend("www.shop.test", "")
	server.CLI("DEL", "frontend:Second.test.")
	w.UntilBackend("second.test", "")
}

// Whoever may write names that are free, compared letter by letter, has no part in a site that is there by its canonical name.
func TestAttackOddSpellingTakesNoSiteOver(t *testing.T) {
	t.Parallel()
	server := edgetest.Redis(t)
	server.CLI("SET", "vhost:v.test", `{"backends":["http://127.0.0.1:9000"]}`)
	server.CLI("RPUSH", "frontend:l.test", "shop", "http://127.0.0.1:9000")
	server.CLI("SET", "vhost:*.w.test", `{"tenant":"shop","backends":["http://127.0.0.1:9000"]}`)
	s := open(t, server, "")
	w := routestest.Follow(t, s, "")
	for _, odd := range []struct {
		host, key string
		write     []string
	}{
		{"v.test", "frontend:v.test:8080", []string{"RPUSH", "evil", "http://127.0.0.1:6666"}},
		{"v.test", "frontend:V.test", []string{"SET", "x"}},
		{"v.test", "vhost:v.test.", []string{"SET", "not JSON"}},
		{"l.test", "vhost:L.test", []string{"SET", `{"tenant":"evil","backends":["http://127.0.0.1:6666"]}`}},
		{"l.test", "vhost:l.test:80", []string{"SADD", "x"}},
		{"*.w.test", "frontend:*.W.test", []string{"RPUSH", "evil", "http://127.0.0.1:6666"}},
	} {
		server.CLI(append([]string{odd.write[0], odd.key}, odd.write[1:]...)...)
		r := w.UntilProblem(odd.host, odd.key+": it names the same host as ")
		if r.Vhost == nil || r.Vhost.Tenant == "evil" || r.Vhost.Backends[0].URL != "http://127.0.0.1:9000" {
			t.Errorf("%s: the site is %+v", odd.key, r.Vhost)
		}
	}
	// And so it is for whoever reads it all anew.
	batch, err := s.Load(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range batch.Changes {
		if c.Vhost == nil || c.Vhost.Tenant == "evil" || c.Vhost.Backends[0].URL != "http://127.0.0.1:9000" {
			t.Errorf("%s: %+v, %v", c.Key, c.Vhost, c.Problems)
		}
	}
	if where := s.Where(t.Context(), routestest.Vhost("l.test")); where != "frontend:l.test" {
		t.Errorf("l.test is at %s", where)
	}
	for _, key := range []string{"frontend:*.w.test:frontend:*.w.test", "vhost:*.w.test:vhost:*.w.test"} {
		if _, ok, err := parseKey("", key); !ok || err == nil {
			t.Errorf("%s means a host", key)
		}
	}
}

// What a verb writes under the canonical name stands alone: the list under another spelling is ignored from then on.
func TestPutBesideAListOfAnotherSpellingWritesTheWhole(t *testing.T) {
	t.Parallel()
	server := edgetest.Redis(t)
	server.CLI("RPUSH", "frontend:WWW.Shop.test:80", "shop", "http://127.0.0.1:9000")
	s := open(t, server, "")
	w := routestest.Follow(t, s, "")
	w.UntilBackend("www.shop.test", "http://127.0.0.1:9000")
	key := routestest.Vhost("www.shop.test")
	err := s.Edit(context.Background(), key, func(present routes.Change) (routes.Document, error) {
		v := *present.Vhost
		v.Cache = &routes.Cache{Enabled: new(bool)}
		return routes.Document{Key: key, Vhost: &v}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	r := w.UntilProblem("www.shop.test", "frontend:WWW.Shop.test:80: it names the same host as vhost:www.shop.test")
	if r.Vhost == nil || r.Vhost.Tenant != "shop" || r.Vhost.Cache == nil || r.Vhost.Backends[0].URL != "http://127.0.0.1:9000" {
		t.Errorf("%+v", r.Vhost)
	}
}

// Each further spelling would be read with each change of the site.
func TestSpellingsOfOneHostAreBounded(t *testing.T) {
	var odd oddKeys
	doc := routestest.Vhost("www.shop.test")
	for i := range 10_000 {
		odd.add(rawKey{fmt.Sprintf("frontend:www.shop.test:%04d", 9999-i), partList, doc})
	}
	keys := odd.keysOf("", doc)
	if len(keys) != maxOdd+2 || keys[2].raw != "frontend:www.shop.test:0000" {
		t.Errorf("%d keys: %v", len(keys), keys)
	}
}

func TestKeyOfAnotherTypeIsAProblemOfItsSiteOnly(t *testing.T) {
	server := edgetest.Redis(t)
	server.CLI("RPUSH", "frontend:a.test", "shop", "http://127.0.0.1:9000")
	server.CLI("SET", "frontend:b.test", "http://127.0.0.1:9000")
	server.CLI("HSET", "vhost:c.test", "backends", "x")
	server.CLI("SADD", "tenant:shop", "x")
	w := routestest.Follow(t, open(t, server, ""), "")
	w.UntilProblem("b.test", "frontend:b.test: it holds another type: want a list")
	w.UntilProblem("c.test", "vhost:c.test: it holds another type: want a string")
	if _, problems, _ := w.Table().Tenant("shop"); !strings.Contains(problems.Error(), "another type") {
		t.Errorf("tenant: %v", problems)
	}
	if w.Table().Match("a.test") == nil {
		t.Error("a.test suffers")
	}
	server.CLI("DEL", "frontend:b.test")
	server.CLI("RPUSH", "frontend:b.test", "shop", "http://127.0.0.1:9000")
	w.UntilBackend("b.test", "http://127.0.0.1:9000")
}

func TestPutOverAListWritesOnlyWhatDiffers(t *testing.T) {
	server := edgetest.Redis(t)
	s := open(t, server, "")
	const host = "www.shop.test"
	key := routestest.Vhost(host)
	server.CLI("RPUSH", "frontend:"+host, "shop", "http://127.0.0.1:9000")
	for _, test := range []struct{ put, stored string }{
		{`{"tenant":"shop","backends":["http://127.0.0.1:9000"],"cache":{"enabled":true,"ttl":"1m"}}`, `{"cache":{"enabled":true,"ttl":"1m"}}`},
		{`{"tenant":"other","backends":["http://127.0.0.1:9000"]}`, `{"tenant":"other"}`},
		{`{"backends":["http://127.0.0.1:9000"]}`, `{"tenant":""}`},
		{`{"backends":["http://127.0.0.1:9000"],"balance":"random"}`, `{"tenant":"","balance":"random"}`},
		{`{"backends":["http://127.0.0.1:9000"],"headers":{"response":{"set":{"X-A":"x,}y"}}}}`, `{"tenant":"","headers":{"response":{"set":{"X-A":"x,}y"}}}}`},
		{`{"tenant":"shop","redirect":{"to":"https://x.test"}}`, `{"redirect":{"to":"https://x.test"}}`},
		{`{"respond":{"status":404}}`, `{"tenant":"","respond":{"status":404}}`},
		{`{"tenant":"shop","backends":["http://127.0.0.1:9001"]}`, `{"backends":["http://127.0.0.1:9001"]}`},
		{`{"tenant":"shop","backends":["http://127.0.0.1:9000"]}`, ``},
	} {
		want := routes.ParseJSON(key, "", []byte(test.put))
		if err := s.Put(context.Background(), want); err != nil {
			t.Fatal(err)
		}
		if got := server.CLI("GET", "vhost:"+host); got != test.stored {
			t.Errorf("put %s: vhost: holds %s, want %s", test.put, got, test.stored)
		}
		batch, err := s.Load(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if got := batch.Changes[0].Vhost; got == nil || got.Tenant != want.Vhost.Tenant || !sameJSON(got, want.Vhost) {
			t.Errorf("put %s: comes back as %+v", test.put, got)
		}
	}
	if got := server.CLI("LRANGE", "frontend:"+host, "0", "-1"); got != "shop\nhttp://127.0.0.1:9000" {
		t.Errorf("the list was changed: %s", got)
	}
	server.CLI("SET", "vhost:"+host, `{"balance":"random"}`)
	if err := s.Delete(context.Background(), key); err != nil {
		t.Fatal(err)
	}
	if n := server.CLI("DBSIZE"); n != "0" {
		t.Errorf("%s keys are left", n)
	}
}

// Whoever changes one value of a bad document has all that its keys hold, and nothing that was made of it.
func TestDraftOfABadDocumentIsWhatItsKeysHold(t *testing.T) {
	t.Parallel()
	const host = "www.shop.test"
	doc := routestest.Vhost(host)
	for _, test := range []struct {
		name       string
		list       []string
		text, want string
	}{
		{"a word that is none", []string{"shop", "http://a"}, `{"waf":{"mode":"blok"},"x":[1]}`, `{"backends":["http://a"],"tenant":"shop","waf":{"mode":"blok"},"x":[1]}`},
		{"no tenant", []string{"shop", "http://a"}, `{"tenant":"","balance":"x"}`, `{"backends":["http://a"],"balance":"x","tenant":""}`},
		{"two answers", []string{"shop", "http://a"}, `{"redirect":{},"respond":{}}`, `{"redirect":{},"respond":{},"tenant":"shop"}`},
		{"a bad list", []string{"shop", "nonsense"}, ``, `{"backends":["nonsense"],"tenant":"shop"}`},
		{"without a list", nil, `{"backends":["nonsense"]}`, `{"backends":["nonsense"]}`},
		{"no JSON", []string{"shop", "http://a"}, `{`, ``},
		{"no object", []string{"shop", "http://a"}, `[1]`, ``},
		{"a list without an id", []string{"http://a"}, `{}`, ``},
		{"nothing", nil, ``, ``},
	} {
		var values []value
		if test.list != nil {
			values = append(values, value{key: rawKey{frontendKey + host, partList, doc}, list: test.list})
		}
		if test.text != "" {
			values = append(values, value{key: rawKey{vhostKey + host, partJSON, doc}, text: test.text})
		}
		if c := compose(doc, values); c.Vhost != nil {
			t.Errorf("%s: it is good: %+v", test.name, c.Vhost)
		}
		if got := draft(doc, values); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

// What a key says can be good by itself and bad beside what the others hold.
func TestPutIsJudgedAsItWillBeRead(t *testing.T) {
	t.Parallel()
	server := edgetest.Redis(t)
	s := open(t, server, "")
	const host = "www.shop.test"
	err := s.Put(t.Context(), routes.ParseJSON(routestest.Vhost(host), "", []byte(`{"tenant":"shop"}`)))
	if err == nil || !strings.Contains(err.Error(), "it would not be a good document, nothing is changed") {
		t.Error(err)
	}
	if n := server.CLI("EXISTS", "vhost:"+host); n != "0" {
		t.Error("it was written")
	}
	server.CLI("RPUSH", "frontend:bad.test", "shop", "nonsense")
	if err := s.Put(t.Context(), routes.ParseJSON(routestest.Vhost("bad.test"), "", []byte(`{"tenant":"shop","backends":["http://127.0.0.1:9000"]}`))); err != nil {
		t.Error("over a list with bad URLs:", err)
	}
	if got := server.CLI("GET", "vhost:bad.test"); got != `{"backends":["http://127.0.0.1:9000"]}` {
		t.Error("over a list with bad URLs:", got)
	}
}

func TestReplacingAListInTwoCommandsTakesNoSiteAway(t *testing.T) {
	server := edgetest.Redis(t)
	server.CLI("RPUSH", "frontend:a.test", "shop", "http://127.0.0.1:9000")
	client := open(t, server, "")
	var gone atomic.Int32
	ctx, cancel := context.WithCancel(context.Background())
	live := make(chan string, 100)
	done := make(chan error, 1)
	go func() {
		done <- client.Watch(ctx, func(b routes.Batch) {
			for _, c := range b.Changes {
				if c.Gone() {
					gone.Add(1)
				} else {
					live <- c.Vhost.Backends[0].URL
				}
			}
		})
	}()
	<-live
	const times = 20
	for i := range times { // as hipache's tools do
		url := fmt.Sprintf("http://127.0.0.1:%d", 9001+i)
		server.CLIInput("DEL frontend:a.test\nRPUSH frontend:a.test shop " + url + "\n")
		for <-live != url {
			continue
		}
	}
	cancel()
	<-done
	// On a busy machine the two commands may be far apart now and then.
	if n := gone.Load(); n > times/4 {
		t.Errorf("the site was gone %d times while its list was replaced %d times", n, times)
	}
}

func TestPutWithoutDocumentAndDeleteOfNothing(t *testing.T) {
	s := open(t, edgetest.Redis(t), "")
	if err := s.Put(context.Background(), routes.Document{Key: routestest.Vhost("a.test")}); err == nil {
		t.Error("nothing was written, without an error")
	}
	if err := s.Delete(context.Background(), routestest.Tenant("shop")); !errors.Is(err, routes.ErrNotFound) {
		t.Errorf("got %v", err)
	}
}

func FuzzCompose(f *testing.F) {
	f.Add("shop", "http://a", `{"cache":{"enabled":true}}`)
	f.Add("", "", `{"tenant":""}`)
	f.Add("x", "http://[::1", `{"aliases":["*"],"tls":{"certificate":{"cert":"/a","key":"/b"}}}`)
	f.Add("x", "unix:/a", `[[[[`)
	f.Fuzz(func(t *testing.T, id, url, text string) {
		doc := routestest.Vhost("www.shop.test")
		c := compose(doc, []value{
			{key: rawKey{"frontend:www.shop.test", partList, doc}, list: []string{id, url}},
			{key: rawKey{"vhost:www.shop.test", partJSON, doc}, text: text},
		})
		if (c.Vhost == nil) == (len(c.Problems) == 0) {
			t.Errorf("neither good nor bad, or both: %+v", c)
		}
		if c.Vhost != nil && len(c.Vhost.Check("x")) != 0 {
			t.Errorf("a vhost was taken that does not pass its own check: %v", c.Vhost.Check("x"))
		}
	})
}

func FuzzParseKey(f *testing.F) {
	for _, seed := range []string{"frontend:WWW.x.test:80", "frontend:*", "frontend:*x", "frontend:*.", "frontend:[::1]:80", "tenant:", "vhost", "frontend::", "frontend:*:80"} {
		f.Add("", seed)
		f.Add("p", "p"+seed)
	}
	f.Fuzz(func(t *testing.T, prefix, raw string) {
		key, ok, err := parseKey(prefix, raw)
		if !ok || err != nil {
			return
		}
		back := canonical(prefix, key.doc, key.part)
		again, ok, err := parseKey(prefix, back)
		if !ok || err != nil || again.doc != key.doc || again.part != key.part {
			t.Errorf("%q means %v, but its canonical key %q means %v (%v)", raw, key.doc, back, again.doc, err)
		}
	})
}

func TestKeysOfPathVhosts(t *testing.T) {
	for raw, want := range map[string]string{
		"vhost:www.shop.test/blog": "www.shop.test/blog", "frontend:WWW.Shop.test:80/blog/": "www.shop.test/blog", "vhost:*.shop.test/a/b": "*.shop.test/a/b",
		"frontend:www.shop.test/": "www.shop.test", "vhost:www.shop.test/a/../b": "", "vhost:/blog": "", "frontend:www.shop.test/a%2fb": "",
	} {
		key, ok, err := parseKey("", raw)
		if !ok || (err == nil) != (want != "") || key.doc.Name != want {
			t.Errorf("%s: %q, %v, %v; want %q", raw, key.doc.Name, ok, err, want)
		}
	}
}

// One rpush makes a path of a host live, and vhost: is merged over it as over any other.
func TestPathVhostFromRedis(t *testing.T) {
	server := edgetest.Redis(t)
	server.CLI("RPUSH", "frontend:www.shop.test", "shop", "http://127.0.0.1:9000")
	server.CLI("RPUSH", "frontend:www.shop.test/blog", "shop", "http://127.0.0.1:9001")
	server.CLI("SET", "vhost:www.shop.test/blog", `{"strip":true}`)
	batch, err := open(t, server, "").Load(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	table, _ := (&routes.Table{}).With(batch.Changes)
	r, err := table.Below(table.Match("www.shop.test"), "/blog/x")
	if err != nil || r.Name != "www.shop.test/blog" || !r.Vhost.Strip() || r.Vhost.Backends[0].URL != "http://127.0.0.1:9001" {
		t.Errorf("%+v, %v", r, err)
	}
}
