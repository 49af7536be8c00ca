package waf

import (
	"net/netip"
	"syscall"
	"testing"
	"time"

	"gatehouse/waf-rules/crstest"
)

// BenchmarkInspect is what one request costs, from Begin to Close, with what the edge asks at the end.
// cpu-µs/op is the processor time of the whole process, garbage collection included. "same" sends the same
// values each time, "unique" each value once; making these is in it, see BenchmarkBlank.
func BenchmarkInspect(b *testing.B) { benchmarkEngine(b, sharedEngine(b)) }

// BenchmarkInspectUngated is the same with all rules, and BenchmarkInspectStock with those of the engine as it comes.
func BenchmarkInspectUngated(b *testing.B) { benchmarkEngine(b, ungatedEngine(b)) }
func BenchmarkInspectStock(b *testing.B)   { benchmarkEngine(b, stock) }

func benchmarkEngine(b *testing.B, e *Engine) {
	for _, w := range workloads() {
		b.Run(w.name+"/same", func(b *testing.B) { benchmarkInspect(b, e, w, false) })
		b.Run(w.name+"/unique", func(b *testing.B) { benchmarkInspect(b, e, w, true) })
	}
}

// benchValues counts the values of all benchmarks, so that none has one that another left behind.
var benchValues uint64

func benchmarkInspect(b *testing.B, e *Engine, w workload, unique bool) {
	requests := make([]crstest.Request, len(w.blanks))
	for i, blank := range w.blanks {
		requests[i] = blank.fill(&benchValues)
	}
	// What is built at first use is no request's price, and what may be known of all of them is known.
	for i, start := 0, time.Now(); i < len(requests) && time.Since(start) < 2*time.Second; i++ {
		if refused := edgeInspects(b, e, requests[i]); i == 0 && refused != w.attack {
			b.Fatalf("refused: %t", refused)
		}
	}
	at, refused := 0, 0
	b.ReportAllocs()
	before := cpuTime(b)
	for b.Loop() {
		if unique {
			requests[at] = w.blanks[at].fill(&benchValues)
		}
		if edgeInspects(b, e, requests[at]) {
			refused++
		}
		if at++; at == len(requests) {
			at = 0
		}
	}
	if w.attack && refused < b.N || !w.attack && refused > 1+b.N/500 { // one new word of many may spell a command
		b.Fatalf("%d of %d were refused", refused, b.N)
	}
	b.ReportMetric(float64((cpuTime(b)-before).Nanoseconds())/1e3/float64(b.N), "cpu-µs/op")
}

var (
	benchProfile = &Profile{Mode: Block}
	benchClient  = netip.MustParseAddrPort("192.0.2.7:40000")
	benchServer  = netip.MustParseAddrPort("198.51.100.1:443")
)

// edgeInspects does with a request what the edge does, and reports whether it was refused.
func edgeInspects(tb testing.TB, e *Engine, r crstest.Request) bool {
	tx := e.Begin(benchProfile, "bench")
	defer tx.Close()
	tx.Connection(benchClient, benchServer)
	tx.Request(r.Method, r.Target, r.Proto, r.Host)
	for _, f := range r.Fields {
		tx.RequestHeader(f[0], f[1])
	}
	tx.RequestLength(int64(len(r.Body)))
	if tx.RequestHeaders() == nil {
		if len(r.Body) > 0 && tx.WantsBody() {
			tx.WriteRequestBody(r.Body)
		}
		tx.RequestBody(false)
	}
	score, matches, would := tx.Score(), tx.Matches(), tx.WouldBlock()
	refused := tx.Verdict() != nil
	if refused != would || refused != (score >= DefaultInboundThreshold) || refused && len(matches) == 0 || tx.Err() != nil {
		tb.Fatalf("%s: refused %t, would block %t, score %d, %+v, %v", r.Target, refused, would, score, matches, tx.Err())
	}
	return refused
}

// cpuTime is the processor time that the process has taken.
func cpuTime(tb testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkBlank is what it costs to make the values of a unique request.
func BenchmarkBlank(b *testing.B) {
	for _, w := range workloads() {
		b.Run(w.name, func(b *testing.B) {
			at := 0
			b.ReportAllocs()
			for b.Loop() {
				w.blanks[at].fill(&benchValues)
				if at++; at == len(w.blanks) {
					at = 0
				}
			}
		})
	}
}
