package upstream

import (
	"net/netip"
	"slices"
	"time"
)

// take gives the most recently used idle connection to the wanted address that is fit for use, or nil. once says that
// the request must not be sent a second time: it gets a connection only if that is young, see
// lifetime.
func (p *Pool) take(once bool, want netip.Addr) *conn {
	for {
		p.mu.Lock()
		last := p.newest(want)
		if last < 0 {
			p.mu.Unlock()
			return nil
		}
		if once && !p.lifetime.covers(time.Since(p.idle[last].asked)) {
			// The oldest tells most of how long the backend waits.
			oldest := p.idle[0]
			p.idle = slices.Delete(p.idle, 0, 1)
			p.mu.Unlock()
			if !p.look(oldest) || p.giveBack(oldest, want) {
				continue
			}
			p.spared.Add(1)
			return nil
		}
		c := p.idle[last]
		p.idle = slices.Delete(p.idle, last, last+1)
		p.mu.Unlock()
		if p.look(c) {
			c.reused = true
			p.reused.Add(1)
			return c
		}
	}
}

// newest returns the index of the most recently used idle connection to an address, the zero one being any; -1: there is none.
func (p *Pool) newest(want netip.Addr) int {
	for i, c := range slices.Backward(p.idle) {
		if !want.IsValid() || c.address == want {
			return i
		}
	}
	return -1
}

// look reports whether an idle connection is fit for use, learns from it, and closes it if not.
func (p *Pool) look(c *conn) bool {
	now, open := time.Now(), c.usable()
	age := now.Sub(c.idled)
	p.lifetime.saw(open, age, now)
	if open && age < p.opts.IdleTimeout {
		return true
	}
	p.stale.Add(1)
	c.retire()
	return false
}

// giveBack puts the oldest connection back to its place. It reports whether the youngest may now
// be used for a request to the wanted address that must not be sent twice.
func (p *Pool) giveBack(oldest *conn, want netip.Addr) bool {
	p.mu.Lock()
	if p.closed || len(p.idle) >= p.opts.MaxIdle {
		p.mu.Unlock()
		oldest.retire()
		return false
	}
	p.idle = slices.Insert(p.idle, 0, oldest)
	youngest := p.newest(want)
	covered := youngest >= 0 && p.lifetime.covers(time.Since(p.idle[youngest].asked))
	p.mu.Unlock()
	return covered
}

// put keeps a connection whose last answer ended cleanly, if there is room and its address is still one of the backend's.
func (p *Pool) put(c *conn) {
	if c.look == nil || !p.spread.current(c.address) {
		c.retire()
		return
	}
	c.idled = time.Now()
	p.mu.Lock()
	if p.closed || len(p.idle) >= p.opts.MaxIdle {
		p.mu.Unlock()
		c.retire()
		return
	}
	p.idle = append(p.idle, c)
	switch {
	case p.reaper == nil:
		p.reaper = time.AfterFunc(p.opts.IdleTimeout, p.reap)
	case len(p.idle) == 1:
		p.reaper.Reset(p.opts.IdleTimeout)
	}
	p.mu.Unlock()
}

// reap closes what has been idle too long. It runs only while there are idle connections.
func (p *Pool) reap() {
	p.mu.Lock()
	old := 0
	for old < len(p.idle) && time.Since(p.idle[old].idled) >= p.opts.IdleTimeout {
		old++
	}
	expired := slices.Clone(p.idle[:old])
	kept := copy(p.idle, p.idle[old:])
	clear(p.idle[kept:])
	p.idle = p.idle[:kept]
	if kept > 0 && !p.closed {
		p.reaper.Reset(p.opts.IdleTimeout - time.Since(p.idle[0].idled))
	}
	p.mu.Unlock()
	for _, c := range expired {
		p.lifetime.saw(c.usable(), time.Since(c.idled), time.Now())
		c.retire()
	}
}
