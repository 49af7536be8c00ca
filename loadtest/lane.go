package loadtest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"sort"
	"sync/atomic"
	"syscall"
	"time"
)

// A lane is one of the goroutines that ask: it has one request under way at a time.
type lane struct {
	r      *run
	shard  *shard
	client client
	timer  *timer // of an open load
	// patience is how long HTTP/2 waits for an answer; nil until it has to.
	patience *time.Timer
	turn     float64

	// active is the connection that the watch looks at; nil: none.
	active atomic.Pointer[line]
	// asked is when the request under way began, in nanoseconds of the run, plus 1; 0: none is.
	asked atomic.Int64

	buf []byte // of answers
	out []byte // of a request with slots
}

// A client asks one question and fills in what became of it: all of the sample but
// target, planned and begun.
type client interface {
	do(l *lane, x *sample, q *question)
	close()
}

// A question is one request: a target with what fills its slots.
type question struct {
	*target
	origin *origin
	number int64
	host   string
}

// answerBuffer is how much of an answer is read at once, and how long a head may be.
const answerBuffer = 16 << 10

func newLane(r *run, i int, c client) *lane {
	l := &lane{r: r, shard: r.shards[i%len(r.shards)], client: c, buf: make([]byte, answerBuffer)}
	_, l.turn = math.Modf(float64(i) * golden) // the first requests of clients, too, have all targets among them
	return l
}

// loop asks until the run says that it is enough.
//
// Latency counts from the planned time. A lane that was free then, and that the
// system woke a little late, is no fault of the server: its latency counts from
// the sending. Beyond lateAfter it counts from the plan, and the request as late, so
// that an overloaded generator shows.
func (l *lane) loop() {
	defer l.client.close()
	var x sample
	var q question
	for {
		planned, free, ok := l.r.next(l)
		if !ok {
			return
		}
		x = sample{planned: planned, since: planned, begun: planned}
		if l.timer != nil {
			x.begun = l.r.now()
			if free && x.begun-planned <= lateAfter {
				x.since = x.begun
			}
		}
		x.target = l.pick()
		l.r.ask(x.target, &q)
		l.asked.Store(x.begun + 1)
		l.client.do(l, &x, &q)
		l.asked.Store(0)
		x.ended = l.r.now()
		if l.r.counts(&x) {
			x.good = x.failed == noError && (x.status == 0 || q.expect(x.status))
			l.shard.record(&x)
		}
		if x.failed == errConnect || x.failed == errOther {
			l.r.pause()
		}
	}
}

// golden has the multiples that are spread most evenly over 0 to 1, however many
// there are: targets get their shares without bursts, and without chance.
const golden = 1 / math.Phi

// pick returns the next target by its weight.
func (l *lane) pick() int {
	if len(l.r.shares) == 1 {
		return 0
	}
	l.turn += golden
	if l.turn >= 1 {
		l.turn--
	}
	return min(sort.SearchFloat64s(l.r.shares, math.Nextafter(l.turn, 2)), len(l.r.shares)-1)
}

// A link is an open connection, with TLS if its origin has it.
type link struct {
	net.Conn // line, or TLS above it
	line     *line
	origin   *origin
	state    *tls.ConnectionState // nil: plain
	took     int64                // TCP and TLS, in nanoseconds
	used     int64                // when last, in nanoseconds of the run
}

// open makes a connection. From the moment that the address answers the watch looks
// after it; the caller ends that with line.end.
func (l *lane) open(o *origin, begun int64) (*link, kind, error) {
	at := l.r.now()
	conn, err := l.r.origins.dialer.DialContext(l.r.ctx, "tcp", o.address)
	if own := shortage(err); own != nil {
		l.r.breakOff(own)
		return nil, errOther, own
	}
	if err != nil {
		return nil, connectFailure(err), fmt.Errorf("connect to %s: %w", o.address, bare(err))
	}
	ln, err := newLine(conn)
	if err != nil {
		conn.Close()
		return nil, errOther, fmt.Errorf("connect to %s: %w", o.address, err)
	}
	ln.start(begun)
	l.watch(ln)
	out := &link{Conn: ln, line: ln, origin: o}
	if o.tls != nil {
		secured := tls.Client(ln, o.tls)
		ln.gate = l.r.gate
		err := ln.enter(0)
		if err == nil {
			err = secured.HandshakeContext(context.Background()) // the watch ends it
		}
		ln.leave()
		ln.gate = nil
		if err != nil {
			_ = ln.Close() // with the alert that says why
			return nil, l.failure(ln, err, errTLS), l.handshakeCause(ln, o, err)
		}
		state := secured.ConnectionState()
		out.Conn, out.state = secured, &state
		if l.r.plan.HTTP == "2" && state.NegotiatedProtocol != "h2" {
			_ = secured.Close() // it is of no use
			return nil, errTLS, fmt.Errorf("%s does not speak HTTP/2 (it chose no h2 by ALPN): want --http 1.1", o.name)
		}
	}
	out.took = l.r.now() - at
	return out, noError, nil
}

// watch has the watch look after a connection. A run that has ended meanwhile has
// looked for the last time, so the lane looks itself.
func (l *lane) watch(ln *line) {
	l.active.Store(ln)
	if l.r.over.Load() {
		ln.kill()
	}
}

// counted records a new connection.
func (l *lane) counted(c *link, begun int64) {
	switch {
	case l.r.over.Load():
	case begun >= int64(l.r.plan.Warmup):
		l.shard.connected(c.took, c.state != nil && c.state.DidResume)
	default:
		l.shard.warmed()
	}
}

func connectFailure(err error) kind {
	if os.IsTimeout(err) {
		return errTimeout
	}
	return errConnect
}

// failure says what kind of failure an error is; other is what it is if the
// connection was neither too slow nor cut.
func (l *lane) failure(ln *line, err error, other kind) kind {
	switch {
	case ln.late(), os.IsTimeout(err):
		return errTimeout
	case errors.Is(err, errProtocol):
		return errNoHTTP
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return errReset
	}
	return other
}

// bare takes the addresses off, which stand beside it.
func bare(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok && (op.Addr != nil || op.Source != nil) { // an alert of the server's has none
		return op.Err
	}
	return err
}

// pause keeps clients of a server that is not there from spinning.
func (r *run) pause() {
	t := time.NewTimer(10 * time.Millisecond)
	defer t.Stop()
	select {
	case <-r.ctx.Done():
	case <-t.C:
	}
}
