package edge

import (
	"io"
	"math"
	"testing"
	"time"
)

// The budgets: the most allocations that one request may cost, on each path through
// the whole chain and in each link alone. They are what was measured when they were
// set, so that whoever adds one sees it here and not in a profile a year later: each
// is work for the collector, paid by all tenants. A change that saves some lowers its number.
// BenchmarkChain and BenchmarkLink show the same with times and bytes.
const (
	allocsPass1K   = 2
	allocsPass100K = 2
	allocsHit1K    = 2
	allocsHit100K  = 2
	allocsUnknown  = 49 // the error page's template
	allocsWAF      = 70 // the gate's: no rule runs

	// The TLS layer makes one object for each record that it reads, on both ends.
	allocsPass1KTLS   = 4
	allocsPass100KTLS = 11 // the client takes the answer in as many reads as it comes in
	allocsHit1KTLS    = 4
	allocsHit100KTLS  = 12
	allocsUnknownTLS  = 51
	allocsWAFTLS      = 70

	allocsObserve          = 0
	allocsFinishBody       = 0
	allocsErrorPages       = 0
	allocsErrorPages404    = 43
	allocsSelectVhost      = 0
	allocsAllowAddress     = 0
	allocsLimitRate        = 0
	allocsShedLoad         = 0
	allocsInspectOff       = 0
	allocsInspectDetect    = 3050
	allocsInspectAnswer    = 3800 // with the request's inspection, without which there is none
	allocsCompressOff      = 0
	allocsCompressOn       = 3 // the stream, and what gives the encoder back
	allocsCacheOff         = 0
	allocsCacheHit         = 0
	allocsCacheMiss        = 1
	allocsCacheStored      = 19 // one of them the benchmark's, for a new target
	allocsInspectAnswerOff = 0
	allocsForward          = 0

	allocsAccessLine = 0 // in each format, of a request whose texts need no quoting
)

// A budget is what a path may cost on plain connections and on TLS, or a link alone.
type budget struct{ plain, tls float64 }

var pathBudgets = map[string]budget{
	"pass1k":   {allocsPass1K, allocsPass1KTLS},
	"pass100k": {allocsPass100K, allocsPass100KTLS},
	"hit1k":    {allocsHit1K, allocsHit1KTLS},
	"hit100k":  {allocsHit100K, allocsHit100KTLS},
	"unknown":  {allocsUnknown, allocsUnknownTLS},
	"waf":      {allocsWAF, allocsWAFTLS},
}

var linkBudgets = map[string]float64{
	"observe":               allocsObserve,
	"finishBody":            allocsFinishBody,
	"errorPages":            allocsErrorPages,
	"errorPages/404":        allocsErrorPages404,
	"selectVhost":           allocsSelectVhost,
	"allowAddress":          allocsAllowAddress,
	"limitRate/off":         allocsLimitRate,
	"limitRate/on":          allocsLimitRate,
	"shedLoad":              allocsShedLoad,
	"inspectRequest/off":    allocsInspectOff,
	"inspectRequest/detect": allocsInspectDetect,
	"compress/off":          allocsCompressOff,
	"compress/on":           allocsCompressOn,
	"serveCached/off":       allocsCacheOff,
	"serveCached/hit":       allocsCacheHit,
	"serveCached/miss":      allocsCacheMiss,
	"serveCached/stored":    allocsCacheStored,
	"inspectResponse/off":   allocsInspectAnswerOff,
	"inspectResponse/on":    allocsInspectAnswer,
	"forward":               allocsForward,
}

// withinBudget runs f so often that what belongs to no single request (a collection
// that empties pools, the access log's timer) is rounded off. The least of three tries
// counts: what a request itself allocates is in all of them, a collection at the wrong
// time is not.
func withinBudget(t *testing.T, budget float64, f func() error) {
	t.Helper()
	runs := 500
	if budget > 1000 {
		runs = 30 // milliseconds each
	}
	var failed error
	got := math.Inf(1)
	for try := 0; try < 3 && got > budget; try++ {
		got = min(got, testing.AllocsPerRun(runs, func() {
			if err := f(); err != nil {
				failed = err
			}
		}))
		if failed != nil {
			t.Fatal(failed)
		}
	}
	t.Logf("%v allocations of %v", got, budget)
	if got > budget {
		t.Errorf("%v allocations per request; the budget at the top of this file is %v", got, budget)
	}
}

func TestAllocationsOfAWholeRequest(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates; make norace runs this without it")
	}
	backend := newFixedBackend(t)
	n, ca := startBenchTLS(t, backend.url)
	for _, p := range paths {
		budget, ok := pathBudgets[p.name]
		if !ok {
			t.Errorf("%s has no budget", p.name)
			continue
		}
		t.Run(p.name+"/plain", func(t *testing.T) {
			c := p.client(t, n, nil)
			withinBudget(t, budget.plain, func() error { _, err := c.do(); return err })
		})
		t.Run(p.name+"/tls", func(t *testing.T) {
			c := p.client(t, n, ca)
			withinBudget(t, budget.tls, func() error { _, err := c.do(); return err })
		})
	}
}

func TestAllocationsOfAnAccessLine(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates; make norace runs this without it")
	}
	for _, format := range []string{FormatCombined, FormatJSON} {
		t.Run(format, func(t *testing.T) {
			log, err := NewAccessLog(io.Discard, format, nil)
			if err != nil {
				t.Fatal(err)
			}
			r := loggedRequest()
			withinBudget(t, allocsAccessLine, func() error { log.write(r, time.Millisecond); return nil })
			if err := log.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAllocationsOfEachLink(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates; make norace runs this without it")
	}
	for _, s := range steps() {
		t.Run(s.name, func(t *testing.T) {
			budget, ok := linkBudgets[s.name]
			if !ok {
				t.Fatal("it has no budget")
			}
			run := s.start(t)
			for range 10 { // the first ones fill pools, and the cache
				if err := run(); err != nil {
					t.Fatal(err)
				}
			}
			withinBudget(t, budget, run)
		})
	}
}

// A link without a benchmark has no budget either.
func TestEveryLinkHasABenchmark(t *testing.T) {
	s, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	benched := map[string]bool{}
	for _, s := range steps() {
		benched[s.link] = true
	}
	for _, l := range append(s.links(), link{name: "forward"}) {
		if !benched[l.name] {
			t.Errorf("%s has none", l.name)
		}
	}
}
