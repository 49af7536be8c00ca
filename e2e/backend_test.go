package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
)

// A backend is taken out of service on two nodes by one verb, stays out over restarts, and comes back.
func TestABackendIsDrainedOnAllNodes(t *testing.T) {
	t.Parallel()
	redis := edgetest.Redis(t)
	one, other := edgetest.NewBackendWith(t, edgetest.BackendOptions{Name: "one"}), edgetest.NewBackendWith(t, edgetest.BackendOptions{Name: "other"})
	redis.CLI("rpush", "frontend:a.test", "shop", one.URL, other.URL)
	nodes := make([]*node, 2)
	for i := range nodes {
		nodes[i] = prepare(t, "routes: "+redis.URL(), nil)
		nodes[i].environ = []string{fmt.Sprintf("GATEHOUSE_NODE=n%d", i+1)}
		nodes[i].start()
		nodes[i].within("a.test", 200)
	}
	// got is how many of some requests to both nodes the backend gets.
	got := func(b *edgetest.Backend) int {
		before := b.Deliveries("")
		for range 8 {
			for _, n := range nodes {
				n.get("a.test", "/")
			}
		}
		return b.Deliveries("") - before
	}
	if got(one) == 0 {
		t.Error("it gets nothing before the drain")
	}

	ws := edgetest.Dial(t, nodes[1].http) // one under way, on the node that is not asked
	for {
		ws.UpgradeWebSocket("a.test", "/ws")
		if one.Deliveries("/ws") > 0 {
			break
		}
		ws = edgetest.Dial(t, nodes[1].http)
	}
	out, code := nodes[0].run("backend", "drain", one.URL, "--wait", "1500ms")
	if code != 1 || !strings.Contains(out, "1 under way (n1 0, n2 1)") || !strings.Contains(out, "1 requests are still under way") {
		t.Errorf("drain --wait with a WebSocket: exit %d\n%s", code, out)
	}
	if n := got(one); n != 0 {
		t.Errorf("drained, it got %d requests", n)
	}
	ws.WebSocketEcho("still there")
	ws.Close()
	begin := time.Now()
	if out, code := nodes[0].run("backend", "drain", one.URL, "--wait", "60s"); code != 0 || !strings.Contains(out, "nothing is under way") {
		t.Errorf("drain --wait: exit %d after %v\n%s", code, time.Since(begin), out)
	}

	out, code = nodes[1].run("backend", "drain", other.URL)
	if code != 1 || !strings.Contains(out, "it is the last one of a.test, which would answer 503; --yes") {
		t.Errorf("the last one: exit %d\n%s", code, out)
	}
	for _, n := range nodes {
		n.stop()
		n.start()
		n.within("a.test", 200)
		if list := n.must("backend", "list", "a.test"); !strings.Contains(list, "drained 20") || !strings.Contains(list, "active") || !strings.Contains(list, "up") {
			t.Errorf("after a restart:\n%s", list)
		}
	}
	if n := got(one); n != 0 {
		t.Errorf("after a restart it got %d requests", n)
	}
	nodes[1].must("backend", "drain", other.URL, "--yes")
	if status := nodes[0].get("a.test", "/").Status; status != 503 {
		t.Errorf("all drained: status %d", status)
	}
	for _, b := range []*edgetest.Backend{one, other} {
		nodes[0].must("backend", "undrain", b.URL)
	}
	if got(one) == 0 || got(other) == 0 {
		t.Error("after the undrain one of them gets nothing")
	}
	// Two who drain one each, on two nodes at the same time, do not drain both.
	var drains sync.WaitGroup
	for i, b := range []*edgetest.Backend{one, other} {
		drains.Go(func() { nodes[i].run("backend", "drain", b.URL) })
	}
	drains.Wait()
	if status := nodes[0].get("a.test", "/").Status; status != 200 {
		t.Errorf("drained by two at once: status %d", status)
	}
	for _, b := range []*edgetest.Backend{one, other} {
		nodes[0].run("backend", "undrain", b.URL) // exit 1 of one that is not drained
	}
	for _, args := range [][]string{{"backend", "undrain", one.URL}, {"backend", "drain", "http://127.0.0.1:1"}, {"backend", "drain", "ftp://a"}, {"backend", "list", "nobody.test"}} {
		if out, code := nodes[0].run(args...); code != 1 || out == "" {
			t.Errorf("%v: exit %d\n%s", args, code, out)
		}
	}
}

// Who waits for a drained backend after an upgrade waits for what is under way in the process before, too, with or without a Redis.
func TestADrainWaitsForTheProcessBeforeAnUpgrade(t *testing.T) {
	t.Parallel()
	for _, shared := range []bool{false, true} {
		t.Run(fmt.Sprintf("shared=%v", shared), func(t *testing.T) {
			t.Parallel()
			one, other := edgetest.NewBackend(t), edgetest.NewBackend(t)
			settings := ""
			if shared {
				settings = "redis: " + edgetest.Redis(t).URL()
			}
			n := launch(t, settings, map[string]string{"site.yaml": "vhosts: {a.test: {balance: round_robin, backends: [" + one.URL + ", " + other.URL + "]}}"})
			s := succeed(n)
			ws := edgetest.Dial(t, n.http)
			for ws.UpgradeWebSocket("a.test", "/ws"); one.Deliveries("/ws") == 0; ws.UpgradeWebSocket("a.test", "/ws") {
				ws = edgetest.Dial(t, n.http)
			}
			was := s.pid
			s.upgrade()
			if out, code := n.run("backend", "drain", one.URL, "--wait", "1500ms"); code != 1 || !strings.Contains(out, "1 requests are still under way") {
				t.Errorf("with a WebSocket in the process before: exit %d\n%s", code, out)
			}
			ws.WebSocketEcho("still there")
			ws.Close()
			if out, code := n.run("backend", "drain", one.URL, "--wait", "60s"); code != 0 || !strings.Contains(out, "nothing is under way") {
				t.Errorf("after its end: exit %d\n%s", code, out)
			}
			s.gone(was)
			s.finish()
		})
	}
}

// A node that finds its list of drained backends damaged says so and serves.
func TestADamagedListOfDrainedBackendsStopsNoNode(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	n := prepare(t, "", map[string]string{"site.yaml": vhost("a.test", b.URL)})
	file := filepath.Join(n.dir, "data", "backends.json")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	n.start()
	n.within("a.test", 200)
	if _, err := os.Stat(file + ".damaged"); err != nil {
		t.Error(err)
	}
}
