package waf

import (
	"fmt"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	wafrules "gatehouse/waf-rules"
)

// A screening is the making of what stands before a rule set, once, when it is first wanted. A node that inspects nothing
// does not pay for it, and none starts later for it.
type screening struct {
	once  sync.Once
	begun atomic.Bool // somebody makes it, or has
	made  atomic.Pointer[prescreen]
	unfit atomic.Pointer[string] // why there can be none for these rules; nil: there can, or nobody knows yet
}

// making are the goroutines of an engine. The zero value is ready.
type making struct {
	mu    sync.Mutex
	ended bool
	group sync.WaitGroup
}

// run begins a goroutine, unless the engine is closed.
func (m *making) run(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.ended {
		m.group.Go(f)
	}
}

// end waits for what was begun.
func (m *making) end() {
	m.mu.Lock()
	m.ended = true
	m.mu.Unlock()
	m.group.Wait()
}

// MakeGate makes the gate of the rules in use now, if there is none yet: for whoever cannot wait for what the first
// request begins.
func (e *Engine) MakeGate() { e.screen(e.current.Load(), func() {}) }

// prescreenOf returns what stands before rules; nil: there is nothing, or not yet.
func (e *Engine) prescreenOf(r *ruleset) *prescreen {
	if e.gate == GateOff {
		return nil
	}
	if p := r.screening.made.Load(); p != nil || r.screening.begun.Swap(true) {
		return p
	}
	// Without a rest: what requests cost that do not have it is a multiple of what it takes.
	e.making.run(func() {
		e.screen(r, func() {})
		debug.FreeOSMemory() // its making leaves tens of megabytes of garbage, which would stay with the process for minutes
	})
	return nil
}

// screen makes what stands before rules. Without it everything is shown to all of them: slower, and no less
// strict. Step is called often.
func (e *Engine) screen(r *ruleset, step func()) {
	if e.gate == GateOff {
		return
	}
	r.screening.begun.Store(true)
	r.screening.once.Do(func() {
		begin := time.Now()
		p, err := e.makePrescreen(r, step)
		switch {
		case err == nil:
			r.screening.made.Store(p)
			e.log.Info("waf gate made", "digest", r.set.Digest()[:digestShown], "took", time.Since(begin).Round(time.Millisecond))
		case !e.closed.Load():
			why := err.Error()
			r.screening.unfit.Store(&why)
			e.log.Warn("waf gate not in use", "digest", r.set.Digest()[:digestShown], "err", err)
		}
	})
}

func (e *Engine) makePrescreen(r *ruleset, step func()) (p *prescreen, err error) {
	defer func() {
		if v := recover(); v != nil {
			p, err = nil, fmt.Errorf("panic: %v", v)
		}
	}()
	if !strings.Contains(r.directives, wafrules.BaseDirectives) {
		return nil, errNoBase
	}
	p, err = newPrescreen(r, e.log, func() error {
		if e.closed.Load() {
			return ErrClosed
		}
		step()
		return nil
	})
	if err == nil {
		err = p.fit(r)
	}
	return p, err
}
