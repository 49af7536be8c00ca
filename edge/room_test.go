package edge

import (
	"fmt"
	"testing"
	"time"

	"gatehouse/edge/balance"
	"gatehouse/internal/edgetest"
)

// waitsAt waits until a request waits for a place at a backend.
func (n *node) waitsAt(t *testing.T, m *backendMember) {
	t.Helper()
	p := n.table.Match("www.shop.test").Compiled().(*site).limited[m.Backend]
	edgetest.WaitFor(t, "a request to wait at "+m.Backend.String(), func() bool { return p.waits.Load() == 1 })
}

// What a full backend cannot take waits for it rather than go to one that is out, which has always room; and a backend that is
// passed over is not taken for busy.
func TestAFullBackendIsNotLeftForOneThatIsOut(t *testing.T) {
	t.Parallel()
	full, room := newBusyBackend(t), newBusyBackend(t)
	backends, _ := named(t, 1) // health is not ignored: one of three is out
	n := start(t, shopSite(fmt.Sprintf("{url: %q, concurrency: 1}, {url: %q, concurrency: 1}, %s", full.URL, room.URL, backends[0].URL)), withPlaces(100, 5, time.Minute))
	n.placesOf(t, "www.shop.test")
	out := n.table.Match("www.shop.test").Compiled().(*site).pool.Begin(n.members()[2])
	if out.Report(balance.Unreachable) == 0 {
		t.Fatal("it is not ejected")
	}
	out.Done()
	first, second := n.send(t, "www.shop.test", "/"), n.send(t, "www.shop.test", "/")
	full.waitFor(t, 1)
	room.waitFor(t, 1) // the other, whoever was picked
	third := n.send(t, "www.shop.test", "/")
	edgetest.WaitFor(t, "it to wait", func() bool {
		waits := int64(0)
		for _, p := range n.table.Match("www.shop.test").Compiled().(*site).limited {
			waits += p.waits.Load()
		}
		return waits == 1
	})
	inFlight := int64(0)
	for _, m := range n.members() {
		inFlight += m.State().InFlight()
	}
	if inFlight != 3 || backends[0].Deliveries("") != 0 {
		t.Errorf("%d in flight, want 3; the one that is out got %d", inFlight, backends[0].Deliveries(""))
	}
	close(full.let)
	close(room.let)
	for _, c := range []*edgetest.RawConn{first, second, third} {
		if got := c.Receive("GET"); got.Status != 200 {
			t.Errorf("status %d", got.Status)
		}
	}
	for _, m := range n.members() {
		edgetest.WaitFor(t, "attempts to end", func() bool { return m.State().InFlight() == 0 })
	}
}

// A client that is kept at a backend waits there: its session is nowhere else. Others go where there is room.
func TestAStickyClientWaitsAtItsBackend(t *testing.T) {
	t.Parallel()
	kept, other := newBusyBackend(t), newBusyBackend(t)
	n := start(t, shopSite(fmt.Sprintf("{url: %q, concurrency: 1}, {url: %q, concurrency: 1}", kept.URL, other.URL), "sticky: {cookie: node}", "balance: round_robin"),
		withPlaces(100, 5, time.Minute))
	cookie := ""
	for cookie == "" { // of the first backend
		got := n.get(t, "www.shop.test", "/quick")
		if kept.Deliveries("") > 0 {
			cookie, _ = cookieOf(t, got)
		}
	}
	c := edgetest.Dial(t, n.http)
	c.Send(head("GET", "www.shop.test", "/", "Cookie: "+cookie) + "\r\n")
	kept.waitFor(t, 1)
	waiting := edgetest.Dial(t, n.http)
	waiting.Send(head("GET", "www.shop.test", "/", "Cookie: "+cookie) + "\r\n")
	n.waitsAt(t, n.members()[0])
	before := kept.Deliveries("")
	room := n.table.Match("www.shop.test").Compiled().(*site).limited[n.members()[1].Backend]
	for range 4 {
		edgetest.WaitFor(t, "the place at the other to be free", func() bool { return room.busy.Load() == 0 })
		if got := n.get(t, "www.shop.test", "/quick"); got.Status != 200 {
			t.Errorf("status %d", got.Status)
		}
	}
	if kept.Deliveries("") != before {
		t.Error("a new client was sent to the full backend")
	}
	close(kept.let)
	for _, c := range []*edgetest.RawConn{c, waiting} {
		if got := c.Receive("GET"); got.Status != 200 {
			t.Errorf("status %d", got.Status)
		}
	}
	if got := kept.Deliveries(""); got != before+1 {
		t.Errorf("its backend got %d further requests, want 1", got-before)
	}
}
