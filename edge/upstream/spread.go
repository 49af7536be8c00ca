package upstream

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// passedOver is how long an address that could not be reached, or whose TLS failed, is tried behind the others of its name.
const passedOver = 10 * time.Second

// leastTry is the least time that an attempt at one of several addresses gets, if there is so much left.
const leastTry = 500 * time.Millisecond

// spread chooses among the addresses of a pool's backend: each request has the next one. The zero value is of a backend that
// is no name, or whose name the dialler looks up.
type spread struct {
	name *name // nil: there is nothing to choose
	turn atomic.Uint32

	failing atomic.Int64 // until when any address may be passed over, on the resolver's clock
	mu      sync.Mutex
	failed  map[netip.Addr]time.Duration // until when each is
}

func (s *spread) begin(n *name) {
	s.name = n
	s.turn.Store(rand.Uint32()) // nodes that start together do not all begin with the same address
}

// next returns the address of the next request, without waiting. The zero address: any kept connection is as good, or none
// is known.
func (s *spread) next() netip.Addr {
	if s.name == nil {
		return netip.Addr{}
	}
	known := s.name.known()
	if len(known) == 0 {
		return netip.Addr{}
	}
	start := int(s.turn.Add(1) % uint32(len(known)))
	for i := range known {
		if a := known[(start+i)%len(known)]; !s.passes(a) {
			return a
		}
	}
	return known[start]
}

// current reports whether a connection to that address may be kept: its name still leads there.
func (s *spread) current(a netip.Addr) bool {
	if s.name == nil {
		return true
	}
	known := s.name.addresses.Load()
	if known == nil {
		return false
	}
	for _, k := range *known {
		if k == a {
			return true
		}
	}
	return false
}

// passes reports whether an address is tried behind the others. In good times it takes no lock.
func (s *spread) passes(a netip.Addr) bool {
	until := s.failing.Load()
	if until == 0 || int64(s.name.resolver.now()) >= until {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.name.resolver.now() < s.failed[a]
}

// note remembers whether an address could be reached.
func (s *spread) note(a netip.Addr, reached bool) {
	if reached && s.failing.Load() == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.name.resolver.now()
	for other, until := range s.failed {
		if until <= now {
			delete(s.failed, other)
		}
	}
	if reached {
		delete(s.failed, a)
	} else {
		if s.failed == nil {
			s.failed = map[netip.Addr]time.Duration{}
		}
		s.failed[a] = now + passedOver
		s.failing.Store(int64(now + passedOver))
	}
	if len(s.failed) == 0 {
		s.failing.Store(0)
	}
}

// order returns the addresses as they are tried: the wanted one, the others, those that could lately not be reached.
func (s *spread) order(known []netip.Addr, want netip.Addr) []netip.Addr {
	start := 0
	for i, a := range known {
		if a == want {
			start = i
		}
	}
	if !want.IsValid() {
		start = int(s.turn.Add(1) % uint32(len(known)))
	}
	out, last := make([]netip.Addr, 0, len(known)), []netip.Addr(nil)
	for i := range known {
		if a := known[(start+i)%len(known)]; s.passes(a) {
			last = append(last, a)
		} else {
			out = append(out, a)
		}
	}
	return append(out, last...)
}

// open connects to the backend: by name to its addresses one after the other, until one takes the connection, TLS included.
func (p *Pool) open(ctx context.Context, want netip.Addr) (*conn, error) {
	network, address := p.address.Network()
	if p.spread.name == nil {
		return p.connect(ctx, network, address)
	}
	known, err := p.spread.name.resolve(ctx)
	if err != nil {
		return nil, err
	}
	port := strconv.Itoa(p.address.Port)
	for i, a := range p.spread.order(known, want) {
		var c *conn
		if c, err = p.try(ctx, network, net.JoinHostPort(a.String(), port), len(known)-i); err == nil {
			p.spread.note(a, true)
			c.address = a
			return c, nil
		}
		if ctx.Err() != nil || errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
			break // it says nothing of the address
		}
		p.spread.note(a, false)
	}
	if len(known) > 1 {
		err = fmt.Errorf("no address of %s could be reached, of %d; the last: %w", p.address.Host, len(known), err)
	}
	return nil, err
}

// try connects to one of so many addresses that are left, within its part of the time that is left.
func (p *Pool) try(ctx context.Context, network, address string, left int) (*conn, error) {
	if due, ok := ctx.Deadline(); ok && left > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, max(leastTry, time.Until(due)/time.Duration(left)))
		defer cancel()
	}
	return p.connect(ctx, network, address)
}
