package edge

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
)

// A busyBackend keeps requests until the test lets them go, and counts how many it has.
type busyBackend struct {
	*edgetest.Backend
	has, most atomic.Int64
	let       chan struct{}
}

func newBusyBackend(t testing.TB) *busyBackend {
	b := &busyBackend{let: make(chan struct{})}
	b.Backend = edgetest.NewBackendWith(t, edgetest.BackendOptions{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := b.has.Add(1)
		for most := b.most.Load(); n > most && !b.most.CompareAndSwap(most, n); most = b.most.Load() {
		}
		defer b.has.Add(-1)
		if r.URL.Path == "/quick" {
			w.Header().Set("Cache-Control", "max-age=600")
			_, _ = io.WriteString(w, "quick")
			return
		}
		if r.URL.Path == "/stream" {
			_, _ = io.WriteString(w, "first")
			_ = http.NewResponseController(w).Flush()
		}
		select {
		case <-b.let:
		case <-r.Context().Done():
		}
	})})
	t.Cleanup(func() { // before the backend stops
		select {
		case <-b.let:
		default:
			close(b.let)
		}
	})
	return b
}

func (b *busyBackend) waitFor(t testing.TB, requests int64) {
	t.Helper()
	edgetest.WaitFor(t, fmt.Sprintf("%d requests at the backend", requests), func() bool { return b.has.Load() == requests })
}

func withPlaces(concurrency, queue int, wait time.Duration) func(*Options) {
	return func(o *Options) {
		o.Limits.TenantConcurrency, o.Limits.TenantQueue, o.Limits.QueueTime = concurrency, queue, wait
	}
}

// send sends a request, whose answer the test receives later.
func (n *node) send(t testing.TB, host, target string) *edgetest.RawConn {
	c := edgetest.Dial(t, n.http)
	c.Send(head("GET", host, target) + "\r\n")
	return c
}

func (n *node) placesOf(t testing.TB, host string) *places {
	t.Helper()
	st, err := n.siteOf(n.table.Match(host))
	if err != nil {
		t.Fatal(err)
	}
	return st.places
}

func (n *node) waitQueue(t testing.TB, host string, waiting int64) {
	t.Helper()
	p := n.placesOf(t, host)
	edgetest.WaitFor(t, fmt.Sprintf("%d who wait", waiting), func() bool { return p.waits.Load() == waiting })
}

// A tenant's requests beyond what he may have at his backends wait for each other, and are then answered 503 with Retry-After. Nobody
// else's are touched.
func TestATenantsRequestsWaitForEachOther(t *testing.T) {
	t.Parallel()
	b := newBusyBackend(t)
	n := start(t, owned(b.URL, "shop a.test", "shop b.test", "rival c.test", "- d.test"), withPlaces(2, 1, time.Minute))
	first := []*edgetest.RawConn{n.send(t, "a.test", "/1"), n.send(t, "b.test", "/2")} // one tenant
	b.waitFor(t, 2)
	waits := n.send(t, "a.test", "/3")
	n.waitQueue(t, "b.test", 1)
	got := n.get(t, "b.test", "/4")
	if got.Status != 503 || got.Header.Get("Retry-After") != "5" || strings.Contains(string(got.Body), "backend") {
		t.Errorf("status %d, Retry-After %q: %s", got.Status, got.Header.Get("Retry-After"), got.Body)
	}
	for _, other := range []string{"c.test", "d.test"} {
		if got := n.get(t, other, "/quick"); got.Status != 200 {
			t.Errorf("%s: status %d", other, got.Status)
		}
	}
	close(b.let)
	for _, c := range append(first, waits) {
		if got := c.Receive("GET"); got.Status != 200 {
			t.Errorf("status %d of one that had, or waited for, its place", got.Status)
		}
	}
	if b.most.Load() > 3 { // two of shop's, and one of another
		t.Errorf("%d requests at a time", b.most.Load())
	}
	p := n.placesOf(t, "a.test")
	edgetest.WaitFor(t, "all places to be given back", func() bool { return p.busy.Load() == 0 && n.placesOf(t, "d.test").busy.Load() == 0 })
	n.waitFor(t, n.log, `requests are refused: too many at a time" of="tenant shop"`)
	n.waitFor(t, n.access, "as many wait as may")
	if strings.Contains(n.log.String(), "request failed") {
		t.Error("the log has a line for each refused request")
	}
}

func TestARequestWaitsForItsPlaceOnlySoLong(t *testing.T) {
	t.Parallel()
	b := newBusyBackend(t)
	n := start(t, owned(b.URL, "shop a.test"), withPlaces(1, 5, 50*time.Millisecond))
	n.send(t, "a.test", "/1")
	b.waitFor(t, 1)
	if got := n.get(t, "a.test", "/2"); got.Status != 503 || got.Header.Get("Retry-After") != "5" {
		t.Errorf("status %d", got.Status)
	}
	if p := n.placesOf(t, "a.test"); p.waits.Load() != 0 || p.busy.Load() != 1 {
		t.Errorf("%d busy, %d wait", p.busy.Load(), p.waits.Load())
	}
	n.waitFor(t, n.access, "waited too long")
}

// A client that has left while it waits neither keeps its place in the queue nor reaches the backend.
func TestAClientThatLeavesTheQueueFreesItsPlace(t *testing.T) {
	t.Parallel()
	b := newBusyBackend(t)
	n := start(t, owned(b.URL, "shop a.test"), withPlaces(1, 5, time.Minute))
	n.send(t, "a.test", "/1")
	b.waitFor(t, 1)
	leaves := n.send(t, "a.test", "/left")
	n.waitQueue(t, "a.test", 1)
	leaves.Close()
	edgetest.WaitFor(t, "the place to be free", func() bool {
		n.waiters.look()
		return n.placesOf(t, "a.test").waits.Load() == 0
	})
	n.waitFor(t, n.access, `"status":499`)
	if b.Deliveries("/left") != 0 {
		t.Error("the request reached the backend")
	}
}

// What the cache answers takes no place; a vhost without a cache is refused before it is inspected.
func TestHitsTakeNoPlace(t *testing.T) {
	t.Parallel()
	b := newBusyBackend(t)
	n := start(t, shopSite(b.URL, "cache: {enabled: true}")+"  bare.test:\n    tenant: shop\n    backends: ["+b.URL+"]\n    waf: {mode: block}\n", withPlaces(1, -1, time.Minute))
	n.get(t, "www.shop.test", "/quick")
	edgetest.WaitFor(t, "its place to be given back", func() bool { return n.placesOf(t, "www.shop.test").busy.Load() == 0 })
	n.send(t, "www.shop.test", "/1")
	b.waitFor(t, 1)
	if got := n.get(t, "www.shop.test", "/quick"); got.Status != 200 || !strings.Contains(got.Header.Get("Cache-Status"), "hit") {
		t.Errorf("status %d, %s", got.Status, got.Header.Get("Cache-Status"))
	}
	if got := n.get(t, "www.shop.test", "/2"); got.Status != 503 {
		t.Errorf("status %d of a miss", got.Status)
	}
	if got := n.get(t, "bare.test", "/?q=<script>alert(1)</script>"); got.Status != 503 {
		t.Errorf("status %d: it was inspected", got.Status)
	}
}

// WebSockets, and answers that have gone on for long, count no more among a tenant's requests.
func TestLongConversationsTakeNoPlaceOfTheTenant(t *testing.T) {
	t.Parallel()
	b, sockets := newBusyBackend(t), edgetest.NewBackend(t)
	n := start(t, owned(b.URL, "shop a.test")+"  ws.test:\n    tenant: shop\n    backends: ["+sockets.URL+"]\n", withPlaces(1, -1, time.Minute))
	ws := edgetest.Dial(t, n.http)
	ws.UpgradeWebSocket("ws.test", "/ws")
	ws.WebSocketEcho("hello")
	stream := n.send(t, "a.test", "/stream")
	buf := make([]byte, 1)
	for got := ""; !strings.Contains(got, "first"); got += string(buf) {
		if _, err := stream.Read(buf); err != nil {
			t.Fatal(err)
		}
	}
	p := n.placesOf(t, "a.test")
	if p.busy.Load() != 1 {
		t.Errorf("%d places are taken, want that of the stream", p.busy.Load())
	}
	look := func(answered time.Time) { // as if all answers had begun then
		n.waiters.each(func(w *waiting) {
			if b, ok := w.who.(*outbound); ok && b.answeredAt.Load() != 0 {
				b.answeredAt.Store(answered.UnixNano())
			}
		})
		n.waiters.look()
	}
	look(time.Now().Add(time.Hour))
	if got := n.get(t, "a.test", "/quick"); got.Status != 503 {
		t.Errorf("status %d beside a stream that has just begun", got.Status)
	}
	look(time.Now().Add(-longAnswer))
	if got := n.get(t, "a.test", "/quick"); got.Status != 200 {
		t.Errorf("status %d beside a stream that has gone on for long", got.Status)
	}
	ws.WebSocketEcho("still")
	close(b.let)
	edgetest.WaitFor(t, "all places to be given back", func() bool { return p.busy.Load() == 0 })
}

// A backend never has more than its vhost says, whoever asks and however; where another has room, that is asked.
func TestABackendWithItsOwnConcurrency(t *testing.T) {
	t.Parallel()
	one, two := newBusyBackend(t), newBusyBackend(t)
	limited := func(b *busyBackend) string { return fmt.Sprintf("{url: %q, concurrency: 2}", b.URL) }
	n := start(t, shopSite(limited(one)+", "+limited(two))+"  also.test:\n    tenant: shop\n    backends: ["+limited(one)+", "+limited(two)+"]\n", withPlaces(100, 1, time.Minute))
	var conns []*edgetest.RawConn
	for i := range 4 {
		conns = append(conns, n.send(t, []string{"www.shop.test", "also.test"}[i%2], "/"))
		edgetest.WaitFor(t, "it to be asked", func() bool { return one.has.Load()+two.has.Load() == int64(i+1) })
	}
	conns = append(conns, n.send(t, "www.shop.test", "/waits"))
	st := n.table.Match("www.shop.test").Compiled().(*site)
	edgetest.WaitFor(t, "one to wait", func() bool {
		waits := int64(0)
		for _, p := range st.limited {
			waits += p.waits.Load()
		}
		return waits == 1
	})
	close(one.let)
	close(two.let)
	for _, c := range conns {
		if got := c.Receive("GET"); got.Status != 200 {
			t.Errorf("status %d", got.Status)
		}
	}
	if one.most.Load() != 2 || two.most.Load() != 2 {
		t.Errorf("%d and %d at a time, want 2", one.most.Load(), two.most.Load())
	}
	for b, p := range st.limited {
		edgetest.WaitFor(t, "places at "+b.String()+" to be given back", func() bool { return p.busy.Load() == 0 })
	}
}

// Requests that wait for a backend's own places leave those of their tenant to his other sites, and take them again before they go on.
func TestWhoWaitsForABackendHoldsNoPlaceOfTheTenant(t *testing.T) {
	t.Parallel()
	slow, other := newBusyBackend(t), newBusyBackend(t)
	n := start(t, owned(fmt.Sprintf("{url: %q, concurrency: 1}", slow.URL), "shop slow.test")+
		"  other.test:\n    tenant: shop\n    backends: ["+other.URL+"]\n", withPlaces(2, 2, time.Minute))
	tenant := n.placesOf(t, "slow.test")
	conns := []*edgetest.RawConn{n.send(t, "slow.test", "/1")}
	slow.waitFor(t, 1)
	for i := range 2 {
		conns = append(conns, n.send(t, "slow.test", "/waits"))
		edgetest.WaitFor(t, "it to wait", func() bool { return tenant.away.Load() == int64(i+1) && tenant.busy.Load() == 1 })
	}
	if got := n.get(t, "slow.test", "/one-too-many"); got.Status != 503 || got.Header.Get("Retry-After") == "" {
		t.Errorf("status %d where as many wait as may", got.Status)
	}
	if got := n.get(t, "other.test", "/quick"); got.Status != 200 {
		t.Errorf("status %d of another site of the tenant", got.Status)
	}
	conns = append(conns, n.send(t, "other.test", "/2"))
	other.waitFor(t, 1)
	conns = append(conns, n.send(t, "other.test", "/3")) // waits for the tenant's place
	n.waitQueue(t, "other.test", 1)
	slow.let <- struct{}{} // one of those who wait there has its place, and waits for the tenant's
	edgetest.WaitFor(t, "it to have left", func() bool { return tenant.away.Load() == 1 })
	close(slow.let)
	close(other.let)
	for _, c := range conns {
		if got := c.Receive("GET"); got.Status != 200 {
			t.Errorf("status %d", got.Status)
		}
	}
	if slow.most.Load() != 1 {
		t.Errorf("%d requests at a time at the backend, want 1", slow.most.Load())
	}
	backend := n.table.Match("slow.test").Compiled().(*site).limited
	edgetest.WaitFor(t, "all places to be given back", func() bool {
		for _, p := range backend {
			if p.busy.Load() != 0 || p.waits.Load() != 0 {
				return false
			}
		}
		return tenant.busy.Load() == 0 && tenant.away.Load() == 0 && tenant.waits.Load() == 0
	})
}

// The wait for a backend and the one for the tenant's place behind it take no longer together than one may, and nothing is kept.
func TestTheWaitsOfARequestAreBoundedTogether(t *testing.T) {
	t.Parallel()
	slow, other := newBusyBackend(t), newBusyBackend(t)
	n := start(t, owned(fmt.Sprintf("{url: %q, concurrency: 1}", slow.URL), "shop slow.test")+
		"  other.test:\n    tenant: shop\n    backends: ["+other.URL+"]\n", withPlaces(1, 5, 300*time.Millisecond))
	n.placesOf(t, "other.test") // makes its site, which says how many places there are
	tenant := n.placesOf(t, "slow.test")
	tenant.bound(2)
	n.send(t, "slow.test", "/1")
	slow.waitFor(t, 1)
	begun := time.Now()
	waits := n.send(t, "slow.test", "/waits")
	edgetest.WaitFor(t, "it to wait", func() bool { return tenant.away.Load() == 1 })
	n.send(t, "other.test", "/2")
	other.waitFor(t, 1)
	tenant.bound(1)
	close(slow.let) // the backend has a place, and the tenant none
	if got := waits.Receive("GET"); got.Status != 503 {
		t.Errorf("status %d", got.Status)
	}
	if took := time.Since(begun); took < 300*time.Millisecond {
		t.Errorf("refused after %v", took)
	}
	for _, p := range n.table.Match("slow.test").Compiled().(*site).limited {
		edgetest.WaitFor(t, "the backend's place to be given back", func() bool { return p.busy.Load() == 0 })
	}
	if tenant.away.Load() != 0 || tenant.waits.Load() != 0 {
		t.Errorf("%d are away and %d wait", tenant.away.Load(), tenant.waits.Load())
	}
}

// A WebSocket keeps its place at such a backend: it holds a worker there.
func TestAWebSocketTakesAPlaceAtABackendWithItsOwnConcurrency(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	n := start(t, shopSite("{url: "+b.URL+", concurrency: 1}"), withPlaces(100, -1, time.Minute))
	ws := edgetest.Dial(t, n.http)
	ws.UpgradeWebSocket("www.shop.test", "/ws")
	if got := n.get(t, "www.shop.test", "/"); got.Status != 503 {
		t.Errorf("status %d beside a WebSocket", got.Status)
	}
	ws.Close()
	edgetest.WaitFor(t, "its place to be free", func() bool { return n.get(t, "www.shop.test", "/").Status == 200 })
}

// A change of a tenant's document acts on requests that wait.
func TestATenantGetsMorePlaces(t *testing.T) {
	t.Parallel()
	b := newBusyBackend(t)
	n := start(t, owned(b.URL, "shop a.test"), withPlaces(1, 5, time.Minute))
	n.send(t, "a.test", "/1")
	b.waitFor(t, 1)
	n.send(t, "a.test", "/2")
	n.waitQueue(t, "a.test", 1)
	n.apply(t, "tenants:\n  shop: {concurrency: 2}\n")
	n.placesOf(t, "a.test") // as the next request does, compiles the site anew
	b.waitFor(t, 2)
}

// flood has clients ask for host as fast as they are answered, until stop.
func flood(n *node, host string, clients int) (stop func() (answers map[int]int)) {
	over := make(chan struct{})
	var mu sync.Mutex
	var wg sync.WaitGroup
	answers := map[int]int{}
	for range clients {
		wg.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			tick := time.NewTicker(20 * time.Millisecond) // 50 requests a second each, answered or refused
			defer tick.Stop()
			for {
				select {
				case <-over:
					return
				case <-tick.C:
				}
				status := 0
				if resp, err := hostGet(client, n.http, host); err == nil {
					if status = resp.StatusCode; status == 503 && resp.Header.Get("Retry-After") == "" {
						status = -503
					}
				}
				mu.Lock()
				answers[status]++
				mu.Unlock()
			}
		})
	}
	return func() map[int]int { close(over); wg.Wait(); return answers }
}

func hostGet(client *http.Client, addr, host string) (*http.Response, error) {
	req, err := http.NewRequest(http.MethodGet, "http://"+addr+"/", http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Host = host
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return resp, closing(err, resp.Body)
}

func closing(err error, c io.Closer) error {
	if closed := c.Close(); err == nil {
		err = closed
	}
	return err
}

// slowWorkers answers after a time, so many requests at once: the rest waits, as with a pool of workers.
func slowWorkers(t testing.TB, workers int, each time.Duration) *edgetest.Backend {
	free := make(chan struct{}, workers)
	return edgetest.NewBackendWith(t, edgetest.BackendOptions{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		free <- struct{}{}
		time.Sleep(each) // the work
		<-free
		_, _ = io.WriteString(w, "done")
	})})
}

// took returns how long requests of one client took, the longest last.
func took(t testing.TB, n *node, host string, requests int) []time.Duration {
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	var all []time.Duration
	for range requests {
		begun := time.Now()
		resp, err := hostGet(client, n.http, host)
		if err != nil || resp.StatusCode != 200 {
			t.Errorf("%s: %v, %v", host, resp, err)
		}
		all = append(all, time.Since(begun))
	}
	slices.Sort(all)
	return all
}

const (
	floodDoc = "tenants:\n  flooded: {concurrency: 4}\nvhosts:\n" +
		"  flooded.test: {tenant: flooded, waf: {mode: 'off'}, backends: [%s]}\n  quiet.test: {tenant: quiet, waf: {mode: 'off'}, backends: [%s]}\n"
	floodClients = 32 // some 800 requests a second and more, where 4 workers of 50 ms can answer 80
)

// A tenant beyond his capacity is told to come back later; no request of another waits for one of his. What that costs him, BenchmarkNeighbourOfAFlood
// says.
func TestAFloodedTenantLeavesOthersAlone(t *testing.T) {
	t.Parallel()
	const held, waiting = 4, 4
	stuck, quick := newBusyBackend(t), edgetest.NewBackend(t)
	n := start(t, fmt.Sprintf(floodDoc, stuck.URL, quick.URL), withPlaces(256, waiting, time.Minute))
	stop := flood(n, "flooded.test", held+waiting+4)
	stuck.waitFor(t, held)
	n.waitQueue(t, "flooded.test", waiting)
	edgetest.WaitFor(t, "the tenant to be refused", func() bool { return strings.Contains(n.log.String(), "requests are refused") })
	const asked = 50
	took(t, n, "quiet.test", asked) // each is answered 200, though none of the other's ends
	if got := quick.Deliveries("/"); got != asked {
		t.Errorf("%d requests of the quiet tenant were delivered, want %d", got, asked)
	}
	if has, waits, all := stuck.has.Load(), n.placesOf(t, "flooded.test").waits.Load(), stuck.Deliveries("/"); has != held || waits != waiting || all != held {
		t.Errorf("of the flooded tenant %d requests are held, %d wait and %d were delivered", has, waits, all)
	}
	close(stuck.let)
	edgetest.WaitFor(t, "the tenant to be answered", func() bool {
		return strings.Contains(n.access.String(), `"host":"flooded.test","method":"GET","target":"/","proto":"HTTP/1.1","status":200`)
	})
	answers := stop()
	if answers[200] == 0 || answers[503] == 0 || answers[200]+answers[503] != total(answers) {
		t.Errorf("the flooded tenant's answers by status: %v", answers)
	}
}

func total(of map[int]int) (sum int) {
	for _, n := range of {
		sum += n
	}
	return sum
}

// BenchmarkNeighbourOfAFlood is how long one tenant's requests take beside another at ten times his capacity, and alone.
func BenchmarkNeighbourOfAFlood(b *testing.B) {
	for _, c := range []struct {
		name    string
		clients int
	}{{"alone", 0}, {"beside", floodClients}} {
		b.Run(c.name, func(b *testing.B) {
			slow, quick := slowWorkers(b, 4, 50*time.Millisecond), slowWorkers(b, 100, 5*time.Millisecond)
			n := start(b, fmt.Sprintf(floodDoc, slow.URL, quick.URL), withPlaces(256, 8, 100*time.Millisecond))
			stop := flood(n, "flooded.test", c.clients)
			took(b, n, "quiet.test", 20)
			b.ResetTimer()
			all := took(b, n, "quiet.test", b.N)
			b.StopTimer()
			answers := stop()
			b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1000, "p99-ms")
			b.ReportMetric(float64(answers[200]), "flood-200")
			b.ReportMetric(float64(answers[503]), "flood-503")
		})
	}
}
