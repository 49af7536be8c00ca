package e2e

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
)

// A backend closes its idle connections at the very time at which clients send
// POSTs: it waits 20 ms for a request, and each client sends one every 15 to 25 ms.
// None is lost, and none is delivered twice. No look at a kept connection can do
// that: the backend may have made up its mind, or the request may be on its way.
func TestFaultBackendClosesIdleConnectionsUnderPOSTs(t *testing.T) {
	t.Parallel()
	const clients, each, body = 4, 50, "an order"
	var kept atomic.Int64
	b := scripted(t, func(c net.Conn, r *bufio.Reader, _ string) {
		_, _ = io.CopyN(io.Discard, r, int64(len(body)))
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		_ = c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		if _, err := r.Peek(1); err == nil {
			kept.Add(1)
			return
		}
		<-time.After(2 * time.Millisecond) // it is busy: what comes now is lost
		c.Close()
	})
	files := map[string]string{} // a site for each, and so a pool: in one they would keep each other's connections busy
	for i := range clients {
		files[fmt.Sprintf("%d.yaml", i)] = vhost(fmt.Sprintf("s%d.test", i), b.url, quick)
	}
	n := launch(t, "", files)
	var failed atomic.Int64
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			v := &visitor{address: n.http, host: fmt.Sprintf("s%d.test", i), limit: 20 * time.Second}
			defer v.close()
			pauses := rand.New(rand.NewPCG(uint64(i), 1))
			for j := range each {
				if status, _, err := v.post(fmt.Sprintf("/%d-%d", i, j), body); status != 200 || err != nil {
					failed.Add(1)
					t.Logf("POST %d of client %d: %d, %v", j, i, status, err)
				}
				if j%5 > 0 { // the fifth and the sixth make a pair, for which a kept connection is good
					<-time.After(15*time.Millisecond + time.Duration(pauses.Int64N(int64(10*time.Millisecond))))
				}
			}
		})
	}
	all.Wait()
	t.Logf("%d POSTs: %d lost, %d on kept connections", clients*each, failed.Load(), kept.Load())
	if kept.Load() == 0 {
		t.Error("no POST went over a kept connection: then the backend had nothing to close")
	}
	// A node that does not run for 10 ms beside other tests cannot keep its distance.
	if allowed := int64(scaled(2, 0)); failed.Load() > allowed {
		t.Errorf("%d of %d POSTs were lost, want %d at most", failed.Load(), clients*each, allowed)
	}
	seen := map[string]bool{}
	for _, line := range b.lines() {
		if seen[line] {
			t.Errorf("%q was delivered twice", line)
		}
		seen[line] = true
	}
	if lost := clients*each - len(seen); lost > int(failed.Load()) {
		t.Errorf("%d of %d POSTs were never delivered, and %d failed", lost, clients*each, failed.Load())
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
