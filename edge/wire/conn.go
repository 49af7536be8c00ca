package wire

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// standIn is what the HTTP library reads in place of a request.
const standIn = "GET / HTTP/1.1\r\nHost: -\r\n\r\n"

// ErrUnread is what Read returns while the body of a request is not over: the
// rest of it must never be read as a request.
var ErrUnread = errors.New("wire: the request's body has not been read")

// A Conn is a client's connection. Its methods belong to the goroutine that serves
// the request; the body may be read by one other meanwhile. Close, Reset,
// AbortRead, Hurry and Left may be called from any.
type Conn struct {
	net.Conn // what is read and written: the TLS layer if there is one
	raw      *socket
	secured  bool // there is a TLS layer
	limits   *Limits
	born     time.Time

	msg      *message
	offered  int    // bytes of the stand-in that have been read
	sent     bool   // see Sent
	attached any    // see Attach
	requests int    // heads read
	host     string // of the last request
	idle     idleReader

	linger atomic.Int64 // how long Close takes what still comes; 0: not at all
	tunnel atomic.Bool
	// begun: a head is coming, and the HTTP library takes the connection for idle
	// still: it closes those when it shuts down.
	begun  atomic.Bool
	idling atomic.Bool // waiting for a request's first byte
	kept   atomic.Bool // the answer under way lets the connection go on
	last   atomic.Bool // the answer under way is the last
	gone   atomic.Bool // the client has ended the connection between two requests

	mu       sync.Mutex // held for moments
	hurry    time.Time  // a bound on all reads besides; zero: none
	idleBy   time.Time  // the deadline in force, if it is that of waiting for a request; else zero
	readOver bool       // AbortRead was called

	// Its own lock, since it is held while an interim answer is written, and a
	// client that does not take that must not hold up AbortRead.
	interim   sync.Mutex
	answering bool // the final answer is being written: no interim one any more
}

// newConn makes the connection that the HTTP library is given, over s. secured is
// the TLS layer over s; nil: plain.
func newConn(s *socket, secured *tls.Conn) net.Conn {
	if secured != nil {
		c := &TLSConn{tls: secured}
		c.Conn.Conn, c.raw, c.secured, c.limits, c.born = secured, s, true, &s.door.opts.Limits, time.Now()
		s.owner.Store(&c.Conn)
		return c
	}
	c := &Conn{Conn: s, raw: s, limits: &s.door.opts.Limits, born: time.Now()}
	c.idle.init(s)
	s.owner.Store(c)
	return c
}

// Read gives the HTTP library a stand-in for each request: a short request that
// means nothing, while Head has the true one. It waits for the next request, and
// returns io.EOF when the client sends none. After Tunnel it reads what the
// client sends.
func (c *Conn) Read(p []byte) (n int, err error) {
	defer func() { // the library would let a panic end the process
		if v := recover(); v != nil {
			err = c.panicked("panic while reading a request", v)
		}
	}()
	if c.tunnel.Load() {
		return c.readTunnel(p)
	}
	if c.offered == 0 || c.offered == len(standIn) {
		if err := c.next(); err != nil {
			return 0, err
		}
		c.offered = 0
	}
	n = copy(p, standIn[c.offered:])
	if c.offered += n; c.offered == len(standIn) {
		c.begun.Store(false) // from the stand-in's first byte on, the library knows that there is a request
	}
	return n, nil
}

// Next waits for the next request, whose Head and Body then are the connection's. It
// is for whoever serves one request after another without going back to the HTTP
// library, which then takes all of them for one. After an error, io.EOF if the client
// sends no more, the connection is of no use.
func (c *Conn) Next() (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = c.panicked("panic while reading a request", v)
		}
	}()
	err = c.next()
	c.begun.Store(false)
	return err
}

// panicked says what happened and ends the connection: it is in no known state.
func (c *Conn) panicked(where string, v any) error {
	c.logPanic(where, v)
	_ = c.Reset() // it is gone either way
	return fmt.Errorf("%s: %v", where, v)
}

func (c *Conn) logPanic(where string, v any) {
	c.raw.door.opts.Log.Error("panic", "where", where, "client", c.RemoteAddr().String(), "value", fmt.Sprint(v), "stack", string(debug.Stack()))
}

// next reads the next head.
func (c *Conn) next() error {
	c.letGo() // whoever asks for the next request has written the answer
	c.sent = false
	if m := c.msg; m != nil {
		if m.head.Refused != nil || m.err != io.EOF {
			return ErrUnread
		}
		if m.r == m.w {
			c.msg = nil
			m.release()
		}
	}
	if c.msg == nil {
		if err := c.await(); err != nil {
			return err
		}
	}
	c.begun.Store(true)
	c.setAnswering(false)
	c.msg.begin(c.limits)
	if err := c.msg.readHead(c); err != nil {
		c.begun.Store(false)
		return err
	}
	c.requests++
	h := &c.msg.head
	if h.Refused == nil {
		c.raw.serving()
	}
	if h.Refused != nil || h.Length == 0 {
		c.msg.err = io.EOF
	}
	c.msg.left = max(h.Length, 0)
	h.Last = h.Last || h.Refused != nil ||
		c.limits.Requests > 0 && c.requests >= c.limits.Requests ||
		c.limits.Age > 0 && time.Since(c.born) >= c.limits.Age
	return nil
}

// await waits for the first bytes of a request. It holds no buffer meanwhile.
func (c *Conn) await() error {
	if err := c.armIdle(); err != nil {
		return err
	}
	c.raw.waiting()
	c.idling.Store(true)
	m, err := c.idle.read(c.Conn)
	c.gone.Store(err == io.EOF)
	c.begun.Store(err == nil)
	c.idling.Store(false)
	if err != nil {
		return err
	}
	c.msg = m
	return nil
}

// Head returns the request whose stand-in was read last. It is valid until the
// next stand-in is read.
func (c *Conn) Head() *Head { return &c.msg.head }

// Body returns the body of the request that Head describes.
func (c *Conn) Body() io.Reader { return (*body)(c) }

// A body is a Conn as the reader of its request's body. A fault of the client is
// a *Refusal.
type body Conn

// Read implements io.Reader. A client that waits for leave to send is given it.
func (b *body) Read(p []byte) (int, error) {
	c := (*Conn)(b)
	m := c.msg
	if m.head.expects {
		m.head.expects = false
		if m.r == m.w { // else the body is on its way already
			if err := c.inform([]byte("HTTP/1.1 100 Continue\r\n\r\n")); err != nil {
				return 0, err
			}
		}
	}
	return m.readBody(c, p)
}

// Expecting reports whether the client waits for leave to send its body: it may
// send it or not, so the connection cannot be used again without reading it.
func (c *Conn) Expecting() bool { return c.msg.head.expects }

// Tunnel makes the connection a tunnel: Read delivers what the client sends, and
// silence in it is its ends' business.
func (c *Conn) Tunnel() {
	c.tunnel.Store(true)
	c.last.Store(false) // it has no last answer that a close could cut
	c.raw.unhurried()
	_ = c.Conn.SetDeadline(time.Time{}) // fails only on a closed connection
}

func (c *Conn) readTunnel(p []byte) (int, error) {
	if m := c.msg; m != nil && m.r < m.w {
		n := copy(p, m.buf[m.r:m.w])
		m.r += n
		return n, nil
	}
	return c.Conn.Read(p)
}

// AbortRead makes a blocked Read of the body, and every later one, fail at once.
func (c *Conn) AbortRead() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.readOver, c.idleBy = true, time.Time{}
	return c.Conn.SetReadDeadline(time.Unix(1, 0))
}

// Hurry bounds all reads, beside the connection's own limits; the zero time
// takes that bound off.
func (c *Conn) Hurry(until time.Time) {
	c.mu.Lock()
	c.hurry, c.idleBy = until, time.Time{}
	c.mu.Unlock()
}

// SetDeadline does nothing, nor do SetReadDeadline and SetWriteDeadline: the phases of a
// connection have deadlines of their own.
func (c *Conn) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing; see SetDeadline.
func (c *Conn) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing; see SetDeadline.
func (c *Conn) SetWriteDeadline(time.Time) error { return nil }

// armRead sets the deadline of the next read.
func (c *Conn) armRead(within time.Duration) error {
	by := time.Now().Add(within)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idleBy = time.Time{}
	return c.setRead(by)
}

// armIdle sets the deadline of waiting for a request. One in force that is not yet far
// into its last eighth will do: to move a deadline for each request costs more than to
// route it.
func (c *Conn) armIdle() error {
	within, now := c.limits.Idle, time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.idleBy.Sub(now) >= within-within/8 && c.hurry.IsZero() && !c.readOver {
		return nil
	}
	c.idleBy = now.Add(within)
	return c.setRead(c.idleBy)
}

// setRead puts a deadline in force, or an earlier one that holds besides, with mu held.
func (c *Conn) setRead(by time.Time) error {
	if !c.hurry.IsZero() && c.hurry.Before(by) {
		by = c.hurry
	}
	if c.readOver {
		by = time.Unix(1, 0)
	}
	return c.Conn.SetReadDeadline(by)
}

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// Left reports whether the client has closed the connection, or its half of it.
// It asks the kernel and reads nothing. Where the system cannot tell, the client
// counts as still there.
func (c *Conn) Left() bool { return c.raw.Left() }

// Attach keeps a value with the connection, for whoever serves its requests.
func (c *Conn) Attach(v any) { c.attached = v }

// Attached returns what Attach was given; nil if it never was.
func (c *Conn) Attached() any { return c.attached }
