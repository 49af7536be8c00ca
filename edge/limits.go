package edge

import (
	"time"

	"gatehouse/edge/wire"
)

// Limits bound what one client, and one backend, may ask of the server. A zero
// field stands for its default; a negative one means no bound where the field
// says so, and nothing sensible elsewhere.
type Limits struct {
	// Header is the largest head of a request in bytes, request line included.
	// Default 32 KiB; answered 431.
	Header int
	// Target is the longest request target in bytes. Default 8 KiB; answered 414.
	Target int64
	// HeaderFields is the largest number of field lines in a head. Default 100; answered 431.
	HeaderFields int
	// Body is the largest request body in bytes. Default 100 MiB, negative: no
	// bound; answered 413.
	Body int64

	// Connections is the largest number of open client connections. Default, and the
	// most that is taken: see wire.Options.Connections; negative: no bound. Beyond it
	// connections that wait for a request make room, and who finds none waits in the
	// kernel's backlog.
	Connections int
	// ConnectionsPerIP is the largest number of open connections of one IPv4
	// address or IPv6 /64; TrustedProxies are exempt. Default 256,
	// negative: no bound; one more is reset.
	ConnectionsPerIP int
	// HandshakesPerIP is how many TLS handshakes one IPv4 address or IPv6 /64 may begin in
	// a second; TrustedProxies are exempt. Default, and negative: no bound; one more is reset.
	HandshakesPerIP int
	// KeepAliveRequests is how many requests a connection may bring. Default 1000,
	// negative: no bound. The last answer says Connection: close.
	KeepAliveRequests int
	// ConnectionAge is the age from which an answer ends its connection. Default
	// 1 h, negative: no bound.
	ConnectionAge time.Duration
	// Idle is the longest time between two requests of a connection. Default 75 s.
	Idle time.Duration
	// Handshake bounds the TLS handshake, from accept to its end. Default 10 s.
	Handshake time.Duration
	// HeaderTime bounds a request's head, from its first byte to its last. Default 10 s; answered 408.
	HeaderTime time.Duration
	// Stall is the longest time without a byte of a request's body, and without
	// one of the response that the client takes. Default 30 s; a request's is answered 408.
	Stall time.Duration
	// MinRate is the least rate of either in bytes per second, over Stall.
	// Default 1 KiB/s, negative: no bound.
	MinRate int

	// TenantConcurrency is how many requests of a tenant, or of a vhost without one, may be
	// with its backends at a time. Default 256, negative: no bound. See places.
	TenantConcurrency int
	// TenantQueue is how many more wait for a place, and as many at all backends with places of
	// their own. Default 256, negative: none. One more is answered 503.
	TenantQueue int
	// QueueTime is how long a request waits. Default 5 s; answered 503.
	QueueTime time.Duration

	// ResponseHeader is the largest head of a backend's response in bytes.
	// Default 64 KiB; answered 502.
	ResponseHeader int
	// ResponseHeaderFields is the largest number of its field lines. Default 200; answered 502.
	ResponseHeaderFields int

	// DrainAccept is how long a draining server goes on accepting connections:
	// clients and load balancers need a moment to see that the node is going, and a
	// refused connection is a failed request. Default 5 s, negative: not at all.
	DrainAccept time.Duration
	// DrainGrace is how long requests under way may take to end after that; what is
	// left is reset. Default 30 s.
	DrainGrace time.Duration
}

// withDefaults returns l with every zero field set to its default, except
// Connections, which depends on the machine.
func (l Limits) withDefaults() Limits {
	orDefault(&l.Header, 32<<10)
	orDefault(&l.Target, 8<<10)
	orDefault(&l.HeaderFields, 100)
	orDefault(&l.Body, 100<<20)
	orDefault(&l.ConnectionsPerIP, 256)
	orDefault(&l.KeepAliveRequests, 1000)
	orDefault(&l.ConnectionAge, time.Hour)
	orDefault(&l.Idle, 75*time.Second)
	orDefault(&l.Handshake, 10*time.Second)
	orDefault(&l.HeaderTime, 10*time.Second)
	orDefault(&l.Stall, 30*time.Second)
	orDefault(&l.MinRate, 1<<10)
	orDefault(&l.TenantConcurrency, 256)
	orDefault(&l.TenantQueue, 256)
	orDefault(&l.QueueTime, 5*time.Second)
	orDefault(&l.ResponseHeader, 64<<10)
	orDefault(&l.ResponseHeaderFields, 200)
	orDefault(&l.DrainAccept, 5*time.Second)
	orDefault(&l.DrainGrace, 30*time.Second)
	return l
}

func orDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// wire is what of the limits concerns a client's connection.
func (l Limits) wire() wire.Limits {
	return wire.Limits{
		Header: l.Header, Target: l.Target, HeaderFields: l.HeaderFields,
		Handshake: l.Handshake, HeaderTime: l.HeaderTime, Idle: l.Idle, Stall: l.Stall, MinRate: l.MinRate,
		Requests: l.KeepAliveRequests, Age: l.ConnectionAge,
	}
}
