package wire

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"
)

// A Listener accepts plain or TLS connections. A passing error of the system's
// accept, such as a shortage of descriptors, makes it wait and go on: the HTTP
// server in front of it would stop serving for good.
type Listener struct {
	net.Listener
	// Config: nil for plain connections. It is used as it is, not cloned, so that
	// what its callbacks see is always live.
	config *tls.Config
	limits Limits
	log    *slog.Logger
	closed chan struct{}
	once   sync.Once
}

// Listen wraps a listener. config nil: plain connections. A nil logger discards.
func Listen(inner net.Listener, config *tls.Config, limits Limits, log *slog.Logger) *Listener {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Listener{Listener: inner, config: config, limits: limits.withDefaults(), log: log, closed: make(chan struct{})}
}

// Back-off between attempts to accept while the system refuses.
const (
	shortestPause = 5 * time.Millisecond
	longestPause  = time.Second
)

// Accept returns the next connection. The TLS handshake has not taken place
// yet: it runs in the goroutine that serves the connection. It fails only once
// the listener is closed or broken for good.
func (l *Listener) Accept() (net.Conn, error) {
	for pause := shortestPause; ; pause = min(2*pause, longestPause) {
		conn, err := l.Listener.Accept()
		if err == nil {
			return l.wrap(conn), nil
		}
		if !passing(err) {
			return nil, err
		}
		l.log.Warn("connection not accepted, waiting", "listener", l.Addr().String(), "err", err, "pause", pause)
		select {
		case <-time.After(pause):
		case <-l.closed:
			return nil, net.ErrClosed
		}
	}
}

// Close ends accepting. Connections go on.
func (l *Listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

func (l *Listener) wrap(conn net.Conn) net.Conn {
	LimitUnsent(conn)
	if l.config == nil {
		return newConn(conn, nil, &l.limits)
	}
	return newConn(conn, tls.Server(conn, l.config), &l.limits)
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
