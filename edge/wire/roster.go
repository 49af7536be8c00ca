package wire

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// Whoever waits for a request for roomAfter has to make room where there is none.
// The whole list is looked through for it, so that happens every roomEvery at most,
// and then a sixteenth of the list may go, but a few in any case.
const (
	roomAfter = time.Second
	roomEvery = 50 * time.Millisecond
	roomShare = 16
	roomLeast = 32
)

// A roster is the list of open connections. It is safe for concurrent use.
type roster struct {
	mu    sync.Mutex
	conns map[*socket]struct{}
}

func (r *roster) add(s *socket) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.conns == nil {
		r.conns = map[*socket]struct{}{}
	}
	r.conns[s] = struct{}{}
}

func (r *roster) remove(s *socket) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, s)
}

// all returns the connections that are open now.
func (r *roster) all() []*socket {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]*socket, 0, len(r.conns))
	for s := range r.conns {
		out = append(out, s)
	}
	return out
}

// spare returns the connections that can be done without: those that have not
// brought a whole request yet, which is where silence, half handshakes and slow
// heads stand, and only if there are none those between two requests; the longest
// waiting first.
func (r *roster) spare() []*socket {
	type waiting struct {
		s     *socket
		since int64
	}
	var fresh, idle []waiting
	before := time.Now().Add(-roomAfter).UnixNano()
	all := r.all()
	for _, s := range all {
		since := s.waits.Load()
		switch {
		case since == 0 || since > before:
		case s.asked.Load():
			idle = append(idle, waiting{s, since})
		default:
			fresh = append(fresh, waiting{s, since})
		}
	}
	if len(fresh) == 0 {
		fresh = idle
	}
	slices.SortFunc(fresh, func(a, b waiting) int { return cmp.Compare(a.since, b.since) })
	var out []*socket
	for _, w := range fresh[:min(len(fresh), max(len(all)/roomShare, roomLeast))] {
		out = append(out, w.s)
	}
	return out
}

// CloseIdle closes the connections that wait for another request after they have
// brought some. A connection whose request is coming goes on.
func (d *Door) CloseIdle() {
	for _, s := range d.conns.all() {
		if c := s.owner.Load(); c != nil && c.idling.Load() && s.asked.Load() {
			_ = c.Close() // as at the end of its idle time: nothing is lost with it
		}
	}
}
