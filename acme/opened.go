package acme

import (
	"errors"
	"sync/atomic"
)

// opened counts what of the certificates that nodes share the keys of this one open, and what they do not.
type opened struct{ good, bad atomic.Int64 }

// note counts one that was unpacked with err; nil counts nothing.
func (o *opened) note(err error) {
	switch {
	case o == nil || errors.Is(err, errSealing):
	case errors.Is(err, errSealed):
		o.bad.Add(1)
	default:
		o.good.Add(1)
	}
}

func (o *opened) reset() {
	o.good.Store(0)
	o.bad.Store(0)
}

// isStrange reports whether there was something, and nothing of it could be opened.
func (o *opened) isStrange() bool { return o.bad.Load() > 0 && o.good.Load() == 0 }

var errStrange = errors.New("seal_keys: this node's keys open none of the certificates that other nodes share: give it the keys of the others and restart it, or delete cert:* in Redis if those are lost")

// SealProblem says in words for the operator that this node's keys open nothing of what other nodes share; empty: they do, or it is not known. serving: it
// has certificates all the same, or orders none, so that the internal CA's are what it is to serve.
func (m *Manager) SealProblem() (problem string, serving bool) {
	if m.fleet == nil || !m.fleet.strange.Load() {
		return "", true
	}
	has := m.store.count()
	return errStrange.Error(), m.issuer == nil || has.imported+has.issued > 0
}
