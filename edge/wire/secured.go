package wire

import (
	"crypto/tls"
	"errors"
	"time"
)

// errHellos is why a handshake was not begun.
var errHellos = errors.New("client begins too many TLS handshakes")

// A TLSConn is a client's connection with TLS.
type TLSConn struct {
	Conn
	tls *tls.Conn
}

// Handshake reads the PROXY header, if there may be one, and runs the TLS
// handshake, both within Limits.Handshake.
func (c *TLSConn) Handshake() error {
	err := c.handshake()
	if err == nil {
		return c.raw.SetDeadline(time.Time{})
	}
	if record, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		c.raw.unexpected(record.RecordHeader[:])
	}
	if !errors.Is(err, errHellos) && !c.raw.refused() { // those have been counted
		c.raw.door.opts.HandshakeFailed(err)
	}
	return err
}

func (c *TLSConn) handshake() (err error) {
	defer func() { // the HTTP library would let it end the process
		if v := recover(); v != nil {
			err = c.panicked("panic in a TLS handshake", v)
		}
	}()
	c.raw.handshakeBy = time.Now().Add(c.limits.Handshake)
	if err := c.raw.SetDeadline(c.raw.handshakeBy); err != nil {
		return err
	}
	if err := c.raw.announce(); err != nil {
		return err
	}
	if !c.raw.door.greets(c.raw) {
		c.raw.door.refuse(c.raw, refusedHello, nil)
		return errHellos
	}
	if err := c.tls.Handshake(); err != nil {
		return err
	}
	c.raw.door.opts.Handshaken(c)
	return nil
}

// ConnectionState is that of the TLS layer; zero before the handshake.
func (c *TLSConn) ConnectionState() tls.ConnectionState { return c.tls.ConnectionState() }
