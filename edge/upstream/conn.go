package upstream

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// conn is one connection to the backend. One round trip uses it at a time; only its deadlines,
// writes of the request body and raw.Close are touched from a second goroutine.
type conn struct {
	stream
	nc   net.Conn // what HTTP is spoken on: raw itself, or TLS over it
	raw  net.Conn
	recs *records // nil without TLS

	look  syscall.RawConn // nil: the connection cannot be looked at and is never kept
	peek  func(fd uintptr)
	quiet bool // result of the last peek

	// The deadlines in force; zero: another one than we remember.
	readDue, writeDue time.Time

	stall  time.Duration // longest silence per read once the head has come; 0 while it has not, negative for none
	reused bool

	address netip.Addr // of those that the backend's name led to; zero: it is no name

	// The backend has counted this connection as idle for at least as long as we have (idled), and at
	// most since its last request went out (asked): the answer may have waited in our kernel, for a
	// client that reads slowly or a processor.
	asked, idled time.Time
}

func newConn(raw net.Conn) *conn {
	c := &conn{nc: raw, raw: raw}
	c.src, c.maxHead, c.maxFields = c, defaultHead, defaultFields
	if sc, ok := raw.(syscall.Conn); ok {
		if rc, err := sc.SyscallConn(); err == nil {
			c.look, c.peek = rc, c.peekDescriptor
		}
	}
	return c
}

// secure runs the TLS handshake within the connection's deadline.
func (c *conn) secure(handshake func(*tls.Conn) error, config *tls.Config) error {
	c.recs = &records{Conn: c.raw}
	tc := tls.Client(c.recs, config)
	if err := handshake(tc); err != nil {
		return fmt.Errorf("tls handshake: %w", err)
	}
	c.nc = tc
	return nil
}

// Read reads from the backend. While a body is read, each read has its own time limit, so that a
// long transfer is not cut as long as it moves.
func (c *conn) Read(p []byte) (int, error) {
	switch {
	case c.stall > 0:
		if err := c.readWithin(c.stall, time.Now()); err != nil {
			return 0, err
		}
	case c.stall < 0:
		c.readDue = time.Time{}
		if err := c.nc.SetReadDeadline(time.Time{}); err != nil {
			return 0, err
		}
	}
	return c.nc.Read(p)
}

// readWithin has reads fail after d, or up to an eighth later: a deadline that is in force already
// and lies there is left alone, since moving one costs about as much as copying a whole answer.
func (c *conn) readWithin(d time.Duration, now time.Time) error {
	return within(&c.readDue, d, now, c.nc.SetReadDeadline)
}

// writeWithin is readWithin for writes.
func (c *conn) writeWithin(d time.Duration, now time.Time) error {
	return within(&c.writeDue, d, now, c.nc.SetWriteDeadline)
}

func within(due *time.Time, d time.Duration, now time.Time, set func(time.Time) error) error {
	latest := d + d/8
	if left := due.Sub(now); left >= d && left <= latest {
		return nil
	}
	*due = now.Add(latest)
	return set(*due)
}

// readBody reads body bytes. Large reads of an empty buffer go straight to p; not so under TLS,
// where reading less than a record would leave bytes inside crypto/tls that no peek can see.
func (c *conn) readBody(p []byte) (int, error) {
	if c.recs == nil && c.r == c.w && len(p) >= 4096 {
		n, err := c.Read(p)
		if n > 0 {
			return n, nil
		}
		return 0, err
	}
	return c.read(p)
}

// write writes b whole. sent reports whether any byte may have left, also on error.
func (c *conn) write(b []byte) (sent bool, err error) {
	before := int64(0)
	if c.recs != nil {
		before = c.recs.wrote.Load()
	}
	n, err := c.nc.Write(b)
	return n > 0 || c.recs != nil && c.recs.wrote.Load() != before, err
}

// spent reports whether every byte that has arrived so far was part of the answer: nothing in our
// buffer, in crypto/tls or in a half-read TLS record. What the kernel holds, usable looks for later.
func (c *conn) spent() bool {
	return c.r == c.w && (c.recs == nil || !c.full && c.recs.atBoundary())
}

// usable looks whether an idle connection is open and has nothing to read. Whatever could be read
// was not asked for: an answer to no request (RFC 9112 §9.2 calls for closing), a TLS alert, the end.
func (c *conn) usable() bool {
	c.quiet = false
	// Control, not Read: an old deadline must not decide.
	if c.look == nil || c.look.Control(c.peek) != nil {
		return false
	}
	return c.quiet
}

func (c *conn) peekDescriptor(fd uintptr) {
	var b [1]byte
	for {
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		if err == syscall.EINTR {
			continue
		}
		c.quiet = err == syscall.EAGAIN || err == syscall.EWOULDBLOCK
		return
	}
}

// retire closes a connection on which no message is open; under TLS the backend is told.
func (c *conn) retire() {
	_ = c.nc.Close() // nothing was pending: a failing close loses nothing
}

// sever closes a connection in the middle of a message. No close_notify is sent, so that what was
// cut cannot be taken for complete.
func (c *conn) sever() {
	_ = c.raw.Close() // it is being thrown away
}
