package wire

import (
	"io"
	"net"
	"os"
	"syscall"
)

// An idleReader waits for the first bytes of a message without holding a buffer
// while there are none: ten thousand idle connections cost no ten thousand
// buffers.
type idleReader struct {
	socket *socket
	raw    syscall.RawConn // of a plain TCP connection; nil: TLS, or none
	first  []byte          // of a TLS connection: what comes first is read here

	attempt func(fd uintptr) bool // try, bound once
	msg     *message              // what try has read
	err     error
}

// firstBytes holds most heads whole, so that a request over TLS takes one read.
const firstBytes = 1 << 10

// init is told of a plain connection.
func (i *idleReader) init(s *socket) {
	if s.tcp == nil {
		return
	}
	if raw, err := s.tcp.SyscallConn(); err == nil {
		i.socket, i.raw, i.attempt = s, raw, i.try
	}
}

// read waits for bytes and returns them as a new message's.
func (i *idleReader) read(conn net.Conn) (*message, error) {
	if i.raw == nil || i.socket.early.Load() { // a PROXY header is the socket's to read
		if i.first == nil {
			i.first = make([]byte, firstBytes)
		}
		n, err := conn.Read(i.first)
		if n == 0 {
			return nil, orEOF(err)
		}
		m := messages.Get().(*message)
		m.w = copy(m.buf, i.first[:n])
		return m, nil
	}
	if err := i.raw.Read(i.attempt); err != nil {
		return nil, err
	}
	m := i.msg
	i.msg = nil
	return m, i.err
}

// try reads into a pooled message. It reports false while there is nothing to
// read: then it is called again once there is.
func (i *idleReader) try(fd uintptr) bool {
	m := messages.Get().(*message)
	n, err := syscall.Read(int(fd), m.buf)
	for err == syscall.EINTR {
		n, err = syscall.Read(int(fd), m.buf)
	}
	if n <= 0 {
		messages.Put(m)
		switch err {
		case syscall.EAGAIN: // the usual case: nothing has come yet
			return false
		case nil:
			i.err = io.EOF
		default:
			i.err = os.NewSyscallError("read", err)
		}
		return true
	}
	m.w = n
	i.msg, i.err = m, nil
	return true
}

func orEOF(err error) error {
	if err == nil {
		return io.ErrNoProgress
	}
	return err
}

// rest says that the connection is as good as idle: what has come is no more than
// the empty line that old clients send behind a body. Without it the deadline of
// what was read last would cut the connection, at once behind a slow answer, and a
// drain would take the line for a head that is coming.
func (c *Conn) rest() error {
	if c.raw.waits.Load() == 0 { // else the idle time runs already
		if err := c.armIdle(); err != nil {
			return err
		}
		c.raw.waiting()
	}
	c.idling.Store(true)
	c.begun.Store(false)
	return nil
}

// stir ends the rest; with bytes, a head is coming.
func (c *Conn) stir(bytes bool) {
	c.begun.Store(bytes)
	c.idling.Store(false)
}
