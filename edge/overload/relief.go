package overload

import "time"

// A Shrinker is a cache that can give memory back. Its methods are called from
// one goroutine at a time.
type Shrinker interface {
	// Shrink gives up what it takes to hold no more than share (0 to 1) of what
	// it holds now, and holds no more than that until Grow. It returns when
	// nothing refers to the rest any more.
	Shrink(share float64)
	// Grow lets it hold that many bytes more, up to what it was configured with.
	// It reports whether it may hold that much again.
	Grow(bytes int64) (whole bool)
}

const (
	// reliefEvery is the time between two shrinkings while the pressure stays.
	reliefEvery = 2 * time.Second
	// keepShed and keepPressed are what the cache keeps of its content, at Shed
	// and at the levels before: a smaller cache harms less than connections that
	// end, so it starts to give way as soon as they do.
	keepShed, keepPressed = 0.5, 0.9
	// growEvery, growPart and growBelow let the cache grow back, by a fiftieth of
	// the limit at a time and only with a tenth of the limit free below the first
	// level, so that it settles there where its setting does not fit.
	growEvery = 5 * time.Second
	growPart  = 50
	growBelow = 0.75
)

// relief makes the cache give way and lets it grow back. The zero value with a
// nil cache does nothing.
type relief struct {
	cache Shrinker
	limit int64

	shrunk  bool      // the cache may hold less than configured
	last    time.Time // when the cache was last shrunk or grown
	wait    time.Time // it is not shrunk again until then
	level   Level     // of the last call
	pending bool      // what it gave up is not collected yet, so the figures do not show it
}

// act does what is due, and reports whether memory is waiting to be collected.
func (r *relief) act(level Level, share float64, now time.Time) bool {
	rose := level > r.level
	r.level = level
	switch {
	case r.cache == nil:
		return false
	case level > Normal:
		// More is given up only after a collection has shown that it was not
		// enough; a higher level does not wait.
		if !rose && (r.pending || now.Before(r.wait) || now.Sub(r.last) < reliefEvery) {
			return false
		}
		keep := keepPressed
		if level == Shed {
			keep = keepShed
		}
		r.cache.Shrink(keep)
		r.shrunk, r.pending, r.last = true, true, now
		return true
	case r.shrunk && share < growBelow && now.Sub(r.last) >= growEvery:
		r.shrunk = !r.cache.Grow(r.limit / growPart)
		r.last = now
	}
	return false
}

// collected says that what was given up so far is free, and how long to wait
// before more is, so that collections do not take all the time.
func (r *relief) collected(wait time.Time) { r.pending, r.wait = false, wait }
