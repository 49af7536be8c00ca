package edge

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/edge/balance"
	"gatehouse/edge/health"
	"gatehouse/internal/edgetest"
)

// Each backend in turn is drained, restarted once nothing is under way to it, and undrained: no client notices, those of unsafe
// methods and of WebSockets neither. These stay at a drained backend until their clients leave, and none is opened there.
func TestARollingRestartWithDrainLosesNoRequest(t *testing.T) {
	backends, urls := named(t, 3)
	n := start(t, shopSite(urls))
	n.who(t, "www.shop.test", "/")
	end := make(chan struct{})
	var load sync.WaitGroup
	var asked, failed atomic.Int64
	for client := range 6 {
		load.Go(func() {
			var c *edgetest.RawConn
			for i := 0; ; i++ {
				select {
				case <-end:
					return
				default:
				}
				if i%400 == 0 { // before keepalive_requests ends it
					c = edgetest.Dial(t, n.http)
				}
				method, body := "GET", ""
				if client%2 == 1 {
					method, body = "POST", "Content-Length: 2\r\n"
				}
				text := head(method, "www.shop.test", "/") + body + "\r\n"
				if method == "POST" {
					text += "hi"
				}
				asked.Add(1)
				if c.Do(method, text).Status != 200 {
					failed.Add(1)
				}
			}
		})
	}
	sockets := socketsAt{node: n, backends: backends, open: map[*edgetest.Backend][]*edgetest.RawConn{}}
	for _, b := range backends {
		sockets.fill(t, b)
	}
	for round := range 2 {
		for _, b := range backends {
			d := health.Drain{URL: b.URL, Since: time.Now()}
			n.SetDrains([]health.Drain{d})
			edgetest.WaitFor(t, "nothing but WebSockets to be under way", func() bool { return n.DrainedInFlight(d) == int64(len(sockets.open[b])) })
			before, all := b.Deliveries(""), asked.Load()
			edgetest.WaitFor(t, "some requests", func() bool { return asked.Load() > all+50 })
			if got := b.Deliveries("") - before; got > 1 { // chosen before, and counted a moment later
				t.Errorf("round %d: a drained backend got %d requests", round, got)
			}
			if at := sockets.dial(t); at == b {
				t.Errorf("round %d: a WebSocket was opened at a drained backend", round)
			}
			sockets.echo(t)
			sockets.leave(t, b)
			edgetest.WaitFor(t, "nothing to be under way", func() bool { return n.DrainedInFlight(d) == 0 })
			b.Stop()
			b.Start()
			n.SetDrains(nil)
			edgetest.WaitFor(t, "it to get requests again", func() bool { return b.Deliveries("") > before })
			sockets.echo(t)
			sockets.fill(t, b)
		}
	}
	close(end)
	load.Wait()
	if failed.Load() > 0 {
		t.Errorf("%d of %d requests failed", failed.Load(), asked.Load())
	}
}

// socketsAt are open WebSockets of www.shop.test, by the backend that has them.
type socketsAt struct {
	*node
	backends []*edgetest.Backend
	open     map[*edgetest.Backend][]*edgetest.RawConn
	dialled  int
}

// dial opens one more, and says where.
func (s *socketsAt) dial(t *testing.T) *edgetest.Backend {
	t.Helper()
	c := edgetest.Dial(t, s.http)
	s.dialled++
	target := fmt.Sprintf("/ws?%d.", s.dialled)
	c.UpgradeWebSocket("www.shop.test", target)
	for _, b := range s.backends {
		if b.Deliveries(target) > 0 {
			s.open[b] = append(s.open[b], c)
			return b
		}
	}
	t.Fatal("a WebSocket is at no backend")
	return nil
}

// fill opens some until two are at a backend.
func (s *socketsAt) fill(t *testing.T, b *edgetest.Backend) {
	t.Helper()
	for range 100 {
		if len(s.open[b]) >= 2 {
			return
		}
		s.dial(t)
	}
	t.Fatal("a backend gets no WebSockets")
}

// echo has each carry a text.
func (s *socketsAt) echo(t *testing.T) {
	t.Helper()
	for _, open := range s.open {
		for _, c := range open {
			c.WebSocketEcho("still there")
		}
	}
}

// leave closes those at a backend.
func (s *socketsAt) leave(t *testing.T, b *edgetest.Backend) {
	t.Helper()
	for _, c := range s.open[b] {
		c.CloseWebSocket()
	}
	delete(s.open, b)
}

func TestBackendsAreListedWithWhatIsKnownOfThem(t *testing.T) {
	release := make(chan struct{})
	slow := edgetest.NewBackendWith(t, edgetest.BackendOptions{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		<-release
		_, _ = io.WriteString(w, "done")
	})})
	other := strings.Replace(slow.URL, "127.0.0.1", "LOCALHOST", 1)
	n := start(t, "vhosts:\n  a.test: {tenant: shop, backends: ["+slow.URL+", http://127.0.0.1:1/]}\n"+
		"  b.test: {tenant: shop, backends: ["+slow.URL+"]}\n  c.test: {backends: [http://127.0.0.1:1]}\n  d.test: {tenant: rival, backends: ["+other+"]}\n")
	done := make(chan int, 1)
	go func() { done <- n.get(t, "b.test", "/").Status }()
	edgetest.WaitFor(t, "the request to be under way", func() bool { return slow.Deliveries("") == 1 })

	rows := map[string]BackendStatus{}
	for _, b := range n.Backends("", "") {
		rows[b.URL+" "+b.Tenant] = b
	}
	if len(rows) != 4 {
		t.Fatalf("%+v", rows)
	}
	if b := rows[slow.URL+" shop"]; !slices.Equal(b.Vhosts, []string{"a.test", "b.test"}) || b.InFlight != 1 || b.Drain != nil {
		t.Errorf("%+v", b)
	}
	if b := rows["http://127.0.0.1:1 "]; !slices.Equal(b.Vhosts, []string{"c.test"}) || b.InFlight != 0 { // nobody has asked for it
		t.Errorf("%+v", b)
	}
	if got := n.Backends("a.test", ""); len(got) != 2 {
		t.Errorf("of one vhost: %+v", got)
	}

	shops, all := health.Drain{URL: slow.URL, Tenant: "shop"}, health.Drain{URL: "http://127.0.0.1:1"}
	if bare, unwell := n.LeftBare(shops); !slices.Equal(bare, []string{"b.test"}) || len(unwell) > 0 {
		t.Errorf("bare %v, unwell %v", bare, unwell)
	}
	st, err := n.siteOf(n.table.Match("a.test"))
	if err != nil {
		t.Fatal(err)
	}
	pool := st.pool
	a := pool.Begin(pool.Members()[1])
	a.Report(balance.Unreachable)
	a.Done()
	if bare, unwell := n.LeftBare(shops); len(bare) != 1 || !slices.Equal(unwell, []string{"a.test"}) {
		t.Errorf("with the other one ejected: bare %v, unwell %v", bare, unwell)
	}
	n.SetDrains([]health.Drain{all, shops, {URL: "http://gone"}})
	got := n.Backends("", "")
	drained := 0
	for _, b := range got {
		if b.Drain != nil {
			drained++
		}
	}
	if drained != 4 || got[len(got)-1].URL != "http://localhost"+slow.URL[len("http://127.0.0.1"):] {
		t.Errorf("drained %d of %+v", drained, got)
	}
	if n.DrainedInFlight(shops) != 1 || n.DrainedInFlight(all) != 0 {
		t.Errorf("in flight %d, %d", n.DrainedInFlight(shops), n.DrainedInFlight(all))
	}
	close(release)
	if status := <-done; status != 200 {
		t.Errorf("what was under way: status %d", status)
	}
	// A site that is made later knows it, too.
	if got := n.get(t, "c.test", "/"); got.Status != 503 {
		t.Errorf("c.test: status %d", got.Status)
	}
	if !n.IsBackend(slow.URL, "shop") || n.IsBackend(slow.URL, "rival") || n.IsBackend("http://gone", "") {
		t.Error("IsBackend")
	}
}

// manyStates are backends of so many tenants and others' URLs.
func manyStates(n int) *Server {
	s := &Server{}
	for i := range n {
		s.backends.put(&sharedState{State: balance.NewState(), key: backendKey{owner: ownerOf(fmt.Sprint(i), ""), url: fmt.Sprint("http://", i)}})
	}
	return s
}

// What a node reports twice a second, and what a change of drains does, must not take longer for backends that no drain names: sites that are
// compiled wait for the lock.
func TestADrainCostsNothingForOtherBackends(t *testing.T) {
	d := health.Drain{URL: "http://7"}
	took := func(s *Server) time.Duration {
		least := time.Hour
		for range 3 {
			begin := time.Now()
			for range 50 {
				s.DrainedInFlight(d)
				s.SetDrains([]health.Drain{d})
				s.SetDrains(nil)
			}
			least = min(least, time.Since(begin))
		}
		return least
	}
	few, many := took(manyStates(10)), took(manyStates(100_000))
	if many > 100*few+10*time.Millisecond { // was ten thousand times that
		t.Errorf("%v with 10 backends, %v with 100,000", few, many)
	}
}

// Whatever comes and goes in whatever order, a state is drained by what covers it, and found by its URL.
func TestDrainsFollowTheirStates(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	var s Server
	b := &s.backends
	var keys []backendKey
	var all []health.Drain
	for _, url := range []string{"http://a", "http://b"} {
		all = append(all, health.Drain{URL: url})
		keys = append(keys, backendKey{owner: ownerOf("", "a.test"), url: url})
		for i := range 4 {
			all = append(all, health.Drain{URL: url, Tenant: fmt.Sprint(i)})
			keys = append(keys, backendKey{owner: ownerOf(fmt.Sprint(i), ""), url: url})
		}
	}
	holdings := map[backendKey]*holding{}
	for range 2000 {
		if key := keys[rng.IntN(len(keys))]; holdings[key] == nil {
			holdings[key] = &holding{from: b}
			holdings[key].state(key)
		} else {
			holdings[key].release()
			delete(holdings, key)
		}
		if rng.IntN(3) == 0 {
			var drains []health.Drain
			for _, d := range all {
				if rng.IntN(4) == 0 {
					drains = append(drains, d)
				}
			}
			s.SetDrains(drains)
		}
		found := 0
		for url, state := range b.byURL {
			for ; state != nil; state = state.next {
				found++
				if covered := b.drains.Find(url, state.key.tenant()) != nil; state.Drained() != covered || holdings[state.key] == nil {
					t.Fatalf("%+v is drained: %v, want %v", state.key, state.Drained(), covered)
				}
			}
		}
		if found != len(holdings) || len(b.states) != found {
			t.Fatalf("%d of %d states are found by their URL", found, len(holdings))
		}
	}
}

// Who waits for a place at a backend is not there yet.
func TestWhoWaitsForABackendIsNotInFlightThere(t *testing.T) {
	t.Parallel()
	busy := newBusyBackend(t)
	n := start(t, shopSite(fmt.Sprintf("{url: %q, concurrency: 1}", busy.URL)), withPlaces(100, 5, time.Minute))
	var clients []*edgetest.RawConn
	for range 3 {
		clients = append(clients, n.send(t, "www.shop.test", "/"))
	}
	busy.waitFor(t, 1)
	edgetest.WaitFor(t, "two to wait", func() bool {
		got := n.Backends("", "")
		return len(got) == 1 && got[0].InFlight == 1 && got[0].Waiting == 2
	})
	close(busy.let)
	for _, c := range clients {
		if got := c.Receive("GET"); got.Status != 200 {
			t.Errorf("status %d", got.Status)
		}
	}
	edgetest.WaitFor(t, "all to end", func() bool {
		got := n.Backends("", "")
		return got[0].InFlight == 0 && got[0].Waiting == 0
	})
}

// Failing and ejected come with the last failure.
func TestTheListSaysWhatTheLastFailureWas(t *testing.T) {
	t.Parallel()
	failing := edgetest.NewBackendWith(t, edgetest.BackendOptions{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })})
	dead, urls := named(t, 2)
	n := start(t, "vhosts:\n  a.test: {backends: ["+failing.URL+"]}\n  b.test: {backends: ["+urls+"], balance: round_robin}\n")
	dead[0].Stop()
	for _, host := range []string{"a.test", "b.test", "b.test"} {
		n.get(t, host, "/")
	}
	reasons := map[string]string{}
	for _, b := range n.Backends("", "") {
		reasons[b.URL] = b.Reason
	}
	if reasons[failing.URL] != "answered 502" || !strings.HasSuffix(reasons[dead[0].URL], "connection refused") || reasons[dead[1].URL] != "" {
		t.Error(reasons)
	}
	n.waitFor(t, n.log, "connection refused")
}
