package edge

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"gatehouse/edge/balance"
	"gatehouse/internal/edgetest"
)

// mostlyDead is a shop of so many backends, all but one of them dead.
func mostlyDead(t *testing.T, count int, settings ...string) *node {
	t.Helper()
	backends, urls := named(t, count)
	n := start(t, shopSite(urls, settings...))
	for _, b := range backends[1:] {
		b.Stop()
	}
	return n
}

// askAll has so many clients ask for requests pages in all, and fails for each answer that is not 200.
func (n *node) askAll(t *testing.T, clients, requests int, method string) {
	t.Helper()
	var wg sync.WaitGroup
	for range clients {
		c := edgetest.Dial(t, n.http)
		wg.Go(func() {
			failed := 0
			for i := range requests / clients {
				c.Send(head(method, "www.shop.test", fmt.Sprintf("/page%d", i), "Content-Length: 5") + "\r\norder")
				got, err := c.TryReceive(method)
				if err != nil {
					t.Error(err)
					return
				}
				if got.Status != 200 {
					failed++
				}
			}
			if failed > 0 {
				t.Errorf("%d of %d %ss failed", failed, requests/clients, method)
			}
		})
	}
	wg.Wait()
}

// While one backend of several is well, nobody notices that more than half of them are dead: health is doubted then, and requests go to
// those that are out, too. `make faults` asks a thousand times.
func TestMoreThanHalfDeadIsNoticedByNobody(t *testing.T) {
	requests := 200
	if os.Getenv("GATEHOUSE_FAULTS") == "full" { // `make faults` runs
		requests = 1000
	}
	for _, count := range []int{3, 4} {
		for _, policy := range []string{"p2c", "round_robin", "hash_ip", "hash_path_segment"} {
			t.Run(fmt.Sprint(policy, " ", count), func(t *testing.T) {
				t.Parallel()
				n := mostlyDead(t, count, "balance: "+policy)
				n.askAll(t, 1, requests, "GET")
				n.askAll(t, 10, requests, "GET") // more at a time than the budget has room for
				n.askAll(t, 1, 50, "POST")       // nothing was sent
				if taken, refused := n.retries(t, "taken"), n.retries(t, "refused"); taken+refused != 0 {
					t.Errorf("%v retries, %v refused", taken, refused)
				}
			})
			t.Run(fmt.Sprint(policy, " ", count, " with checks"), func(t *testing.T) {
				t.Parallel()
				n := mostlyDead(t, count, "balance: "+policy, "health: {path: /healthz, interval: 1s, rise: 1, fall: 1}")
				n.checkAll(t)
				edgetest.WaitFor(t, "checks", func() bool { return n.Prober().Down() == count-1 })
				n.askAll(t, 1, requests, "GET")
				if unsent := n.retries(t, "unsent"); unsent != 0 {
					t.Errorf("%v requests went to a backend that is known to be down", unsent)
				}
			})
		}
	}
}

// The log says once that a backend is back, however many requests it then answers.
func TestTheLogSaysThatABackendIsBack(t *testing.T) {
	t.Parallel()
	backends, urls := named(t, 4)
	n := start(t, shopSite(urls, "balance: round_robin"))
	for _, b := range backends[1:] { // so many that nobody has to wait for the end of an ejection
		b.Stop()
	}
	n.askAll(t, 1, 20, "GET")
	if log := n.log.String(); strings.Count(log, "backend ejected") != 3 || strings.Contains(log, "backend is back") {
		t.Fatal(log)
	}
	for _, b := range backends[1:] {
		b.Start()
	}
	n.askAll(t, 4, 100, "GET")
	log := n.log.String()
	// With one back half are out, and health counts again: the others may have to wait for the end of their ejections.
	if back := strings.Count(log, "backend is back"); back < 1 || back > 3 {
		t.Errorf("%d are said to be back: %s", back, log)
	}
}

// Where nearly all are taken to be out, and are not, the one that is left does not get all: requests are spread, and an answer brings a backend back.
func TestRequestsAreSpreadWhereMostSeemToBeOut(t *testing.T) {
	backends, urls := named(t, 4)
	n := start(t, shopSite(urls, "balance: round_robin"))
	n.who(t, "www.shop.test", "/")
	for _, m := range n.members() {
		a := n.table.Match("www.shop.test").Compiled().(*site).pool.Begin(m)
		a.Report(balance.Unreachable)
		a.Done()
	}
	n.askAll(t, 1, 100, "GET")
	busy := 0
	for _, b := range backends {
		if b.Deliveries("") >= 20 {
			busy++
		}
	}
	if busy < 2 {
		t.Errorf("%d of four do the work", busy)
	}
}

// What is passed on since nobody took it is delivered as often as ever: once more, where that is harmless.
func TestPassingOnAddsNoDelivery(t *testing.T) {
	var deliveries atomic.Int64
	dying := func() string {
		return edgetest.NewBackendWith(t, edgetest.BackendOptions{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			deliveries.Add(1)
			panic(http.ErrAbortHandler)
		})}).URL
	}
	dead, urls := named(t, 3)
	n := start(t, shopSite(urls+", "+dying()+", "+dying()+", "+dying(), "waf: {mode: off}"))
	for _, b := range dead {
		b.Stop()
	}
	for method, most := range map[string]int64{"GET": 2, "POST": 1} {
		for range 20 {
			before := deliveries.Load()
			got := edgetest.Dial(t, n.http).Do(method, head(method, "www.shop.test", "/", "Content-Length: 5")+"\r\norder")
			if d := deliveries.Load() - before; d < 1 || d > most || got.Status != 502 {
				t.Errorf("%s: status %d, delivered %d times", method, got.Status, d)
			}
		}
	}
}
