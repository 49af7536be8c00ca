package edge

import (
	"bufio"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
)

// firstAndLast sends a GET and returns how long the first byte of the body and the end took.
func firstAndLast(t testing.TB, addr, target string) (first, last time.Duration) {
	c := edgetest.Dial(t, addr)
	begun := time.Now()
	c.Send(head("GET", "www.shop.test", target, "Connection: close") + "\r\n")
	r := bufio.NewReader(c)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Error(err)
			return
		}
		if line == "\r\n" {
			break
		}
	}
	if _, err := r.ReadByte(); err != nil {
		t.Error(err)
	}
	first = time.Since(begun)
	for {
		if _, err := r.ReadByte(); err != nil {
			break
		}
	}
	return first, time.Since(begun)
}

// BenchmarkCollapse is what many clients of one URL get, as peers were measured: of a cold page that takes the backend a second, of
// one that cannot be shared (0.3 s), of a download of two seconds that they join half a second after it began, and of a stale
// page while it is asked for anew. It reports requests to the backend, and the longest first byte and end in milliseconds.
//
//	go test -tags coraza.no_memoize -run '^$' -bench Collapse -benchtime 1x ./edge
func BenchmarkCollapse(b *testing.B) {
	asked := atomic.Int32{}
	backend := edgetest.NewBackendWith(b, edgetest.BackendOptions{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mine := asked.Add(1)
		switch r.URL.Path[:5] {
		case "/cold":
			time.Sleep(time.Second)
			w.Header().Set("Cache-Control", "max-age=60")
		case "/priv":
			time.Sleep(300 * time.Millisecond)
			w.Header().Set("Cache-Control", "private, no-store")
		case "/drip":
			w.Header().Set("Cache-Control", "max-age=60")
			for range 20 {
				_, _ = w.Write(make([]byte, 1000))
				w.(http.Flusher).Flush()
				time.Sleep(100 * time.Millisecond)
			}
		case "/stal":
			w.Header().Set("Cache-Control", "max-age=10, stale-while-revalidate=60")
			if mine == 1 {
				w.Header().Set("Age", "15")
			} else {
				time.Sleep(time.Second)
			}
		}
		_, _ = fmt.Fprint(w, "page")
	})})
	n := start(b, shopSite(backend.URL, "cache: {enabled: true}"))
	for _, c := range []struct {
		name    string
		clients int
		lead    time.Duration // by which one comes before the others
	}{{"cold", 100, 0}, {"private", 100, 0}, {"private/again", 100, 0}, {"drip", 20, 500 * time.Millisecond}, {"stale", 50, 0}} {
		b.Run(c.name, func(b *testing.B) {
			var mu sync.Mutex
			var first, last time.Duration
			for i := range b.N {
				target := fmt.Sprintf("/%s/%d", strings.TrimSuffix(c.name, "/again"), i)
				asked.Store(0)
				if c.name == "stale" {
					n.get(b, "www.shop.test", target)
				}
				var all sync.WaitGroup
				if c.lead > 0 {
					all.Go(func() { firstAndLast(b, n.http, target) })
					time.Sleep(c.lead)
				}
				for range c.clients {
					all.Go(func() {
						f, l := firstAndLast(b, n.http, target)
						mu.Lock()
						first, last = max(first, f), max(last, l)
						mu.Unlock()
					})
				}
				all.Wait()
			}
			b.ReportMetric(float64(asked.Load()), "asked")
			b.ReportMetric(float64(first.Milliseconds()), "first-ms")
			b.ReportMetric(float64(last.Milliseconds()), "last-ms")
			b.ReportMetric(0, "ns/op")
		})
	}
}
