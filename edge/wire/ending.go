package wire

import (
	"errors"
	"io"
	"net"
	"time"
)

// What Close still takes from a client after the last answer, so that the
// answer is not lost: a close with unread bytes makes the kernel send a reset,
// which discards what the client has not read (RFC 9112 §9.6).
const (
	lingerBytes = 1 << 30 // the time is what bounds it
	lingerTime  = 5 * time.Second
	// lateLingerTime is for a client whose head took too long: it has had its time.
	lateLingerTime = time.Second
)

// Linger makes Close wait a moment for what the client still sends. It is for a
// connection that is closed while a request's body may be on its way.
func (c *Conn) Linger() {
	wait := lingerTime
	if c.msg.head.Refused == errHeadTime {
		wait = lateLingerTime
	}
	c.linger.Store(int64(wait))
}

// Reset closes the connection so that its peer sees an error and not an end.
func (c *Conn) Reset() error {
	c.letGo()
	c.linger.Store(0)
	return c.raw.Reset()
}

// CloseWrite says that nothing more will be sent.
func (c *Conn) CloseWrite() error {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}

// Close closes the connection, after lingering if Linger was called, or if it ends
// with the answer although the client has sent more: the kernel's reset for unread
// bytes would discard what the client has not read (RFC 9112 §9.6). It does nothing
// while a head is coming: whoever serves the connection closes it after the answer.
func (c *Conn) Close() error {
	if c.begun.Load() {
		return nil
	}
	c.letGo()
	wait := time.Duration(c.linger.Swap(0))
	if wait == 0 && c.last.Swap(false) && c.raw.unread() {
		wait = lingerTime
	}
	if wait > 0 {
		c.drain(wait)
	}
	if c.gone.Load() && c.raw.Left() { // not only said goodbye in TLS, which asks for ours (RFC 8446 §6.1)
		return c.raw.Close() // ours would find nobody, and is answered by a reset
	}
	if c.idling.Load() {
		c.raw.brief.Store(true)
	}
	return c.Conn.Close()
}

func (c *Conn) drain(wait time.Duration) {
	if c.CloseWrite() != nil {
		return
	}
	if c.Conn != net.Conn(c.raw) && c.raw.CloseWrite() != nil {
		return
	}
	if c.raw.SetDeadline(time.Now().Add(wait)) != nil {
		return
	}
	// The outcome does not matter: the connection is closed either way.
	_, _ = io.CopyN(io.Discard, c.raw, lingerBytes)
}
