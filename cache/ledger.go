package cache

import "sync/atomic"

// ledger counts what the store holds. ristretto's own count drifts; this one
// follows each object from Set to its one exit. Its methods run on ristretto's
// worker, which must not wait, so it is atomics only.
type ledger struct {
	max atomic.Int64 // bytes that may be stored

	bytes     atomic.Int64
	objects   atomic.Int64
	entries   atomic.Int64
	evictions atomic.Uint64 // entries
	closing   atomic.Bool   // what leaves now is not evicted
}

// fits reports whether growth more bytes stay within the limit.
func (l *ledger) fits(growth int64) bool {
	return growth <= 0 || l.bytes.Load()+growth <= l.max.Load()
}

// add books an object that is about to be set.
func (l *ledger) add(o *object) {
	l.bytes.Add(o.cost)
	l.objects.Add(1)
	l.entries.Add(int64(len(o.variants)))
}

// release books an object's exit, the first time it is called for it. ristretto
// calls OnExit with nil as well, and twice for one value.
func (l *ledger) release(o *object) {
	if o == nil || !o.released.CompareAndSwap(false, true) {
		return
	}
	l.bytes.Add(-o.cost)
	l.objects.Add(-1)
	l.entries.Add(-int64(len(o.variants)))
}

// evicted counts an object that leaves to make room. release follows.
func (l *ledger) evicted(o *object) {
	if o == nil || o.released.Load() || l.closing.Load() {
		return
	}
	l.evictions.Add(uint64(len(o.variants)))
}
