package wire

import (
	"bytes"
	"io"
	"sync"
	"time"
)

// firstBuffer holds most heads; a longer one moves to a buffer of its own.
const firstBuffer = 4 << 10

// A message is the request that a connection is at: its head, and what of its
// body has been read from the network already. An idle connection has none.
type message struct {
	head   Head
	parser parser
	chunks chunkReader

	// buf[:pinned] is the head, which must stay where it is; buf[r:w] has come but
	// is not read yet.
	buf          []byte
	pinned, r, w int

	left int64 // of a body with Content-Length
	err  error // sticky outcome of the body; io.EOF: it is over

	waited time.Duration // for the client, since the rate was last good
	came   int           // bytes in that time
}

var messages = sync.Pool{New: func() any { return &message{buf: make([]byte, firstBuffer)} }}

// begin makes m the next message; what has come beyond the one before is its
// beginning.
func (m *message) begin(limits *Limits) {
	m.w = copy(m.buf, m.buf[m.r:m.w])
	m.r, m.pinned = 0, 0
	m.head = Head{Fields: m.head.Fields[:0], Begun: time.Now()}
	m.parser = parser{limits: limits}
	m.chunks, m.left, m.err = chunkReader{}, 0, nil
	m.waited, m.came = 0, 0
}

// release gives m back, with nothing of a client in it. Large buffers go.
func (m *message) release() {
	if len(m.buf) != firstBuffer {
		m.buf = make([]byte, firstBuffer)
	}
	clear(m.buf)
	clear(m.head.Fields[:cap(m.head.Fields)])
	m.head, m.parser = Head{Fields: m.head.Fields[:0]}, parser{}
	m.r, m.w = 0, 0
	messages.Put(m)
}

// readHead reads until the head is whole or refused. It returns an error when
// the connection gave out before a byte of it came.
func (m *message) readHead(c *Conn) (err error) {
	defer func() {
		if v := recover(); v != nil {
			c.logPanic("panic while reading a head", v)
			m.head, err = Head{Refused: errInternal, Begun: m.head.Begun}, nil
		}
	}()
	begun, idle := false, false
	for {
		n, refusal := m.parser.parse(&m.head, m.buf[:m.w])
		if refusal != nil {
			m.refuse(c, refusal)
			return nil
		}
		if n > 0 {
			m.pinned, m.r = n, n
			m.head.Host = m.parser.hostName(c.host)
			c.host = m.head.Host
			return nil
		}
		empty := m.parser.lines == 0 && len(bytes.Trim(m.buf[:m.w], "\r\n")) == 0 // no request yet: RFC 9112 §2.2
		switch {
		case empty:
			idle = true
			err = c.rest()
		case !begun:
			begun = true
			err = c.armRead(c.limits.HeaderTime)
		}
		if err != nil {
			return err
		}
		if m.w == len(m.buf) {
			m.grow()
		}
		got, err := c.Conn.Read(m.buf[m.w:])
		m.w += got
		if idle {
			idle = false
			c.stir(got > 0)
		}
		switch {
		case err == nil || got > 0:
		case empty:
			return io.EOF
		default:
			m.refuse(c, headFault(err))
			return nil
		}
	}
}

// refuse notes why the message is not let in, and for logs what has been read of it.
func (m *message) refuse(c *Conn, refusal *Refusal) {
	m.head.Refused = refusal
	p := &m.parser
	if p.hosts > 0 {
		m.head.Host = string(p.host[:min(len(p.host), keptBytes)])
	}
	if p.target != nil {
		return
	}
	came := m.buf[:m.w]
	line, _, _ := bytes.Cut(bytes.TrimPrefix(came, []byte("\r\n")), []byte{'\n'})
	m.head.keep(bytes.TrimSuffix(line, []byte{'\r'}))
	if c.requests == 0 {
		c.raw.unexpected(came)
	}
}

func headFault(err error) *Refusal {
	if isTimeout(err) {
		return errHeadTime
	}
	return errHeadCut
}

// grow makes room for a longer head, and has the parser begin anew, since what it
// noted lies in the old buffer.
func (m *message) grow() {
	buf := make([]byte, 4*len(m.buf))
	copy(buf, m.buf[:m.w])
	m.buf = buf
	m.head = Head{Fields: m.head.Fields[:0], Begun: m.head.Begun}
	m.parser = parser{limits: m.parser.limits}
}

// readBody reads the body; its end and its errors are sticky.
func (m *message) readBody(c *Conn, b []byte) (n int, err error) {
	switch {
	case m.err != nil:
		return 0, m.err
	case len(b) == 0:
		return 0, nil
	case m.head.Length < 0:
		n, m.err = m.readChunked(c, b)
	default:
		n, m.err = m.take(c, b[:min(int64(len(b)), m.left)])
		if m.left -= int64(n); m.left == 0 {
			m.err = io.EOF // with the last bytes: nobody has to ask once more
		}
	}
	return n, m.err
}

// take reads into b what has come already, or else from the network.
func (m *message) take(c *Conn, b []byte) (int, error) {
	if m.r < m.w {
		n := copy(b, m.buf[m.r:m.w])
		m.r += n
		return n, nil
	}
	return m.read(c, b)
}

// more reads further bytes behind those of buf[r:w].
func (m *message) more(c *Conn) error {
	if m.w == len(m.buf) {
		m.w = m.pinned + copy(m.buf[m.pinned:], m.buf[m.r:m.w])
		m.r = m.pinned
	}
	if m.w == len(m.buf) {
		// The old buffer stays with the head, whose slices point into it.
		buf := make([]byte, firstBuffer+m.w-m.r)
		m.w = copy(buf, m.buf[m.r:m.w])
		m.buf, m.r, m.pinned = buf, 0, 0
	}
	n, err := m.read(c, m.buf[m.w:])
	m.w += n
	return err
}

// read reads from the network, for as long as the client keeps to the minimum
// rate: the time that counts is the time in which we wait for it, so a backend
// that is slow to take an upload does not cut its client.
func (m *message) read(c *Conn, b []byte) (int, error) {
	begin := time.Now()
	if err := c.armRead(c.limits.Stall - m.waited); err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(b)
	if m.tooSlow(n, time.Since(begin), c.limits) || isTimeout(err) {
		return 0, errBodySlow
	}
	switch {
	case n > 0:
		return n, nil
	case err == io.EOF:
		return 0, errBodyCut
	case err == nil:
		return 0, io.ErrNoProgress
	}
	return 0, err
}

// tooSlow takes down that n bytes came after a wait, and reports whether the
// client owes a whole Limits.Stall of the minimum rate.
func (m *message) tooSlow(n int, wait time.Duration, limits *Limits) bool {
	m.waited += wait
	m.came += n
	if limits.MinRate < 0 || m.came >= int(limits.Stall.Seconds()*float64(limits.MinRate)) {
		m.waited, m.came = 0, 0
	}
	return m.waited >= limits.Stall
}
