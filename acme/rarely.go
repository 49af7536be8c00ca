package acme

import (
	"sync"
	"time"
)

// rarely keeps what is dear to find, so that finding it takes a hundredth of the time at most, however often it is asked for: with some names it is
// found each time, with 100,000, a walk of some ten milliseconds, every few seconds. The zero value is ready; safe for concurrent use.
type rarely[T any] struct {
	mu    sync.Mutex
	value T
	until time.Time
}

const (
	// rareShare is how many times as long as it took to find a value it is kept, rareMost the longest.
	rareShare = 100
	rareMost  = time.Minute
)

// get returns the value that is kept, else what find finds.
func (r *rarely[T]) get(find func() T) T {
	r.mu.Lock()
	defer r.mu.Unlock()
	begin := time.Now()
	if begin.Before(r.until) {
		return r.value
	}
	r.value = find()
	end := time.Now()
	r.until = end.Add(min(rareShare*end.Sub(begin), rareMost))
	return r.value
}
