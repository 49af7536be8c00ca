package wire

import "time"

// Limits bound one client's connection. A zero field stands for its default, a
// negative one for none where that is said.
type Limits struct {
	Header       int   // bytes of a head; default 32 KiB; answered 431
	Target       int64 // bytes of a request target; default 8 KiB; answered 414
	HeaderFields int   // field lines of a head, and of trailers; default 100; answered 431

	Handshake  time.Duration // of TLS, PROXY header included, and of a PROXY header without TLS; default 10 s
	HeaderTime time.Duration // from a head's first byte to its last; default 10 s; answered 408
	Idle       time.Duration // between two requests, and before the first; default 75 s
	// Stall is the longest silence inside a body: of a client that sends one, which
	// is answered 408, or that takes one, which is reset. Default 30 s. MinRate is
	// the least rate in bytes per second of the time that the client makes us wait,
	// over Stall. Default 1 KiB/s; negative: none, and nobody who takes is cut.
	Stall   time.Duration
	MinRate int

	Requests int           // requests per connection; default 1,000; negative: no bound
	Age      time.Duration // of a connection, after which its next answer is its last; default 1 h; negative: no bound
}

func (l Limits) withDefaults() Limits {
	orDefault(&l.Header, 32<<10)
	orDefault(&l.Target, 8<<10)
	orDefault(&l.HeaderFields, 100)
	orDefault(&l.Handshake, 10*time.Second)
	orDefault(&l.HeaderTime, 10*time.Second)
	orDefault(&l.Idle, 75*time.Second)
	orDefault(&l.Stall, 30*time.Second)
	orDefault(&l.MinRate, 1<<10)
	orDefault(&l.Requests, 1000)
	orDefault(&l.Age, time.Hour)
	return l
}

func orDefault[T int | int64 | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}
