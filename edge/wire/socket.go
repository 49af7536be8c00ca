package wire

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// errStalled is what a write gets whose reader takes too little of it.
var errStalled = errors.New("client takes too little of what is written")

// A socket is a client's network connection, below TLS if there is any. It owns
// what belongs to the connection as such: the pace of writes, the peer's address
// with or without a PROXY header, and its place in the Door's counts.
//
// Pacing has to be here: a deadline that fires in a write of crypto/tls ruins the
// TLS connection for good, so that layer must not see any but the last.
//
// Like any net.Conn it is safe for concurrent use.
type socket struct {
	net.Conn
	door   *Door
	tcp    *net.TCPConn // nil: it is none
	owner  atomic.Pointer[Conn]
	tunnel atomic.Bool // no pacing any more
	brief  atomic.Bool // what would wait is not written any more: the goodbye of TLS to a client that takes nothing

	waits atomic.Int64 // since when it waits for a request, unix nanoseconds; 0: one is being served
	asked atomic.Bool  // it has brought a request

	counted  netip.Addr  // what PerIP counts it under; zero: not at all; guarded by mu
	released atomic.Bool // closed, and not in the counts any more

	// Early: a PROXY header may be before the client's first byte. See proxy.go.
	early   atomic.Bool
	opening sync.Mutex // held while the header is read
	failed  error      // why it was refused; guarded by opening
	rest    []byte     // what was read beyond it; guarded by opening
	named   atomic.Pointer[header]

	writing   sync.Mutex // held during a write
	pace      pace       // guarded by writing
	gathering *[]byte    // what is held back; nil: nothing is; guarded by writing
	torn      error      // of a write of what was held back; guarded by writing
	acked     func() uint64

	handshakeBy time.Time // see HandshakeBy

	mu       sync.Mutex // held for moments
	readBy   time.Time  // the deadline that was asked for while early
	headerBy time.Time  // that of the PROXY header
	writeBy  time.Time  // the deadline that was asked for; zero: none
	sampleBy time.Time  // when a blocked write is looked at
}

// newSocket wraps an accepted connection. It is not in d's counts yet.
func newSocket(conn net.Conn, d *Door) *socket {
	s := &socket{Conn: conn, door: d, pace: pace{rate: int64(d.opts.Limits.MinRate), stall: d.opts.Limits.Stall}}
	s.tcp, _ = conn.(*net.TCPConn)
	s.acked = s.bytesAcked
	return s
}

// serving says that a whole request has come.
func (s *socket) serving() {
	s.asked.Store(true)
	s.waits.Store(0)
}

// waiting says that the next request is waited for.
func (s *socket) waiting() { s.waits.Store(time.Now().UnixNano()) }

// Read implements net.Conn. The first one reads the PROXY header, if there may
// be one, and fails for good if that is malformed.
func (s *socket) Read(p []byte) (int, error) {
	if s.early.Load() {
		if err := s.announce(); err != nil {
			return 0, err
		}
		if n := s.readRest(p); n > 0 {
			return n, nil
		}
	}
	return s.Conn.Read(p)
}

// Write implements net.Conn. It fails, and the connection is reset, once the
// client took less than Limits.MinRate over Limits.Stall of waiting.
func (s *socket) Write(p []byte) (int, error) {
	if s.tunnel.Load() {
		return s.Conn.Write(p)
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	switch {
	case s.torn != nil:
		return 0, s.torn
	case s.gathering != nil:
		return s.hold(p)
	}
	return s.write(p)
}

// write writes p with writing held.
func (s *socket) write(p []byte) (int, error) {
	written := 0
	for {
		begin := time.Now()
		if err := s.armWrite(begin); err != nil {
			return written, err
		}
		n, err := s.Conn.Write(p[written:])
		written += n
		stalled := s.pace.wrote(n, time.Since(begin), s.acked)
		switch {
		case err == nil || !errors.Is(err, os.ErrDeadlineExceeded) || s.overdue():
			return written, err
		case s.tunnel.Load():
		case stalled:
			_ = s.Reset() // what the kernel holds for such a client must not stay
			return written, errStalled
		}
	}
}

// armWrite has the next blocked write looked at in time. Most writes find that
// the deadline in force will do.
func (s *socket) armWrite(now time.Time) error {
	left := s.pace.left()
	s.mu.Lock()
	defer s.mu.Unlock()
	if in := s.sampleBy.Sub(now); in <= left && in >= left/2 && in > 0 {
		return nil
	}
	s.sampleBy = now.Add(left)
	return s.setWrite()
}

// setWrite puts the earlier deadline of the two in force, with mu held.
func (s *socket) setWrite() error {
	by := s.sampleBy
	if s.tunnel.Load() {
		by = time.Time{}
	}
	if by.IsZero() || !s.writeBy.IsZero() && s.writeBy.Before(by) {
		by = s.writeBy
	}
	return s.Conn.SetWriteDeadline(by)
}

// overdue reports whether the deadline that was asked for has passed.
func (s *socket) overdue() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.writeBy.IsZero() && !time.Now().Before(s.writeBy)
}

// SetWriteDeadline bounds all writes from now on; pacing goes on beside it.
func (s *socket) SetWriteDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if soon := time.Now().Add(time.Millisecond); s.brief.Load() && t.After(soon) {
		t = soon
	}
	s.writeBy = t
	return s.setWrite()
}

// SetReadDeadline bounds all reads from now on, that of a PROXY header too.
func (s *socket) SetReadDeadline(t time.Time) error {
	if !s.early.Load() {
		return s.Conn.SetReadDeadline(t)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readBy = t
	return s.setRead()
}

// setRead puts the earlier deadline of the two in force, with mu held.
func (s *socket) setRead() error {
	by := s.readBy
	if by.IsZero() || !s.headerBy.IsZero() && s.headerBy.Before(by) {
		by = s.headerBy
	}
	return s.Conn.SetReadDeadline(by)
}

// SetDeadline is SetReadDeadline and SetWriteDeadline.
func (s *socket) SetDeadline(t time.Time) error {
	return errors.Join(s.SetReadDeadline(t), s.SetWriteDeadline(t))
}

// unhurried ends pacing: the connection is a tunnel now, and silence in it is its
// ends' business.
func (s *socket) unhurried() {
	s.tunnel.Store(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.setWrite() // fails only on a closed connection
}

// RemoteAddr is the client's address: the announced one, if a trusted proxy has
// announced it, from the first Read on.
func (s *socket) RemoteAddr() net.Addr {
	if h := s.named.Load(); h != nil {
		return h.source
	}
	return s.Conn.RemoteAddr()
}

// LocalAddr is the address that the client connected to; see RemoteAddr.
func (s *socket) LocalAddr() net.Addr {
	if h := s.named.Load(); h != nil {
		return h.destination
	}
	return s.Conn.LocalAddr()
}

// Attach and Attached are those of the Conn over the socket, for callbacks of a TLS
// handshake, which know the socket alone (tls.ClientHelloInfo.Conn).
func (s *socket) Attach(v any) { s.owner.Load().Attach(v) }

// Attached returns what Attach was given last; nil: nothing.
func (s *socket) Attached() any { return s.owner.Load().Attached() }

// HandshakeBy is when the TLS handshake has to be over. It belongs to the goroutine
// that runs the handshake.
func (s *socket) HandshakeBy() time.Time { return s.handshakeBy }

// CloseWrite says that nothing more will be sent.
func (s *socket) CloseWrite() error {
	half, ok := s.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}

// SyscallConn gives access to the descriptor; ErrUnsupported if there is none.
func (s *socket) SyscallConn() (syscall.RawConn, error) {
	raw, ok := s.Conn.(syscall.Conn)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	return raw.SyscallConn()
}

// Close closes the connection and gives its place back, once.
func (s *socket) Close() error {
	err := s.Conn.Close()
	if s.released.CompareAndSwap(false, true) {
		s.door.release(s)
	}
	return err
}

// Reset closes the connection so that its peer sees an error and not an end, and
// the kernel forgets what it holds for it.
func (s *socket) Reset() error {
	if s.tcp != nil {
		_ = s.tcp.SetLinger(0) // fails only on a closed connection
	}
	return s.Close()
}
