package edge

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// leaveInterval is how often it is looked whether the clients of requests that take
// long are still there. A request is asked about from its second look on, so that a
// client that leaves is noticed within two of them.
const leaveInterval = 2500 * time.Millisecond

// waiters are the requests that wait for a backend. Nobody would notice that a
// client has left while the backend is silent, and both connections would stay until
// it speaks: so those that wait for long are looked at. One timer does it for all,
// since one for each request would cost more than its routing.
//
// A client that has closed its half while it waits for the answer is taken for one
// that has left, as nginx does. A close behind an upload that nobody takes is not
// seen, since the kernel has not come to it yet; there the round trip's own time
// limits act.
type waiters struct {
	shards [waiterShards]waiterShard // a request's own is chosen at random, so that processors seldom meet
	armed  atomic.Bool               // the timer runs
	closed atomic.Bool
}

const waiterShards = 16

type waiterShard struct {
	mu   sync.Mutex
	list *request // linked by request.wait
	_    [48]byte // keeps shards on cache lines of their own
}

// A waiting is a request's place among those that wait for a backend.
type waiting struct {
	prev, next *request
	on         bool
	seen       bool // it was there at the last look
}

// add has r's round trip cut once its client has left, or by closeAll, until remove.
func (w *waiters) add(r *request) {
	shard := &w.shards[r.outbound.shard]
	shard.mu.Lock()
	r.outbound.wait = waiting{next: shard.list, on: true}
	if shard.list != nil {
		shard.list.outbound.wait.prev = r
	}
	shard.list = r
	shard.mu.Unlock()
	if w.closed.Load() {
		r.outbound.line.Cut(context.Canceled)
		return
	}
	w.arm()
}

// remove takes r out. After it nothing of w touches r; calling it twice is fine.
func (w *waiters) remove(r *request) {
	shard := &w.shards[r.outbound.shard]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if !r.outbound.wait.on {
		return
	}
	if r.outbound.wait.prev != nil {
		r.outbound.wait.prev.outbound.wait.next = r.outbound.wait.next
	} else {
		shard.list = r.outbound.wait.next
	}
	if r.outbound.wait.next != nil {
		r.outbound.wait.next.outbound.wait.prev = r.outbound.wait.prev
	}
	r.outbound.wait = waiting{}
}

// arm starts the timer, unless it runs.
func (w *waiters) arm() {
	if !w.armed.Load() && w.armed.CompareAndSwap(false, true) {
		time.AfterFunc(leaveInterval, w.look)
	}
}

// look cuts the round trips of clients that have left, and comes again while there
// is anybody.
func (w *waiters) look() {
	w.armed.Store(false) // before looking: whoever comes behind the look starts it again
	anybody := false
	w.each(func(r *request) {
		anybody = true
		if r.outbound.wait.seen && r.Upgrade == "" && r.conn.Left() {
			r.outbound.line.Cut(context.Canceled)
		}
		r.outbound.wait.seen = true
	})
	if anybody && !w.closed.Load() {
		w.arm()
	}
}

// closeAll cuts every round trip, also those that are still to come.
func (w *waiters) closeAll() {
	w.closed.Store(true) // before cutting: see add
	w.each(func(r *request) { r.outbound.line.Cut(context.Canceled) })
}

// each calls f for every request that waits, with its shard locked.
func (w *waiters) each(f func(*request)) {
	for i := range w.shards {
		shard := &w.shards[i]
		shard.mu.Lock()
		for r := shard.list; r != nil; r = r.outbound.wait.next {
			f(r)
		}
		shard.mu.Unlock()
	}
}
