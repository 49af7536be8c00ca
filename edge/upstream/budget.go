package upstream

import (
	"sync/atomic"
	"time"
)

const (
	// retryShare is one retry to so many requests.
	retryShare = 10
	// retryFloor is how many retries may be under way at a time whatever the share.
	retryFloor = 3
)

// Budget keeps the repetitions of failed requests from multiplying the load on backends that fail
// under load: repetitions are at most a tenth of the requests of the last ten seconds, beside three
// at a time that are always allowed. One Budget belongs to all backends of a site. The zero value
// is ready; all methods are safe for concurrent use and take no lock.
type Budget struct {
	requests, retries window
	active            atomic.Int64
}

// Count notes a request that begins at now.
func (b *Budget) Count(now time.Time) { b.requests.add(now) }

// Take asks for a repetition. True needs one Release when the repetition has ended.
func (b *Budget) Take(now time.Time) bool {
	if b.active.Add(1) <= retryFloor || retryShare*(b.retries.sum(now)+1) <= b.requests.sum(now) {
		b.retries.add(now)
		return true
	}
	b.active.Add(-1)
	return false
}

// Release ends what Take began.
func (b *Budget) Release() { b.active.Add(-1) }

// window counts what happened within about the last ten seconds: this second and the nine before.
type window struct {
	seconds [10]struct{ at, count atomic.Int64 }
}

func (w *window) add(now time.Time) {
	at := now.Unix()
	s := &w.seconds[uint64(at)%uint64(len(w.seconds))]
	if was := s.at.Load(); was != at && s.at.CompareAndSwap(was, at) {
		s.count.Store(0) // what others have added since the swap is lost: a few, once a second
	}
	s.count.Add(1)
}

func (w *window) sum(now time.Time) (n int64) {
	oldest := now.Unix() - int64(len(w.seconds))
	for i := range w.seconds {
		if s := &w.seconds[i]; s.at.Load() > oldest {
			n += s.count.Load()
		}
	}
	return n
}
