package upstream

import (
	"sync"
	"sync/atomic"
	"time"
)

// limitMemory is how long the shortest time is believed after which a backend closed a connection,
// once no more are found closed: the backend may have been restarted then.
const limitMemory = 10 * time.Second

// lifetime is what a pool has learned of how long its backend leaves an idle connection open. The
// zero value has learned nothing. It is safe for concurrent use; what says nothing new takes no lock.
//
// No look at a connection can tell that it will still be open when the request arrives. A safe
// request that meets the end is sent again; any other is lost to its client. So such a request goes
// out on a kept connection only within half the time that the backend was seen to leave one open,
// and else on a fresh one. A backend whose limit is 20 ms never proves more than 20 ms, and then
// 10 ms lie between a request and the closing; one that waits for minutes soon proves that.
type lifetime struct {
	proven atomic.Int64 // nanoseconds that connections were seen to stay open; at most limit, if that is known

	mu    sync.Mutex
	limit time.Duration // the shortest time after which one was found closed; 0: none was
	found time.Time     // when one was found closed last
}

// saw notes that at now a connection was open, or no longer so, after it was idle for that long.
func (l *lifetime) saw(open bool, idle time.Duration, now time.Time) {
	if open && int64(idle) <= l.proven.Load() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !open {
		if l.found = now; l.limit == 0 || idle < l.limit {
			l.limit = idle
		}
		if int64(idle) <= l.proven.Load() {
			l.proven.Store(0) // it restarted, or has another limit now: nothing is known any more
		}
		return
	}
	if l.limit > 0 && idle >= l.limit {
		// Open for longer than others were: a busy backend closes late. That is no promise.
		if now.Sub(l.found) < limitMemory {
			idle = l.limit
		} else {
			l.limit = 0
		}
	}
	l.proven.Store(max(l.proven.Load(), int64(idle)))
}

// covers reports whether a connection of that age is unlikely to be closed within the next moment.
func (l *lifetime) covers(age time.Duration) bool { return int64(age) < l.proven.Load()/2 }
