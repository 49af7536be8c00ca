package wire

import (
	"crypto/tls"
	"io"
	"net"
	"sync/atomic"
	"time"
)

// HandshakeTimeout bounds a TLS handshake, from the accepted connection on.
const HandshakeTimeout = 10 * time.Second

// What Close still takes from a client after the last answer, so that the
// answer is not lost: a close with unread bytes makes the kernel send a reset,
// which discards what the client has not read (RFC 9112 §9.6).
const (
	lingerBytes = 256 << 10
	lingerTime  = time.Second
)

// A Conn is a client's connection.
type Conn struct {
	net.Conn          // what is read and written: the TLS layer if there is one
	raw      net.Conn // the network connection below
	linger   atomic.Bool
}

// Linger makes Close wait a moment for what the client still sends. It is for a
// connection that is closed while a request's body may be on its way.
func (c *Conn) Linger() { c.linger.Store(true) }

// AbortRead makes a blocked Read, and every later one, fail at once.
func (c *Conn) AbortRead() error { return c.SetReadDeadline(time.Unix(1, 0)) }

// Close closes the connection, after lingering if Linger was called.
func (c *Conn) Close() error {
	if c.linger.Swap(false) {
		c.drain()
	}
	return c.Conn.Close()
}

func (c *Conn) drain() {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
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
