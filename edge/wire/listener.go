package wire

import (
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"syscall"
	"time"
)

// A Listener accepts plain or TLS connections through a Door. A passing error of
// the system's accept, such as a shortage of descriptors, makes it wait and go
// on: the HTTP server in front of it would stop serving for good. It is safe for
// concurrent use.
type Listener struct {
	net.Listener
	door   *Door
	config *tls.Config // nil: plain
	closed chan struct{}
	once   sync.Once
}

// Back-off between attempts to accept while the system refuses.
const (
	shortestPause = 5 * time.Millisecond
	longestPause  = time.Second
)

// Accept returns the next connection, a *Conn or a *TLSConn. Neither PROXY header
// nor TLS handshake has been read yet: that is for the goroutine that serves the
// connection. It fails only once the listener is closed or broken for good.
func (l *Listener) Accept() (net.Conn, error) {
	pause := shortestPause
	for {
		conn, err := l.Listener.Accept()
		if err == nil {
			l.awaitRoom()
			if s := l.door.admit(conn); s != nil {
				return l.wrap(s), nil
			}
			continue
		}
		if !passing(err) {
			return nil, err
		}
		if suppressed, due := l.door.said.due("accept"); due {
			l.door.opts.Log.Warn("connection not accepted, waiting", "listener", l.Addr().String(), "suppressed", suppressed, "err", err)
		}
		l.door.makeRoom()
		if err := l.rest(pause); err != nil {
			return nil, err
		}
		pause = min(2*pause, longestPause)
	}
}

// awaitRoom returns once there is room for a connection, or the listener is
// closed: one that has been accepted is nobody else's to serve, and goes in.
func (l *Listener) awaitRoom() {
	if !l.door.crowded() {
		return
	}
	l.door.waiting.Add(1)
	defer l.door.waiting.Add(-1)
	for {
		closed := l.door.nextClose()
		if !l.door.crowded() {
			return
		}
		if l.door.makeRoom() {
			continue
		}
		if suppressed, due := l.door.said.due("full"); due {
			l.door.opts.Log.Warn("all connections are in use, others wait", "connections", l.door.Open(), "suppressed", suppressed)
		}
		timer := time.NewTimer(roomEvery)
		select {
		case <-closed:
		case <-timer.C:
		case <-l.closed:
			timer.Stop()
			return
		}
		timer.Stop()
	}
}

// rest waits for a pause, or until a connection closes: its descriptor may be
// what is missing.
func (l *Listener) rest(pause time.Duration) error {
	l.door.waiting.Add(1)
	defer l.door.waiting.Add(-1)
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.door.nextClose():
	case <-l.closed:
		return net.ErrClosed
	}
	return nil
}

// Close ends accepting. Connections go on.
func (l *Listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

func (l *Listener) wrap(s *socket) net.Conn {
	if l.config == nil {
		return newConn(s, nil)
	}
	return newConn(s, tls.Server(s, l.config))
}

// passing reports whether accept may succeed later: out of descriptors or
// memory, or a connection that was gone before it was taken (accept(2)).
func passing(err error) bool {
	for _, errno := range []syscall.Errno{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
		syscall.ECONNABORTED, syscall.EINTR, syscall.EPROTO, syscall.EPERM,
	} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}
