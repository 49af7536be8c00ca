package e2e

import (
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
)

// A backend that closes its idle connections between the POSTs of several clients
// costs none of them: a connection is looked at before it is used.
func TestFaultBackendClosesIdleConnectionsUnderPOSTs(t *testing.T) {
	t.Parallel()
	const clients, rounds, burst = 4, 10, 5 // 200 POSTs
	b := edgetest.NewBackend(t)
	n, _ := site(t, []string{b.URL})
	visitors := make([]*visitor, clients)
	for i := range visitors {
		visitors[i] = &visitor{address: n.http, host: "www.shop.test", limit: 20 * time.Second}
		defer visitors[i].close()
	}
	var failed atomic.Int64
	for round := range rounds {
		var all sync.WaitGroup
		for i, v := range visitors {
			all.Go(func() {
				for j := range burst {
					if status, _, err := v.post(fmt.Sprintf("/r%d-%d-%d", round, i, j), "an order"); status != 200 || err != nil {
						failed.Add(1)
						t.Logf("round %d: %d, %v", round, status, err)
					}
				}
			})
		}
		all.Wait()
		b.CloseConnections()
	}
	if failed.Load() > 0 {
		t.Errorf("%d of 200 POSTs were lost", failed.Load())
	}
	if got := b.Deliveries(""); got != clients*rounds*burst {
		t.Errorf("%d deliveries of %d POSTs", got, clients*rounds*burst)
	}
}

// One of two backends restarts, again and again, all its connections cut. No GET
// fails: each may go to the other backend as long as nothing was answered. A POST
// fails only if it was under way at the moment of the cut, and none is delivered
// twice.
func TestFaultBackendRestartsUnderLoad(t *testing.T) {
	t.Parallel()
	const clients = 3       // as many retries as are always allowed at a time
	rounds := scaled(2, 10) // a refused backend rests for seconds in between
	for _, method := range []string{"GET", "POST"} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			var inA atomic.Int64
			a := startUnhurried(t, &inA)
			b := startUnhurried(t, new(atomic.Int64))
			n, _ := site(t, []string{a.URL, b.URL})
			var asked, failed atomic.Int64
			stop := make(chan struct{})
			var all sync.WaitGroup
			for i := range clients {
				all.Go(func() {
					v := &visitor{address: n.http, host: "www.shop.test", limit: 20 * time.Second}
					defer v.close()
					for j := 0; ; j++ {
						select {
						case <-stop:
							return
						default:
						}
						body := ""
						if method == "POST" {
							body = "an order"
						}
						asked.Add(1)
						status, took, err := v.ask(fmt.Sprintf("%s /c%d/%d/ HTTP/1.1\r\nHost: www.shop.test\r\nContent-Length: %d\r\n\r\n%s", method, i, j, len(body), body))
						if status != 200 || err != nil {
							failed.Add(1)
							t.Logf("%s: %d, %v after %v", method, status, err, took)
						}
					}
				})
			}
			for range rounds {
				more := func(count int64) {
					done := asked.Load() + count
					edgetest.WaitFor(t, "more requests", func() bool { return asked.Load() >= done })
				}
				more(50)
				edgetest.WaitFor(t, "a request to be under way there", func() bool { return inA.Load() > 0 })
				a.Stop()
				more(50)
				a.Start()
			}
			close(stop)
			all.Wait()
			allowed := int64(0)
			if method == "POST" {
				allowed = int64(clients * rounds)
			}
			t.Logf("%d restarts: %d of %d failed", rounds, failed.Load(), asked.Load())
			if failed.Load() > allowed {
				t.Errorf("%d of %d failed in %d restarts, want %d at most", failed.Load(), asked.Load(), rounds, allowed)
			}
			if method == "POST" {
				wantNoneTwice(t, a, b)
			}
		})
	}
}

// startUnhurried starts a backend that takes long enough for a cut to find
// requests under way; under counts them.
func startUnhurried(t *testing.T, under *atomic.Int64) *edgetest.Backend {
	t.Helper()
	return edgetest.NewBackendWith(t, edgetest.BackendOptions{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		under.Add(1)
		defer under.Add(-1)
		_, _ = io.Copy(io.Discard, r.Body)
		<-time.After(10 * time.Millisecond)
		_, _ = io.WriteString(w, "done\n")
	})})
}

func wantNoneTwice(t *testing.T, backends ...*edgetest.Backend) {
	t.Helper()
	seen := map[string]int{}
	for _, b := range backends {
		for _, r := range b.Requests() {
			if seen[r.Target]++; seen[r.Target] > 1 {
				t.Errorf("%s %s was delivered %d times", r.Method, r.Target, seen[r.Target])
			}
		}
	}
}
