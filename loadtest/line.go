package loadtest

import (
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

// A line is a TCP connection that saves system calls where a request and its answer
// take turns: what is written is held back until something is read, sent then, and
// the first look for the answer waits until there is one. (net.Conn asks at once,
// is told to come again, and waits then.) One goroutine at a time may use it; kill
// may be called by any.
type line struct {
	net.Conn
	raw syscall.RawConn

	// begun is when the exchange under way began, in nanoseconds of the run, plus 1;
	// 0: none is. The watch changes it to overdue when it kills the connection.
	begun atomic.Int64

	killed atomic.Bool

	gate   *gate // of a handshake; nil: there is none, or it is over
	inside bool  // of its door
	door   int
	plain  bool // holds nothing back any more
	held   []byte
	turn   func(fd uintptr) bool // l.exchange, made once
	into   []byte                // of the exchange under way
	sent   bool
	short  bool // not all of held went out: the rest is sent the slow way
	n      int
	err    error
}

// overdue is what begun holds after a timeout.
const overdue = -1

// holdMost is how much is held back; more is sent at once.
const holdMost = 16 << 10

func newLine(c net.Conn) (*line, error) {
	l := &line{Conn: c}
	var err error
	if sc, ok := c.(syscall.Conn); ok {
		l.raw, err = sc.SyscallConn()
	}
	l.turn = l.exchange
	return l, err
}

// Write holds p back, or sends it if there is much of it.
func (l *line) Write(p []byte) (int, error) {
	if l.plain {
		return l.Conn.Write(p)
	}
	if len(l.held)+len(p) <= holdMost {
		l.held = append(l.held, p...)
		return len(p), nil
	}
	if err := l.flush(); err != nil {
		return 0, err
	}
	return l.Conn.Write(p)
}

// direct makes it an ordinary connection, which one goroutine may read while another
// writes.
func (l *line) direct() error {
	l.plain = true
	return l.flush()
}

// flush sends what is held back.
func (l *line) flush() error {
	if len(l.held) == 0 {
		return nil
	}
	_, err := l.Conn.Write(l.held)
	l.held = l.held[:0]
	return err
}

// Read sends what is held back and reads. In a handshake, what comes in has to wait for
// its turn to be computed with.
func (l *line) Read(p []byte) (int, error) {
	if l.gate == nil {
		return l.read(p)
	}
	l.leave()
	n, err := l.read(p)
	if over := l.enter(1); err == nil {
		err = over
	}
	return n, err
}

// enter waits until a handshake may compute; leave says that it does not now.
func (l *line) enter(door int) (err error) {
	l.door = door
	l.inside, err = l.gate.enter(door)
	return err
}

func (l *line) leave() {
	if l.inside {
		l.inside = false
		l.gate.leave(l.door)
	}
}

func (l *line) read(p []byte) (int, error) {
	if l.plain || len(l.held) == 0 || l.raw == nil || len(p) == 0 {
		if !l.plain {
			if err := l.flush(); err != nil {
				return 0, err
			}
		}
		return l.Conn.Read(p)
	}
	l.into, l.sent, l.short, l.n, l.err = p, false, false, 0, nil
	err := l.raw.Read(l.turn)
	l.into = nil
	switch {
	case err != nil: // closed
		return 0, err
	case l.short:
		rest := l.held[l.n:]
		l.held = l.held[:0]
		if _, err := l.Conn.Write(rest); err != nil {
			return 0, err
		}
		return l.Conn.Read(p)
	}
	l.held = l.held[:0]
	return l.n, l.err
}

// exchange is called by the poller: it sends, and says that it has to wait; called
// again, it reads. The poller forgets what came in before the first call, never
// what comes after it, so no answer is missed.
func (l *line) exchange(fd uintptr) bool {
	if !l.sent {
		l.sent = true
		n, err := sendNow(fd, l.held)
		if n < len(l.held) || err != nil {
			l.short, l.n = true, max(n, 0) // full, or broken: then the slow way finds the error too
			return true
		}
		return false
	}
	n, err := receiveNow(fd, l.into)
	switch {
	case err == syscall.EAGAIN:
		return false
	case err != nil:
		l.err = err
	case n == 0:
		l.err = io.EOF
	default:
		l.n = n
	}
	return true
}

// A lull is what a connection is like between two requests.
type lull int

const (
	quiet   lull = iota
	ended        // by the server
	unasked      // the server has said something that nobody asked for
)

// look says what has come since the last answer.
func (l *line) look() lull {
	if l.raw == nil {
		return quiet
	}
	state := ended
	if l.raw.Control(func(fd uintptr) { state = lullOf(fd) }) != nil {
		return ended
	}
	return state
}

// Close sends what is held back and closes.
func (l *line) Close() error {
	err := l.flush()
	if closeErr := l.Conn.Close(); err == nil {
		err = closeErr
	}
	return err
}

// kill makes whatever waits for the connection fail, now and from now on; whoever uses
// it gets the error and closes it. (Close would wait until that one is scheduled: among
// thousands of busy clients this takes long for each.)
func (l *line) kill() {
	l.killed.Store(true)
	_ = l.SetDeadline(past) // fails only if it is closed
}

// past is a time that is over.
var past = time.Unix(1, 0)

// SetWriteDeadline is how TLS gives its goodbye five seconds; not to what was killed.
func (l *line) SetWriteDeadline(t time.Time) error {
	if l.killed.Load() {
		return nil
	}
	err := l.Conn.SetWriteDeadline(t)
	if l.killed.Load() { // meanwhile
		_ = l.Conn.SetWriteDeadline(past)
	}
	return err
}

// start and end mark an exchange for the watch; end reports whether it took too long.
func (l *line) start(now int64)  { l.begun.Store(now + 1) }
func (l *line) end() (late bool) { return l.begun.Swap(0) == overdue }
func (l *line) late() bool       { return l.begun.Load() == overdue }
func (l *line) expire(before int64) bool {
	begun := l.begun.Load()
	return begun > 0 && begun < before && l.begun.CompareAndSwap(begun, overdue)
}
