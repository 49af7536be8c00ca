package loadtest

import (
	"errors"
	"fmt"
	"syscall"
)

// spareDescriptors are for all else that the process has open.
const spareDescriptors = 32

// checkDescriptors compares what the plan needs with what this process may have, and
// raises the limit if the system lets it. A generator that runs out of descriptors would
// say that the server takes no connections.
func (r *run) checkDescriptors() error {
	need := r.descriptors()
	limit, known := descriptorLimit(uint64(need))
	if !known || uint64(need) <= limit {
		return nil
	}
	return fmt.Errorf("%d clients need %d file descriptors, and this process may have %d: raise the limit (ulimit -n %d) or take fewer connections (--connections)",
		r.plan.Connections, need, limit, need)
}

// descriptors is how many the plan needs at most.
func (r *run) descriptors() int {
	p := r.plan
	connections := 1 // of a client
	if !p.NoKeepAlive && !p.Handshakes {
		most := max(1, openMost/p.Connections)
		if connections = len(r.origins.at); connections > most {
			connections = most + 1 // the new one is open before the oldest is closed
		}
	}
	need := p.Connections*connections + spareDescriptors
	if r.open() {
		need += p.Connections * p.Streams * timerDescriptors
	}
	return need
}

// shortage returns what an error means that comes from too few descriptors; nil if it
// comes from something else.
func shortage(err error) error {
	if !errors.Is(err, syscall.EMFILE) && !errors.Is(err, syscall.ENFILE) {
		return nil
	}
	limit, _ := descriptorLimit(0)
	return fmt.Errorf("the load generator has no file descriptor left for a connection (%w; its limit is %d): raise the limit (ulimit -n) or take fewer connections (--connections)",
		bare(err), limit)
}
