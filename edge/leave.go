package edge

import (
	"sync"
	"sync/atomic"
	"time"
)

// leaveInterval is how often it is looked whether the clients of requests that take
// long are still there. A request is asked about from its second look on, so that a
// client that leaves is noticed within two of them.
const leaveInterval = 2500 * time.Millisecond

// waiters are the requests that wait for a backend, or for another request that does. Nobody would notice that a
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
	list *waiting
	_    [48]byte // keeps shards on cache lines of their own
}

// A waiting is somebody's place among those that wait for a backend.
type waiting struct {
	who        leaver
	conn       clientConn // of the client that waits; nil: it is not looked at
	prev, next *waiting
	shard      int // its own
	on         bool
	seen       bool // it was there at the last look
}

// A leaver is who waits.
type leaver interface {
	left() // the client has left
	cut()  // the server closes
}

// add has w told once its client has left, or by closeAll, until remove.
func (ws *waiters) add(w *waiting) {
	shard := &ws.shards[w.shard]
	shard.mu.Lock()
	w.prev, w.next, w.on, w.seen = nil, shard.list, true, false
	if shard.list != nil {
		shard.list.prev = w
	}
	shard.list = w
	shard.mu.Unlock()
	if ws.closed.Load() {
		w.who.cut()
		return
	}
	ws.arm()
}

// remove takes w out. After it nothing of ws touches w; calling it twice is fine.
func (ws *waiters) remove(w *waiting) {
	shard := &ws.shards[w.shard]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if !w.on {
		return
	}
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		shard.list = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	}
	w.prev, w.next, w.on, w.conn = nil, nil, false, nil
}

// disown has w wait on for nobody's connection.
func (ws *waiters) disown(w *waiting) {
	shard := &ws.shards[w.shard]
	shard.mu.Lock()
	w.conn = nil
	shard.mu.Unlock()
}

// arm starts the timer, unless it runs.
func (ws *waiters) arm() {
	if !ws.armed.Load() && ws.armed.CompareAndSwap(false, true) {
		time.AfterFunc(leaveInterval, ws.look)
	}
}

// look tells those whose clients have left, and comes again while there
// is anybody.
func (ws *waiters) look() {
	ws.armed.Store(false) // before looking: whoever comes behind the look starts it again
	anybody := false
	ws.each(func(w *waiting) {
		anybody = true
		if w.seen && w.conn != nil && w.conn.Left() {
			w.who.left()
		}
		if b, ok := w.who.(*outbound); ok {
			b.grow()
		}
		w.seen = true
	})
	if anybody && !ws.closed.Load() {
		ws.arm()
	}
}

// closeAll ends every wait, also those that are still to come.
func (ws *waiters) closeAll() {
	ws.closed.Store(true) // before cutting: see add
	ws.each(func(w *waiting) { w.who.cut() })
}

// each calls f for everybody who waits, with its shard locked.
func (ws *waiters) each(f func(*waiting)) {
	for i := range ws.shards {
		shard := &ws.shards[i]
		shard.mu.Lock()
		for w := shard.list; w != nil; w = w.next {
			f(w)
		}
		shard.mu.Unlock()
	}
}
