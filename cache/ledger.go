package cache

import "sync/atomic"

// ledger counts what the store holds. ristretto's own count drifts; this one
// follows each object from Set to its one exit. Its methods run on ristretto's
// worker, which must not wait, so it is atomics only.
type ledger struct {
	max    atomic.Int64 // bytes that may be stored
	quotas *quotas

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
	l.book(o, 1)
}

// book adds an object to the accounts, or takes it off (-1).
func (l *ledger) book(o *object, n int64) {
	l.bytes.Add(n * o.cost)
	l.objects.Add(n)
	l.entries.Add(n * int64(len(o.variants)))
	if v := o.vhost; v != nil {
		v.bytes.Add(n * o.cost)
		v.entries.Add(n * int64(len(o.variants)))
		v.tenant.objects.Add(n)
		l.quotas.book(v.tenant, n*o.cost)
	}
}

// release books an object's exit, the first time it is called for it. ristretto
// calls OnExit with nil as well, and twice for one value.
func (l *ledger) release(o *object) {
	if o == nil || !o.released.CompareAndSwap(false, true) {
		return
	}
	l.book(o, -1)
}

// evicted counts an object that leaves to make room. release follows.
func (l *ledger) evicted(o *object) {
	if o == nil || o.released.Load() || l.closing.Load() {
		return
	}
	l.evictions.Add(uint64(len(o.variants)))
	if o.vhost != nil {
		o.vhost.evictions.Add(uint64(len(o.variants)))
	}
}
