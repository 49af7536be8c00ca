package overload

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A process is a runtime whose memory the test sets, and a cache in it. The unit
// is a thousandth of the limit.
type process struct {
	mu                           sync.Mutex
	live, garbage, other, mapped int64 // as they are; mapped 0: the sum
	cache                        int64 // part of live
	seen                         int64 // live at the last collection
	cycles                       uint64
	slow                         time.Duration // what a collection takes
	bound                        int64         // of the cache
	shrunk                       []float64
	grown                        int
}

const limit = 1000

func (p *process) read() usage {
	p.mu.Lock()
	defer p.mu.Unlock()
	u := usage{objects: p.live + p.garbage, live: p.seen, other: p.other, cycles: p.cycles}
	u.mapped = max(p.mapped, u.objects+u.other)
	return u
}

func (p *process) collect() {
	time.Sleep(p.slow) // in a bubble of synctest
	p.mu.Lock()
	defer p.mu.Unlock()
	p.garbage, p.seen = 0, p.live
	p.cycles++
}

func (p *process) Shrink(share float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shrunk = append(p.shrunk, share)
	keep := int64(float64(p.cache) * share)
	p.garbage += p.cache - keep
	p.live -= p.cache - keep
	p.cache, p.bound = keep, keep
}

func (p *process) Grow(bytes int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.grown++
	p.bound = min(p.bound+bytes, 400)
	return p.bound == 400
}

func (p *process) set(live, garbage int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.live, p.garbage = live, garbage
}

// told returns what the cache was told so far.
func (p *process) told() (shrunk []float64, grown int, bound int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.shrunk), p.grown, p.bound
}

// watch runs a Monitor over p inside a bubble and hands it to f.
func watch(t *testing.T, p *process, o Options, f func(m *Monitor)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		o.Limit = limit
		m, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		m.read, m.collect = p.read, p.collect
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() {
			if err := m.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		f(m)
		cancel()
		running.Wait()
		if m.Level() != Normal {
			t.Errorf("level %v after the end", m.Level())
		}
	})
}

// pass lets time go by.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func wantLevel(t *testing.T, m *Monitor, want Level) {
	t.Helper()
	if got := m.Level(); got != want {
		t.Errorf("level %v, want %v", got, want)
	}
}

// With a limit, garbage fills all the room there is. That is no pressure.
func TestGarbageUpToTheLimitIsNoPressure(t *testing.T) {
	p := &process{other: 100, live: 500}
	var changes int
	watch(t, p, Options{OnChange: func(Level) { changes++ }}, func(m *Monitor) {
		p.collect()
		for range 40 {
			for garbage := int64(0); garbage <= 400; garbage += 50 {
				p.set(500, garbage)
				pass(interval)
			}
			p.collect()
		}
	})
	if changes != 0 {
		t.Errorf("%d changes of level", changes)
	}
}

func TestABurstIsSeenAsSoonAsItIsCollected(t *testing.T) {
	p := &process{other: 100, live: 300}
	watch(t, p, Options{}, func(m *Monitor) {
		p.collect()
		pass(interval)
		wantLevel(t, m, Normal)
		p.set(870, 20) // within one sample; the runtime collects as it nears the limit
		p.collect()
		pass(interval)
		wantLevel(t, m, Shed)
	})
}

// A runtime that has no reason to collect would leave the figure as it was.
func TestAnOldFigureIsRenewedByACollection(t *testing.T) {
	p := &process{other: 100, live: 300}
	watch(t, p, Options{}, func(m *Monitor) {
		p.collect()
		pass(interval)
		p.set(800, 0)
		pass(stale + 2*interval)
		wantLevel(t, m, NoKeepAlive)
		p.set(200, 600) // it sheds, nobody allocates, nobody collects
		pass(stale + 2*interval)
		wantLevel(t, m, Normal)
	})
}

func TestSmallLimitsAreWatchedMoreClosely(t *testing.T) {
	for limit, want := range map[int64]time.Duration{1000: quick, 1 << 30: 50 * time.Millisecond, 64 << 30: interval} {
		if got := every(limit); got != want {
			t.Errorf("limit %d: every %v, want %v", limit, got, want)
		}
	}
}

func TestForcedCollectionsTakeATwentiethOfTheTimeAtMost(t *testing.T) {
	p := &process{other: 100, live: 800, slow: 2 * time.Second}
	watch(t, p, Options{}, func(*Monitor) { pass(210 * time.Second) })
	if p.cycles < 3 || p.cycles > 6 {
		t.Errorf("%d collections of 2 s in 210 s", p.cycles)
	}
}

func TestWhatIsMappedFarBeyondTheLimitCounts(t *testing.T) {
	p := &process{other: 100, live: 300, mapped: 1030}
	watch(t, p, Options{}, func(m *Monitor) {
		p.collect()
		pass(interval)
		wantLevel(t, m, Normal) // the runtime may lag behind a little
		p.mu.Lock()
		p.mapped = 1050
		p.mu.Unlock()
		pass(interval)
		wantLevel(t, m, Shed)
	})
}

func TestTheCacheHalvesAtShedUntilItIsEnoughAndGrowsBack(t *testing.T) {
	p := &process{other: 100, live: 880, cache: 400, bound: 400}
	var changes []Level
	watch(t, p, Options{Cache: p, OnChange: func(l Level) { changes = append(changes, l) }}, func(m *Monitor) {
		p.collect()
		pass(interval)
		if shrunk, _, _ := p.told(); len(shrunk) != 1 || shrunk[0] != 0.5 {
			t.Errorf("shrunk %v at once, want by half", shrunk)
		}
		wantLevel(t, m, Normal) // its collection has shown that it was enough
		pass(time.Minute)
		if shrunk, grown, _ := p.told(); len(shrunk) != 1 || grown != 0 {
			t.Errorf("shrunk %v, grown %d times at 78 %%", shrunk, grown)
		}
		p.set(600, 0)
		p.collect()
		pass(20 * time.Second)
		if _, _, bound := p.told(); bound <= 200 || bound > 300 {
			t.Errorf("bound %d after 20 s, want slow growth from 200", bound)
		}
		pass(time.Minute)
		_, grown, bound := p.told()
		if bound != 400 {
			t.Errorf("bound %d, want the setting", bound)
		}
		pass(time.Minute)
		if _, further, _ := p.told(); further != grown {
			t.Error("it grows beyond its setting")
		}
	})
	if len(changes) != 2 || changes[0] != Shed || changes[1] != Normal {
		t.Errorf("changes %v", changes)
	}
}

// What others hold cannot be had from the cache: it gives what it has, in turns.
func TestTheCacheGivesMoreAsLongAsThePressureStays(t *testing.T) {
	p := &process{other: 100, live: 890, cache: 10, bound: 400}
	watch(t, p, Options{Cache: p}, func(m *Monitor) {
		p.collect()
		pass(9 * time.Second)
		wantLevel(t, m, Shed)
		if shrunk, _, _ := p.told(); len(shrunk) < 4 || len(shrunk) > 6 {
			t.Errorf("shrunk %v in 9 s, want every 2 s", shrunk)
		}
	})
}

func TestTheCacheGivesWayBeforeConnectionsAreRefused(t *testing.T) {
	p := &process{other: 100, live: 760, cache: 400, bound: 400}
	watch(t, p, Options{Cache: p}, func(m *Monitor) {
		p.collect()
		pass(5 * time.Second)
		wantLevel(t, m, Normal)
	})
	for _, share := range p.shrunk {
		if share != 0.9 {
			t.Errorf("shrunk to %v below Shed", share)
		}
	}
	if len(p.shrunk) == 0 {
		t.Error("nothing was shrunk")
	}
}

func TestEveryChangeIsOneLineWithFigures(t *testing.T) {
	p := &process{other: 100, live: 870}
	var log strings.Builder
	watch(t, p, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}, func(m *Monitor) {
		p.collect()
		pass(interval)
		p.set(100, 0)
		p.collect()
		pass(interval)
	})
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], `level=WARN msg="memory pressure" now=shed was=normal used=970 limit=1000`) ||
		!strings.Contains(lines[1], `level=INFO msg="memory pressure" now=normal was=shed used=200`) {
		t.Errorf("log:\n%s", log.String())
	}
}

func TestWithoutALimitNothingIsWatched(t *testing.T) {
	m, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	m.read = func() usage { t.Error("it reads"); return usage{} }
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.Run(ctx); err != nil || m.Level() != Normal {
		t.Errorf("%v, %v", m.Level(), err)
	}
}

func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	p := &process{other: 100, live: 870}
	watch(t, p, Options{Registerer: registry}, func(*Monitor) {
		p.collect()
		pass(interval)
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]float64{"gatehouse_memory_limit_bytes": 1000, "gatehouse_memory_used_bytes": 970, "gatehouse_overload_level": 3}
		for _, f := range families {
			if got := f.GetMetric()[0].GetGauge().GetValue(); got != want[f.GetName()] {
				t.Errorf("%s is %v, want %v", f.GetName(), got, want[f.GetName()])
			}
			delete(want, f.GetName())
		}
		if len(want) != 0 {
			t.Errorf("missing: %v", want)
		}
	})
	if _, err := New(Options{Registerer: registry}); err == nil {
		t.Error("the same metrics are registered twice")
	}
}
