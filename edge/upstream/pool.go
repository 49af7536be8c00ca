package upstream

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Options are the settings of a Pool. Only Address is needed.
type Options struct {
	// Address is the backend: http://host[:port][/prefix], https://… or unix:/path. See ParseAddress.
	Address string

	// Dial opens connections; nil means a net.Dialer. Here belongs the check of the resolved
	// address against forbidden networks (net.Dialer.Control). It gets "tcp" and host:port, or
	// "unix" and the path, and a context that ends after ConnectTimeout, or earlier if there are further addresses. A connection that is not a
	// syscall.Conn cannot be looked at before reuse and therefore serves one request only.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// Resolver looks the address's host up, if that is a name: Dial then gets an IP address and port, for
	// each request another one of the name's, and the next one if one cannot be reached. Connections to
	// addresses that the name does not lead to any more are not used again. Nil: Dial gets the name.
	Resolver *Resolver
	// Owner is whose names the Resolver shares with this pool, and whose lookups at a time it bounds.
	Owner string

	// TLS is used for https. Nil verifies with the system's roots and requires TLS 1.2. An empty
	// ServerName becomes the address's host; NextProtos is always http/1.1. It is cloned.
	TLS *tls.Config

	// ConnectTimeout bounds resolving, dialling and the TLS handshake together. 0 means 3 s.
	ConnectTimeout time.Duration

	// FirstByteTimeout bounds the time from the last byte of the request to the end of the
	// final answer's head; interim answers (1xx) do not extend it. It also bounds each single write of
	// the request. 0 means 60 s. Like StallTimeout, it may be exceeded by an eighth.
	FirstByteTimeout time.Duration

	// StallTimeout bounds the silence between two parts of an answer's body. It has to outlast the
	// pauses of event streams. 0 means 5 min, negative none.
	StallTimeout time.Duration

	// IdleTimeout is how long an unused connection is kept. It should be shorter than the
	// backend's own limit. 0 means 20 s.
	IdleTimeout time.Duration

	// ResponseHeader is the largest head of an answer in bytes, status line and empty line included;
	// ResponseFields is how many field lines it may have. An answer with more is refused (Op
	// protocol). 0 means 64 KiB and 200.
	ResponseHeader, ResponseFields int

	// MaxIdle is how many unused connections are kept. 0 means 64, negative none.
	MaxIdle int
}

// Stats are running totals since NewPool, and the present number of idle connections.
type Stats struct {
	Dials  uint64 // connections asked for, failed ones included
	Reused uint64 // round trips begun on a kept connection
	Stale  uint64 // kept connections found closed, or with unread bytes, before use
	Spared uint64 // round trips begun on a fresh connection although kept ones were there, since those could close under them
	Idle   int
}

// Pool holds the connections to one backend. All methods are safe for concurrent use; the zero
// value is not usable.
type Pool struct {
	opts    Options
	address Address
	text    string      // address as text
	tls     *tls.Config // nil: plain

	dials, reused, stale, spared atomic.Uint64
	lifetime                     lifetime
	spread                       spread

	mu     sync.Mutex
	idle   []*conn // oldest first; taken from the end
	reaper *time.Timer
	closed bool
}

// NewPool checks the options. It opens no connection.
func NewPool(o Options) (*Pool, error) {
	address, err := ParseAddress(o.Address)
	if err != nil {
		return nil, err
	}
	for name, d := range map[string]time.Duration{
		"ConnectTimeout": o.ConnectTimeout, "FirstByteTimeout": o.FirstByteTimeout, "IdleTimeout": o.IdleTimeout,
	} {
		if d < 0 {
			return nil, fmt.Errorf("backend %s: %s is negative", address, name)
		}
	}
	if o.ResponseHeader < 0 || o.ResponseFields < 0 {
		return nil, fmt.Errorf("backend %s: a limit of the response's head is negative", address)
	}
	orDefault(&o.ResponseHeader, defaultHead)
	orDefault(&o.ResponseFields, defaultFields)
	orDefault(&o.ConnectTimeout, 3*time.Second)
	orDefault(&o.FirstByteTimeout, time.Minute)
	orDefault(&o.StallTimeout, 5*time.Minute)
	orDefault(&o.IdleTimeout, 20*time.Second)
	if o.MaxIdle == 0 {
		o.MaxIdle = 64
	}
	if o.Dial == nil {
		o.Dial = new(net.Dialer).DialContext
	}
	p := &Pool{opts: o, address: address, text: address.String()}
	if address.Scheme == "https" {
		p.tls = clientTLS(o.TLS, address.Host, max(o.MaxIdle, 1))
	}
	if _, err := netip.ParseAddr(address.Host); err != nil && address.Host != "" && o.Resolver != nil {
		p.spread.begin(o.Resolver.hold(o.Owner, address.Host))
	}
	return p, nil
}

func orDefault[T ~int | ~int64](d *T, value T) {
	if *d == 0 {
		*d = value
	}
}

// String gives the backend's address as text.
func (p *Pool) String() string { return p.text }

// Address gives the backend's address.
func (p *Pool) Address() Address { return p.address }

// Stats gives the totals so far.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	idle := len(p.idle)
	p.mu.Unlock()
	return Stats{
		Dials: p.dials.Load(), Reused: p.reused.Load(), Stale: p.stale.Load(), Spared: p.spared.Load(), Idle: idle,
	}
}

// Closed reports whether Close was called: no connection is kept any more.
func (p *Pool) Closed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

// Close closes the idle connections at once and lets busy ones close when their answer ends; it
// waits for nothing. A round trip after Close still works, on a connection that is not kept: a
// request that holds last second's settings must not fail.
func (p *Pool) Close() {
	p.mu.Lock()
	idle := p.idle
	if !p.closed && p.spread.name != nil {
		p.opts.Resolver.release(p.spread.name)
	}
	p.idle, p.closed = nil, true
	if p.reaper != nil {
		p.reaper.Stop()
	}
	p.mu.Unlock()
	for _, c := range idle {
		c.retire()
	}
}
