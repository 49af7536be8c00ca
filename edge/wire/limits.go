package wire

import (
	"cmp"
	"time"
)

// Limits bound one client's connection. A zero field stands for its default, and
// so does a negative one unless it is said to stand for none.
type Limits struct {
	Header       int   // bytes of a head; default 32 KiB; answered 431
	Target       int64 // bytes of a request target; default 8 KiB; answered 414
	HeaderFields int   // field lines of a head, and of trailers; default 100; answered 431

	Handshake  time.Duration // of TLS, PROXY header included, and of a PROXY header without TLS; default 10 s
	HeaderTime time.Duration // from a head's first byte to its last; default 10 s; answered 408
	Idle       time.Duration // between two requests, up to an eighth less, and before the first; default 75 s
	// Stall is the longest silence inside a body: of a client that sends one, which
	// is answered 408, or that takes one, which is reset. Default 30 s. MinRate is
	// the least rate in bytes per second of the time that the client makes us wait,
	// over Stall. Default 1 KiB/s; negative: none, only silence is cut.
	Stall   time.Duration
	MinRate int

	Requests int           // requests per connection; default 1,000; negative: no bound
	Age      time.Duration // of a connection, after which its next answer is its last; default 1 h; negative: no bound
}

func (l Limits) withDefaults() Limits {
	positive(&l.Header, 32<<10)
	positive(&l.Target, 8<<10)
	positive(&l.HeaderFields, 100)
	positive(&l.Handshake, 10*time.Second)
	positive(&l.HeaderTime, 10*time.Second)
	positive(&l.Idle, 75*time.Second)
	positive(&l.Stall, 30*time.Second)
	l.Target = min(l.Target, int64(l.Header))
	l.MinRate = cmp.Or(l.MinRate, 1<<10)
	l.Requests = cmp.Or(l.Requests, 1000)
	l.Age = cmp.Or(l.Age, time.Hour)
	return l
}

func positive[T int | int64 | time.Duration](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}
