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
)

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

// SetReadDeadline bounds all reads from now on, in place of StallTimeout.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.readBy = t
	return c.armRead()
}

// SetDeadline is SetReadDeadline and SetWriteDeadline.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// armRead sets the deadline of the next read, with mu held.
func (c *Conn) armRead() error {
	by := c.readBy
	if by.IsZero() && !c.patient.Load() {
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
	return c.Conn.Read(p)
}

// Write implements io.Writer.
func (c *Conn) Write(p []byte) (int, error) {
	if !c.patient.Load() {
		if err := c.SetWriteDeadline(time.Now().Add(StallTimeout)); err != nil {
			return 0, err
		}
	}
	return c.Conn.Write(p)
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
