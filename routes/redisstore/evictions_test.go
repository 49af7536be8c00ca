package redisstore

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"gatehouse/internal/edgetest"
	"gatehouse/routes"
	"gatehouse/routes/routestest"
)

// evicting has a server delete keys to make room, whichever were not used for the longest time, until none of the first ones is left.
func evicting(t *testing.T, server *edgetest.RedisServer, first string) {
	t.Helper()
	server.CLI("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
	used := infoField(t, server, "memory", "used_memory")
	server.CLI("CONFIG", "SET", "maxmemory", strconv.Itoa(used+200_000))
	for n := 0; strings.TrimSpace(server.CLI("KEYS", first)) != ""; n++ {
		if n == 100 {
			t.Fatalf("the server keeps %s", server.CLI("KEYS", first))
		}
		var commands strings.Builder
		for i := range 2000 {
			fmt.Fprintf(&commands, "SET other%d-%d %0500d\n", n, i, i)
		}
		server.CLIInput(commands.String())
	}
}

func infoField(t *testing.T, server *edgetest.RedisServer, section, name string) int {
	t.Helper()
	for line := range strings.Lines(server.CLI("INFO", section)) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+":"); ok {
			n, err := strconv.Atoi(value)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("INFO %s without %s", section, name)
	return 0
}

func TestServerThatEvictsLosesNoSite(t *testing.T) {
	t.Parallel()
	for name, url := range map[string]func(*edgetest.RedisServer) string{"told": (*edgetest.RedisServer).URL, "polled": noTracking} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const sites = 20
			server, lastGood := edgetest.Redis(t), filepath.Join(t.TempDir(), "routes")
			fill(server, sites)
			server.CLI("SET", "tenant:shop", `{"waf":{"mode":"block"}}`)
			s := openURL(t, url(server), Options{})
			w, lost := losses(t, s, sites)
			if warning := s.Warning(); warning != "" {
				t.Errorf("a server without a limit: %q", warning)
			}
			evicting(t, server, "frontend:h*")
			w.Until("all are held", func(*routes.Table) bool { return w.Status().Held >= sites })
			if n := lost(); n > 0 || w.Table().Len() != sites {
				t.Errorf("sites were lost %d times, %d are left", n, w.Table().Len())
			}
			if r := w.Table().Match("h3.test"); r.Tenant == nil {
				t.Error("a site goes on without its tenant's rules")
			}
			w.Until("the warning", func(*routes.Table) bool { return strings.Contains(s.Warning(), "maxmemory-policy allkeys-lru") })

			// What is evicted while nobody looks is no other thing.
			w.Stop()
			w = routestest.Follow(t, openURL(t, url(server), Options{}), lastGood)
			server.CLI("CONFIG", "SET", "maxmemory-policy", "noeviction")
			server.CLI("CONFIG", "SET", "maxmemory", "0")
			fill(server, sites)
			untilLen(w, sites)
			w.Stop()
			evicting(t, server, "frontend:h*")
			w = routestest.Follow(t, openURL(t, url(server), Options{}), lastGood)
			if w.Table().Len() != sites {
				t.Errorf("%d sites are left of those that were evicted while the node was down", w.Table().Len())
			}
			edgetest.WaitFor(t, "the loss to be accepted", func() bool {
				server.CLI("SET", "gatehouse:accept-loss", "1") // again: it may be evicted, too
				return w.Table().Len() == 0
			})
		})
	}
}

// Who deletes a site from a server that could evict, but does not, means it; and who has a route end by itself.
func TestDeletionsActOnAServerThatDoesNotEvict(t *testing.T) {
	t.Parallel()
	server := edgetest.Redis(t, "--maxmemory-policy", "allkeys-lru", "--maxmemory", "100mb")
	fill(server, 6)
	w := routestest.Follow(t, open(t, server, ""), "")
	untilLen(w, 6)
	server.CLI("DEL", "frontend:h0.test", "frontend:h1.test", "frontend:h2.test", "frontend:h3.test", "frontend:h4.test")
	untilLen(w, 1)
	server.CLI("PEXPIRE", "frontend:h5.test", "1")
	untilLen(w, 0)
}

// A user who may not ask is told that nobody watches, and his deletions act.
func TestServerThatDoesNotSayWhetherItEvictsIsWarnedOf(t *testing.T) {
	t.Parallel()
	server := edgetest.Redis(t)
	server.CLI("ACL", "SETUSER", "old", "on", ">secret", "~*", "+@all", "-info")
	fill(server, 2)
	s := openURL(t, "redis://old:secret@"+server.Addr(), Options{})
	w := routestest.Follow(t, s, "")
	untilLen(w, 2)
	if warning := s.Warning(); !strings.Contains(warning, "allow INFO") {
		t.Errorf("the warning is %q", warning)
	}
	server.CLI("DEL", "frontend:h0.test")
	untilLen(w, 1)
}

// What a verb removes is meant, whatever the server does.
func TestVerbRemovesFromAServerThatEvicts(t *testing.T) {
	t.Parallel()
	server := edgetest.Redis(t)
	fill(server, 6)
	s := open(t, server, "")
	w := routestest.Follow(t, s, "")
	untilLen(w, 6)
	evicting(t, server, "frontend:h*")
	untilHeld(w, 6)
	server.CLI("CONFIG", "SET", "maxmemory", "0") // else it may evict what is new; its evictions are not long ago
	put(t, s, "new.test", "http://127.0.0.1:9001")
	untilLen(w, 7)
	if err := s.Delete(t.Context(), routestest.Vhost("new.test")); err != nil {
		t.Fatal(err)
	}
	untilLen(w, 6)
}

func put(t *testing.T, s *Store, host, url string) {
	t.Helper()
	if err := s.Put(t.Context(), routes.ParseJSON(routestest.Vhost(host), "", []byte(`{"backends":["`+url+`"]}`))); err != nil {
		t.Fatal(err)
	}
}

// The list alone would be a site without its tenant and its WAF.
func TestEvictedHalfOfADocumentLeavesTheWhole(t *testing.T) {
	t.Parallel()
	server := edgetest.Redis(t)
	server.CLI("SET", "vhost:a.test", `{"tenant":"shop","waf":{"mode":"block"}}`)
	server.CLI("RPUSH", "frontend:a.test", "other", "http://127.0.0.1:9000")
	w := routestest.Follow(t, open(t, server, ""), "")
	w.UntilBackend("a.test", "http://127.0.0.1:9000")
	whole := func(*routes.Table) bool {
		v := w.Table().Vhost("a.test").Vhost
		return v.Tenant == "shop" && v.WAF != nil
	}
	evicting(t, server, "vhost:a.test")
	untilHeld(w, 1)
	if !whole(nil) {
		t.Fatalf("it became %+v", w.Table().Vhost("a.test").Vhost)
	}
	server.CLI("CONFIG", "SET", "maxmemory", "0")
	server.CLI("DEL", "frontend:a.test")
	server.CLI("RPUSH", "frontend:a.test", "other", "http://127.0.0.1:9001")
	server.CLI("SET", "vhost:b.test", `{"backends":["http://127.0.0.1:9000"]}`)
	untilLen(w, 2)
	if !whole(nil) {
		t.Fatalf("it became %+v when its list was changed", w.Table().Vhost("a.test").Vhost)
	}
	server.CLI("SET", "vhost:a.test", `{"tenant":"shop","waf":{"mode":"off"}}`)
	w.UntilBackend("a.test", "http://127.0.0.1:9001")
	if !whole(nil) || w.Status().Held != 0 {
		t.Errorf("it is %+v, and %d are held", w.Table().Vhost("a.test").Vhost, w.Status().Held)
	}
}

// What a verb writes acts, also where a part of the site was evicted that it does not write.
func TestAChangeByAVerbActsOnASiteThatHasLostAPart(t *testing.T) {
	t.Parallel()
	server := edgetest.Redis(t)
	server.CLI("RPUSH", "frontend:a.test", "shop", "http://127.0.0.1:9000")
	server.CLI("SET", "vhost:a.test", `{"compress":"on"}`)
	server.CLI("RPUSH", "frontend:b.test", "shop", "http://127.0.0.1:9000")
	s := open(t, server, "")
	w := routestest.Follow(t, s, "")
	untilLen(w, 2)
	evicting(t, server, "frontend:a.test")
	server.CLI("CONFIG", "SET", "maxmemory", "0")
	server.CLI("DEL", "vhost:a.test") // if it was not evicted, too
	w.Until("a.test is held", func(*routes.Table) bool { return w.Status().Held > 0 })
	key := routestest.Vhost("a.test")
	err := s.Edit(t.Context(), key, func(routes.Change) (routes.Document, error) {
		return routes.ParseJSON(key, "", []byte(`{"tenant":"shop","backends":["http://127.0.0.1:9002"]}`)), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	w.UntilBackend("a.test", "http://127.0.0.1:9002")
}
