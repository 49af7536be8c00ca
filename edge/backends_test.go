package edge

import (
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"gatehouse/edge/health"
	"gatehouse/edge/upstream"
	"gatehouse/internal/edgetest"
	"gatehouse/routes"
)

// owned is a document of vhosts on one backend, each given as "tenant host"; a tenant of - is none.
func owned(backend string, vhosts ...string) string {
	var doc strings.Builder
	doc.WriteString("vhosts:\n")
	for _, v := range vhosts {
		tenant, host, _ := strings.Cut(v, " ")
		fmt.Fprintf(&doc, "  %s:\n    backends: [%s]\n", host, backend)
		if tenant != "-" {
			fmt.Fprintf(&doc, "    tenant: %s\n", tenant)
		}
	}
	return doc.String()
}

func (n *node) remove(host string) {
	table, replaced := n.table.With([]routes.Change{{Key: routes.Key{Kind: routes.KindVhost, Name: host}}})
	n.table = table
	n.Apply(table, replaced)
}

// The vhosts of a tenant use each other's connections, and those of others never: what
// one makes his backend answer out of turn must not reach another's client.
func TestConnectionsToABackendAreSharedWithinATenantOnly(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, owned(b.URL, "shop a.test", "shop b.test", "rival c.test", "- d.test", "- e.test"))
	for _, step := range []struct {
		host     string
		accepted int
	}{{"a.test", 1}, {"b.test", 1}, {"c.test", 2}, {"d.test", 3}, {"e.test", 4}, {"a.test", 4}, {"d.test", 4}} {
		n.get(t, step.host, "/")
		if accepted, _ := b.Connections(); accepted != step.accepted {
			t.Fatalf("after %s the backend has accepted %d connections, want %d", step.host, accepted, step.accepted)
		}
	}
}

// A shared pool closes when the last vhost that has it goes, and not before.
func TestASharedPoolOutlivesAllButItsLastVhost(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, owned(b.URL, "shop a.test", "shop b.test"))
	n.get(t, "a.test", "/")
	n.get(t, "b.test", "/")
	n.remove("a.test")
	n.get(t, "b.test", "/")
	if accepted, open := b.Connections(); accepted != 1 || open != 1 {
		t.Errorf("%d connections accepted, %d open, want the one of before", accepted, open)
	}
	n.apply(t, owned(b.URL, "shop b.test", "shop c.test")) // b.test is unchanged
	n.get(t, "c.test", "/")
	n.remove("b.test")
	n.get(t, "c.test", "/")
	if accepted, _ := b.Connections(); accepted != 1 {
		t.Errorf("%d connections accepted, want the one of before", accepted)
	}
	n.remove("c.test")
	edgetest.WaitFor(t, "the last connection to close", func() bool { _, open := b.Connections(); return open == 0 })
	if len(n.backends.pools) != 0 {
		t.Errorf("%d pools are held by nobody", len(n.backends.pools))
	}
}

// A backend that is named twice is one pool, and is given back once.
func TestABackendNamedTwiceIsHeldOnce(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, shopSite(b.URL+", "+b.URL))
	n.get(t, "www.shop.test", "/")
	st := n.table.Match("www.shop.test").Compiled().(*site)
	if members := st.pool.Members(); len(members) != 2 || members[0].Backend != members[1].Backend {
		t.Errorf("%d members, want two of the same pool", len(members))
	}
	st.backends.release()
	st.backends.release()
	if len(n.backends.pools) != 0 {
		t.Errorf("%d pools are left", len(n.backends.pools))
	}
}

// A route that was replaced before anybody asked for it may still be compiled, by a
// request that had looked it up just before. Nobody retires its site.
func TestASiteThatNobodyRetiresGivesItsPoolsBack(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, shopSite(b.URL))
	func() {
		outdated := n.table.Match("www.shop.test")
		n.remove("www.shop.test")
		if _, err := n.siteOf(outdated); err != nil {
			t.Fatal(err)
		}
	}()
	pools := func() int {
		n.backends.mu.Lock()
		defer n.backends.mu.Unlock()
		return len(n.backends.pools)
	}
	if pools() != 1 {
		t.Fatalf("%d pools, want 1", pools())
	}
	edgetest.WaitFor(t, "the pool to be given back", func() bool { runtime.GC(); return pools() == 0 })
}

// What is under way to a backend is counted after its last vhost has gone: whoever drains it must not be told of none.
func TestWhatIsUnderWayIsCountedWhenItsVhostIsGone(t *testing.T) {
	release := make(chan struct{})
	slow := edgetest.NewBackendWith(t, edgetest.BackendOptions{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		<-release
		_, _ = io.WriteString(w, "done")
	})})
	n := start(t, owned(slow.URL, "shop a.test", "shop b.test"))
	done := make(chan int, 2)
	for i, host := range []string{"a.test", "b.test"} {
		go func() { done <- n.get(t, host, "/").Status }()
		edgetest.WaitFor(t, "the request to be under way", func() bool { return slow.Deliveries("") == i+1 })
	}
	d := health.Drain{URL: slow.URL}
	n.SetDrains([]health.Drain{d})
	n.remove("a.test")
	n.remove("b.test")
	if got := n.DrainedInFlight(d); got != 2 {
		t.Errorf("%d are under way, want 2", got)
	}
	n.apply(t, owned(slow.URL, "shop c.test"))
	if got := n.get(t, "c.test", "/"); got.Status != 503 || n.DrainedInFlight(d) != 2 {
		t.Errorf("one that names it again: status %d, %d are under way", got.Status, n.DrainedInFlight(d))
	}
	n.remove("c.test")
	close(release)
	for range 2 {
		if status := <-done; status != 200 {
			t.Errorf("what was under way: status %d", status)
		}
	}
	edgetest.WaitFor(t, "nothing to be under way", func() bool { return n.DrainedInFlight(d) == 0 })
	n.backends.mu.Lock()
	defer n.backends.mu.Unlock()
	n.backends.sweep()
	if len(n.backends.states) != 0 || len(n.backends.left) != 0 {
		t.Errorf("%d states are held by nobody, %d are left", len(n.backends.states), len(n.backends.left))
	}
}

// Two sites that end at once release what they share once each.
func TestHoldingsReleaseOnceEach(t *testing.T) {
	var b backends
	open := func() (*upstream.Pool, error) {
		return upstream.NewPool(upstream.Options{Address: "http://127.0.0.1:1"})
	}
	key := poolKey{owner: "tenant shop", url: "http://127.0.0.1:1"}
	one, another := &site{}, &site{}
	defer runtime.KeepAlive(one)
	defer runtime.KeepAlive(another)
	first, second := b.hold(one), b.hold(another)
	p, err := first.pool(key, open)
	if err != nil {
		t.Fatal(err)
	}
	if q, err := second.pool(key, open); err != nil || q != p {
		t.Fatalf("the second site got another pool, %v", err)
	}
	first.release()
	first.release()
	if p.Closed() {
		t.Error("the pool closed under the second site")
	}
	second.release()
	if !p.Closed() {
		t.Error("the pool is open and nobody holds it")
	}
}
