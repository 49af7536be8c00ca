package upstream

import (
	"bytes"
	"errors"
	"io"
	"net"
	"time"
)

// upgrade hands the connection over to the caller.
func (x *exchange) upgrade(req *Request, h *head) error {
	if req.Upgrade == "" || h.http10 || !h.upgrade || !h.websocket {
		return errSwitch
	}
	if !x.line.end() {
		return x.line.why(net.ErrClosed)
	}
	if err := x.c.nc.SetDeadline(time.Time{}); err != nil {
		return err
	}
	c := x.c
	x.c, x.err = nil, io.EOF
	x.Upgraded = &upgraded{Conn: c.nc, early: bytes.Clone(c.buffered())}
	c.release()
	return nil
}

// upgraded is a connection whose first bytes came with the head of the answer.
type upgraded struct {
	net.Conn
	early []byte
}

// Read gives the early bytes first.
func (u *upgraded) Read(p []byte) (int, error) {
	if len(u.early) == 0 {
		return u.Conn.Read(p)
	}
	n := copy(p, u.early)
	if u.early = u.early[n:]; len(u.early) == 0 {
		u.early = nil
	}
	return n, nil
}

// CloseWrite ends our direction only, where the connection can do that.
func (u *upgraded) CloseWrite() error {
	if c, ok := u.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return errors.ErrUnsupported
}
