package wire

import (
	"slices"
	"sync"
	"time"
)

// Whoever waits for a request that long has to make room where there is none; so
// many of them go at a time, since the list is looked through for it.
const (
	roomAfter  = time.Second
	roomAtOnce = 32
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
	for _, s := range r.all() {
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
	slices.SortFunc(fresh, func(a, b waiting) int { return int(a.since - b.since) })
	var out []*socket
	for _, w := range fresh[:min(len(fresh), roomAtOnce)] {
		out = append(out, w.s)
	}
	return out
}
