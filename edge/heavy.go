package edge

import (
	"errors"
	"runtime"
	"sync"
	"time"
)

// heavyBody is the size from which a body's inspection may take long: the rules
// take up to a minute of processor time per megabyte of hostile text.
const heavyBody = 2 << 10

// heavyWait is how long a body waits for its inspection. After that the request
// is answered 503 in block mode, never let through unseen: whoever sends many
// would open the door for one. In detect mode, which never refuses, it goes on.
const heavyWait = 15 * time.Second

// errNoSlot means that heavyWait was not long enough.
var errNoSlot = errors.New("no processor came free to inspect a large request")

// heavyBodies lets each tenant have half of the processors, and at least one, at
// work on large bodies at a time. So whoever sends them to one tenant's sites
// makes that tenant's wait, while other requests get their share.
type heavyBodies struct{ tenants sync.Map } // id → chan struct{}

// enter waits for a slot; release gives it back.
func (h *heavyBodies) enter(tenant string) (release func(), ok bool) {
	v, there := h.tenants.Load(tenant)
	if !there {
		v, _ = h.tenants.LoadOrStore(tenant, make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)))
	}
	slots := v.(chan struct{})
	select {
	case slots <- struct{}{}:
	default:
		timer := time.NewTimer(heavyWait)
		defer timer.Stop()
		select {
		case slots <- struct{}{}:
		case <-timer.C:
			return nil, false
		}
	}
	return func() { <-slots }, true
}
