package wire

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// HandshakeTimeout bounds a TLS handshake, from the accepted connection on.
	HandshakeTimeout = 10 * time.Second
	// StallTimeout bounds a single read or write: a client that sends nothing
	// while something is expected, or takes nothing while something is sent, is
	// given up. A tunnel is exempt (Unhurried).
	StallTimeout = 60 * time.Second
	// HeadTimeout bounds a request's head, from its first byte to HeadDone: a client
	// that sends a byte now and then must not hold a connection for ever.
	HeadTimeout = 10 * time.Second
)

// writePiece is how much is written under one StallTimeout: a client that takes a
// large answer slowly is slow, not stalled.
const writePiece = 32 << 10

// What Close still takes from a client after the last answer, so that the
// answer is not lost: a close with unread bytes makes the kernel send a reset,
// which discards what the client has not read (RFC 9112 §9.6).
const (
	lingerBytes = 1 << 30 // the time is what bounds it
	lingerTime  = 5 * time.Second
)

// A Conn is a client's connection.
type Conn struct {
	net.Conn          // what is read and written: the TLS layer if there is one
	raw      net.Conn // the network connection below
	linger   atomic.Bool
	patient  atomic.Bool // no StallTimeout

	mu       sync.Mutex
	readBy   time.Time // the deadline that was asked for; zero: none
	headBy   time.Time // the deadline of the head that is being read; zero: none is
	begun    bool      // a byte has come
	readOver bool      // AbortRead was called
}

// Linger makes Close wait a moment for what the client still sends. It is for a
// connection that is closed while a request's body may be on its way.
func (c *Conn) Linger() { c.linger.Store(true) }

// Unhurried lifts StallTimeout: the connection is a tunnel now, and silence in
// it is its ends' business.
func (c *Conn) Unhurried() {
	c.patient.Store(true)
	_ = c.SetDeadline(time.Time{}) // fails only on a closed connection
}

// AbortRead makes a blocked Read, and every later one, fail at once.
func (c *Conn) AbortRead() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.readOver = true
	return c.Conn.SetReadDeadline(time.Unix(1, 0))
}

// SetReadDeadline bounds all reads from now on, in place of StallTimeout. Taking
// the bound off is how the HTTP library begins to read a head after a pause.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.readBy = t; t.IsZero() {
		c.headBy = time.Now().Add(HeadTimeout)
	}
	return c.armRead()
}

// HeadDone says that a request's head has been read.
func (c *Conn) HeadDone() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.headBy, c.begun = time.Time{}, true
}

// SetDeadline is SetReadDeadline and SetWriteDeadline. Taking bounds off a closed
// connection is no error: whoever takes it over will see.
func (c *Conn) SetDeadline(t time.Time) error {
	err := errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
	if t.IsZero() {
		return nil
	}
	return err
}

// Reset closes the connection so that its peer sees an error and not an end.
func (c *Conn) Reset() error {
	c.linger.Store(false)
	if tcp, ok := c.raw.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // fails only on a closed connection
	}
	return c.raw.Close()
}

// armRead sets the deadline of the next read, with mu held.
func (c *Conn) armRead() error {
	by := c.readBy
	switch {
	case !by.IsZero() || c.patient.Load():
	case !c.headBy.IsZero():
		by = c.headBy
	default:
		by = time.Now().Add(StallTimeout)
	}
	if c.readOver {
		by = time.Unix(1, 0)
	}
	return c.Conn.SetReadDeadline(by)
}

// Read implements io.Reader.
func (c *Conn) Read(p []byte) (int, error) {
	if !c.patient.Load() {
		c.mu.Lock()
		err := c.armRead()
		c.mu.Unlock()
		if err != nil {
			return 0, err
		}
	}
	n, err := c.Conn.Read(p)
	if n > 0 && !c.patient.Load() {
		c.mu.Lock()
		if !c.begun { // the first byte of the first head
			c.begun, c.headBy = true, time.Now().Add(HeadTimeout)
		}
		c.mu.Unlock()
	}
	return n, err
}

// Write implements io.Writer.
func (c *Conn) Write(p []byte) (int, error) {
	if c.patient.Load() {
		return c.Conn.Write(p)
	}
	written := 0
	for {
		if err := c.SetWriteDeadline(time.Now().Add(StallTimeout)); err != nil {
			return written, err
		}
		n, err := c.Conn.Write(p[written:min(len(p), written+writePiece)])
		if written += n; err != nil || written == len(p) {
			return written, err
		}
	}
}

// CloseWrite says that nothing more will be sent.
func (c *Conn) CloseWrite() error {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}

// Close closes the connection, after lingering if Linger was called.
func (c *Conn) Close() error {
	if c.linger.Swap(false) {
		c.drain()
	}
	return c.Conn.Close()
}

func (c *Conn) drain() {
	if c.CloseWrite() != nil {
		return
	}
	if tcp, ok := c.raw.(*net.TCPConn); ok && c.Conn != c.raw && tcp.CloseWrite() != nil {
		return
	}
	if c.raw.SetDeadline(time.Now().Add(lingerTime)) != nil {
		return
	}
	// The outcome does not matter: the connection is closed either way.
	_, _ = io.CopyN(io.Discard, c.raw, lingerBytes)
}

// A TLSConn is a client's connection with TLS.
type TLSConn struct {
	Conn
	tls *tls.Conn
}

// Handshake runs the TLS handshake within HandshakeTimeout.
func (c *TLSConn) Handshake() error {
	if err := c.raw.SetDeadline(time.Now().Add(HandshakeTimeout)); err != nil {
		return err
	}
	if err := c.tls.Handshake(); err != nil {
		return err
	}
	return c.raw.SetDeadline(time.Time{})
}

// ConnectionState is that of the TLS layer; zero before the handshake.
func (c *TLSConn) ConnectionState() tls.ConnectionState { return c.tls.ConnectionState() }
