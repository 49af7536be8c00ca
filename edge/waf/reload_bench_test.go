package waf

import (
	"slices"
	"sync"
	"testing"
	"time"

	wafrules "gatehouse/waf-rules"
)

// What a reload does to requests beside it, on this machine: a page's worth of fields is inspected every
// 10 ms, as two clients would send them, in turns of three reloads and of as much time without any. A
// request's time runs from when it was due, so that waiting for a processor counts.
//
//	go test -tags coraza.no_memoize -run '^$' -bench BesideReloads -benchtime 5x ./edge/waf
func BenchmarkRequestsBesideReloads(b *testing.B) {
	e, err := withGate(New(Options{}))
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	dir := copyOfCRS(b)
	sets := make([]*wafrules.Set, 2)
	for i := range sets {
		appendTo(b, dir, "rules/REQUEST-999-COMMON-EXCEPTIONS-AFTER.conf", "# another digest\n")
		if sets[i], err = wafrules.FromDir(dir); err != nil {
			b.Fatal(err)
		}
	}
	var quiet, beside []time.Duration
	var reloads time.Duration
	n := 0
	for b.Loop() {
		began := time.Now()
		beside = append(beside, e.sampled(func() {
			for range 3 {
				n++
				if changed, err := e.Reload(func() (*wafrules.Set, error) { return sets[n%2], nil }); err != nil || !changed {
					b.Error(changed, err)
				}
			}
		})...)
		took := time.Since(began)
		reloads += took / 3
		quiet = append(quiet, e.sampled(func() { time.Sleep(took) })...)
	}
	slices.Sort(quiet)
	slices.Sort(beside)
	for name, share := range map[string]int{"p50": 50, "p99": 99} {
		q, r := quiet[len(quiet)*share/100], beside[len(beside)*share/100]
		b.ReportMetric(float64(q.Microseconds())/1000, name+"-quiet-ms")
		b.ReportMetric(float64(r.Microseconds())/1000, name+"-reloading-ms")
		b.ReportMetric(float64(r)/float64(q), name+"-ratio")
	}
	b.ReportMetric(float64(reloads.Milliseconds())/float64(b.N), "ms/reload")
	b.ReportMetric(0, "ns/op")
}

// sampled returns how long requests took while f ran.
func (e *Engine) sampled(f func()) []time.Duration {
	const every = 10 * time.Millisecond
	profile, usual := &Profile{Mode: Block}, usualGET()
	var mu sync.Mutex
	var all []time.Duration
	var group sync.WaitGroup
	done := make(chan struct{})
	for range 2 {
		group.Go(func() {
			for due := time.Now(); ; due = due.Add(every) {
				time.Sleep(time.Until(due))
				select {
				case <-done:
					return
				default:
				}
				inspect(e, profile, usual)
				took := time.Since(due)
				mu.Lock()
				all = append(all, took)
				mu.Unlock()
			}
		})
	}
	f()
	close(done)
	group.Wait()
	return all
}
