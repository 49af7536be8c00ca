package e2e

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"gatehouse/internal/edgetest"
)

// What a user types in the first hour, with file routes and with Redis.
func TestVerbsAddASiteTuneAndRemoveIt(t *testing.T) {
	t.Parallel()
	onBothStores(t, func(t *testing.T, n *node) {
		b := edgetest.NewBackend(t)
		n.must("vhost", "add", "www.shop.test", b.URL, "--tenant", "shop", "--waf", "detect", "--cache", "60s")
		if got := n.get("www.shop.test", attack).Status; got != 200 {
			t.Errorf("detect mode: the attack got %d", got)
		}
		n.get("www.shop.test", "/bytes?n=10")
		if got := n.get("www.shop.test", "/bytes?n=10").Header.Get("Cache-Status"); !strings.Contains(got, "hit") {
			t.Errorf("Cache-Status %q", got)
		}
		n.must("tenant", "set", "shop", "waf.mode=block")
		n.must("vhost", "set", "www.shop.test", "waf.mode=", "cache.enabled=false", "aliases=shop.test")
		if got := n.get("shop.test", attack).Status; got != 403 {
			t.Errorf("block mode: the attack got %d", got)
		}
		if got := n.get("www.shop.test", "/bytes?n=10").Header.Get("Cache-Status"); got != "" {
			t.Errorf("cache off: Cache-Status %q", got)
		}
		n.must("tenant", "set", "shop", "suspended=true")
		if got := n.get("www.shop.test", "/").Status; got != 503 {
			t.Errorf("the tenant is suspended: %d", got)
		}
		if out := n.must("vhost", "list"); !strings.Contains(out, "suspended: by tenant shop") {
			t.Errorf("the tenant is suspended:\n%s", out)
		}
		n.must("tenant", "set", "shop", "suspended=")
		if got := n.get("www.shop.test", "/").Status; got != 200 {
			t.Errorf("the tenant is open again: %d", got)
		}
		n.must("vhost", "set", "www.shop.test", `headers.response={"set": {"X-Edited": "yes"}}`)
		if got := n.get("www.shop.test", "/").Header.Get("X-Edited"); got != "yes" {
			t.Errorf("a mapping: X-Edited %q", got)
		}
		var list struct {
			Vhosts []struct{ Name, Tenant, Status string }
		}
		if err := json.Unmarshal([]byte(n.must("vhost", "list", "-o", "json")), &list); err != nil {
			t.Fatal(err)
		}
		if len(list.Vhosts) != 1 || list.Vhosts[0].Name != "www.shop.test" || list.Vhosts[0].Status != "ok" {
			t.Errorf("vhost list: %+v", list)
		}
		for _, bad := range [][]string{
			{"vhost", "set", "www.shop.test", "cash.ttl=5s"},
			{"vhost", "set", "www.shop.test", "cache.ttl=soon"},
			{"vhost", "set", "www.shop.test", "health.interval=0s"},
			{"vhost", "add", "www.shop.test", b.URL},
			{"vhost", "rm", "nobody.test"},
		} {
			if out, code := n.run(bad...); code != 1 || out == "" {
				t.Errorf("%v: exit %d, want 1 and a reason: %s", bad, code, out)
			}
		}
		if out := n.must("vhost", "show", "www.shop.test"); !strings.Contains(out, b.URL) {
			t.Errorf("vhost show:\n%s", out)
		}
		n.must("vhost", "rm", "www.shop.test")
		if got := n.get("www.shop.test", "/").Status; got != 404 {
			t.Errorf("removed: %d", got)
		}
	})
}

func TestWAFTestSaysWhatServeDoes(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	n := launch(t, "", map[string]string{"a.yaml": vhost("a.test", b.URL, "waf: {mode: block}")})
	n.within("a.test", 200)
	for _, offline := range [][]string{nil, {"--offline"}} {
		out, code := n.run(append([]string{"waf", "test", "http://a.test" + attack}, offline...)...)
		for _, want := range []string{"941100", "block", "ARGS:q"} {
			if !strings.Contains(out, want) {
				t.Errorf("waf test %v does not say %q:\n%s", offline, want, out)
			}
		}
		if code != 1 {
			t.Errorf("waf test %v of an attack: exit %d, want 1", offline, code)
		}
		if out, code := n.run(append([]string{"waf", "test", "http://a.test/?q=shoes"}, offline...)...); code != 0 {
			t.Errorf("waf test %v of a harmless request: exit %d\n%s", offline, code, out)
		}
	}
	if got := b.Deliveries("/?q="); got != 0 {
		t.Errorf("%d tests reached the backend", got)
	}
}

func TestHealthVersionAndUsage(t *testing.T) {
	t.Parallel()
	n := launch(t, "", nil)
	if out := n.must("health"); !strings.Contains(out, "ready") {
		t.Errorf("health: %s", out)
	}
	if out := n.must("version"); !strings.Contains(out, "gatehouse") {
		t.Errorf("version: %s", out)
	}
	if _, code := n.run("vhst", "list"); code != 2 {
		t.Errorf("an unknown verb: exit %d, want 2", code)
	}
	n.stop()
	if out, code := n.run("health"); code != 1 || out == "" {
		t.Errorf("health without a node: exit %d: %s", code, out)
	}
}

// The node tells what its memory is used for, on its admin listener and its socket.
func TestHeapProfileCanBeFetched(t *testing.T) {
	t.Parallel()
	n := launch(t, "", nil)
	overSocket := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(n.dir, "data", "gatehouse.sock"))
	}}
	defer overSocket.CloseIdleConnections()
	for base, client := range map[string]*http.Client{"http://" + n.admin: http.DefaultClient, "http://gatehouse": {Transport: overSocket}} {
		resp, err := client.Get(base + "/debug/pprof/heap")
		if err != nil {
			t.Fatal(err)
		}
		profile, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != 200 {
			t.Fatalf("%s: %d, %v: %.200s", base, resp.StatusCode, err, profile)
		}
		if err := edgetest.CheckProfile(profile); err != nil {
			t.Errorf("%s: %v", base, err)
		}
	}
}

func TestDemoChecksItselfAndNamesTheBrokenStep(t *testing.T) {
	t.Parallel()
	n := prepare(t, "", nil)
	if out, code := n.run("demo", "--check"); code != 0 {
		t.Fatalf("demo --check: exit %d\n%s", code, out)
	}
	for _, step := range []string{"waf", "cache", "backend"} {
		out, code := n.run("demo", "--check", "--break", step)
		if code != 1 || !strings.Contains(out, "step "+step+" failed") {
			t.Errorf("demo --check --break %s: exit %d\n%s", step, code, out)
		}
	}
}
