package overload

import (
	"context"
	"log/slog"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// interval is the time between two samples, and quick the least one: see every.
	interval, quick = 250 * time.Millisecond, 10 * time.Millisecond
	// burst is the fastest growth that is reckoned with, in bytes per second.
	burst = 1 << 30
	// stale is the age of the last collection from which another may be forced.
	stale = time.Second
	// dear is how many times the duration of a forced collection has to pass
	// before the next, so that they cost a twentieth of a large heap's time.
	dear = 20
)

// Options configure a Monitor. The zero value has no limit: its level stays Normal.
type Options struct {
	// Limit is the memory that the process may use, in bytes: a Bound's. 0: none.
	Limit int64
	// Cache gives memory back under pressure; nil: nothing does.
	Cache Shrinker
	// OnChange is called with the new level after each change, from Run's
	// goroutine; it must not block. Nil: none.
	OnChange func(Level)
	// Logger gets a line for each change. Nil: slog.DiscardHandler.
	Logger *slog.Logger
	// Registerer receives gatehouse_memory_limit_bytes, gatehouse_memory_used_bytes
	// and gatehouse_overload_level. Nil: none.
	Registerer prometheus.Registerer
}

// A Monitor watches the memory of the process while Run runs. Level may be
// called from any goroutine.
type Monitor struct {
	opts  Options
	log   *slog.Logger
	level atomic.Int32
	used  atomic.Int64

	// What follows belongs to Run's goroutine.
	read       func() usage
	collect    func() // a whole garbage collection
	relief     relief
	cycles     uint64    // as last seen
	collected  time.Time // when cycles last changed
	notBefore  time.Time // no forced collection until then
	collecting bool      // a forced collection runs
	wanted     bool      // one is to follow it: what was given up since may have escaped it
	done       chan time.Duration
}

// New makes a Monitor; it does nothing until Run. The error is that of the Registerer.
func New(o Options) (*Monitor, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	m := &Monitor{
		opts: o, log: o.Logger, read: newReader().read, collect: runtime.GC,
		relief: relief{cache: o.Cache, limit: o.Limit}, done: make(chan time.Duration, 1),
	}
	return m, m.register(o.Registerer)
}

// Level is what has to be given up now. It is one atomic load, Normal before Run
// and after its end.
func (m *Monitor) Level() Level { return Level(m.level.Load()) }

// Run watches until ctx ends and returns nil; it must be called once at most.
// Its collections have ended when it returns.
func (m *Monitor) Run(ctx context.Context) error {
	if m.opts.Limit <= 0 {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(every(m.opts.Limit))
	defer tick.Stop()
	m.collected = time.Now()
	for {
		m.step(time.Now())
		select {
		case <-tick.C:
		case took := <-m.done:
			m.ended(time.Now(), took)
		case <-ctx.Done():
			if m.collecting {
				<-m.done
			}
			m.level.Store(int32(Normal))
			return nil
		}
	}
}

// every returns the time between two samples: a burst must not get further than a
// twentieth of the limit unseen, so a small limit is watched more closely. A
// sample costs less than a microsecond.
func every(limit int64) time.Duration {
	reach := time.Duration(float64(limit) / 20 / burst * float64(time.Second))
	return min(max(reach, quick), interval)
}

// step takes one sample and acts on it.
func (m *Monitor) step(now time.Time) {
	u := m.read()
	if u.cycles != m.cycles {
		m.cycles, m.collected = u.cycles, now
	}
	used := u.used(m.opts.Limit)
	m.used.Store(used)
	share := float64(used) / float64(m.opts.Limit)
	was := m.Level()
	level := was.next(share)
	if level != was {
		m.change(was, level, used, u)
	}
	switch {
	case m.relief.act(level, share, now):
		m.force() // what the cache gave up is garbage, and its room has to show
	case !m.collecting && now.Sub(m.collected) >= stale && now.After(m.notBefore) && m.near(u):
		m.force()
	}
}

// near reports whether a collection could tell of a change of level: objects,
// living or dead, are where the first level begins.
func (m *Monitor) near(u usage) bool {
	return float64(u.possible()) >= enter[NoKeepAlive]*float64(m.opts.Limit) || m.Level() > Normal
}

func (m *Monitor) change(was, level Level, used int64, u usage) {
	m.level.Store(int32(level))
	severity := slog.LevelInfo
	if level > was {
		severity = slog.LevelWarn
	}
	m.log.Log(context.Background(), severity, "memory pressure", "now", level.String(), "was", was.String(),
		"used", used, "limit", m.opts.Limit, "live", u.live, "other", u.other, "mapped", u.mapped) // bytes
	if m.opts.OnChange != nil {
		m.opts.OnChange(level)
	}
}

// force starts a collection beside the sampling; a large heap takes seconds.
func (m *Monitor) force() {
	if m.collecting {
		m.wanted = true
		return
	}
	m.collecting = true
	go func() {
		begin := time.Now()
		m.collect()
		m.done <- time.Since(begin)
	}()
}

// ended notes the end of a forced collection.
func (m *Monitor) ended(now time.Time, took time.Duration) {
	m.collecting = false
	m.collected = now
	m.notBefore = now.Add(max(stale, dear*took))
	if m.wanted {
		m.wanted = false
		m.force()
		return
	}
	m.relief.collected(now.Add(dear / 5 * took))
}
