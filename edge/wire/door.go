package wire

import (
	"crypto/tls"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Why a connection was refused, as Options.Refused has it.
const (
	refusedPerIP = "per_ip"       // its client has PerIP connections
	refusedShed  = "shed"         // Shed said so
	refusedProxy = "proxy_header" // its PROXY header is malformed or did not come in time
	refusedIdle  = "crowded"      // it waited for a request while others waited for its place
	refusedHello = "handshakes"   // its client has begun HandshakesPerIP handshakes a second
)

// Reasons returns all reasons for which a connection is refused.
func Reasons() []string {
	return []string{refusedPerIP, refusedShed, refusedProxy, refusedIdle, refusedHello}
}

// Options are the bounds of a Door. A zero field stands for its default, a
// negative number for none.
type Options struct {
	// PerIP bounds the open connections of a client: an IPv4 address or an IPv6
	// /64. Default 256. Beyond it a connection is reset. Trusted is exempt.
	PerIP int
	// Connections bounds the open connections of all listeners. Beyond it nothing
	// is served: each listener holds one that waits, and the kernel's backlog the
	// others, while connections that wait for a request are closed to make room:
	// those that never brought one first, then the longest idle, each after a second
	// at least. Default, and the most that is taken: the process's descriptor limit
	// (RLIMIT_NOFILE, soft) less 128 for files and the like (a quarter of a small
	// limit), less what backends need: half of the rest, but 4,096 at most.
	Connections int
	// HandshakesPerIP bounds the TLS handshakes that a client, as PerIP has it, begins
	// in a second; as many may come at once. Default, and negative: none. Beyond it a
	// connection is reset before anything of it is parsed but a PROXY header. Trusted is exempt.
	HandshakesPerIP int
	// Trusted are the proxies whose PROXY headers are believed and who are exempt
	// from PerIP and HandshakesPerIP. Whoever is in here can claim any client address.
	Trusted []netip.Prefix
	// ProxyProtocol has PROXY headers (v1, v2) of Trusted read. From others they are
	// bytes like any.
	ProxyProtocol bool
	// Shed: new connections are reset while it is true. It is called per connection,
	// from several goroutines. nil: never.
	Shed func() bool
	// Refused is called for each refused connection, from several goroutines, with
	// the reason, one of Reasons. nil: nobody counts.
	Refused func(reason string)
	// HandshakeFailed is called for each TLS handshake that failed, from several
	// goroutines, with the error: that of crypto/tls, or of the connection, and
	// then net.ErrClosed if it was closed at our end. A connection that was refused
	// for its PROXY header or by HandshakesPerIP is none of them. nil: nobody counts.
	HandshakeFailed func(error)
	// Handshaken is called after each TLS handshake that succeeded, by the goroutine
	// that serves the connection. nil: nobody asks.
	Handshaken func(*TLSConn)
	// Limits are those of each connection.
	Limits Limits
	// Log gets what is refused, at most a line a minute and reason. nil discards.
	Log *slog.Logger
}

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.PerIP == 0 {
		o.PerIP = 256
	}
	if usual, most := affordable(); o.Connections == 0 {
		o.Connections = usual
	} else if o.Connections > most {
		o.Log.Warn("more connections than the limit of descriptors allows", "asked", o.Connections, "taken", most)
		o.Connections = most
	}
	o.Limits = o.Limits.withDefaults()
	if o.Refused == nil {
		o.Refused = func(string) {}
	}
	if o.HandshakeFailed == nil {
		o.HandshakeFailed = func(error) {}
	}
	if o.Handshaken == nil {
		o.Handshaken = func(*TLSConn) {}
	}
	return o
}

// A Door is what all listeners of a node share: the bounds of client connections
// and their counts. It is safe for concurrent use. It holds no goroutine.
type Door struct {
	opts  Options
	open  atomic.Int64
	peers *peers
	hands *rates // of handshakes; nil: no bound
	conns roster
	// looked is when room was last looked for, unix nanoseconds.
	looked atomic.Int64
	// promised answers are under way whose clients may count on the connection.
	promised atomic.Int64
	said     seldom // what was logged

	// Whoever waits for a close adds itself to waiting and then looks at what it
	// waits for; whoever closes does so first and then looks at waiting. So no
	// close is missed, and nobody locks while nobody waits.
	waiting atomic.Int64
	mu      sync.Mutex
	closed  chan struct{} // closed and replaced when a connection closes
}

// NewDoor makes a Door without listeners.
func NewDoor(o Options) *Door {
	o = o.withDefaults()
	d := &Door{opts: o, peers: newPeers(), closed: make(chan struct{})}
	if o.HandshakesPerIP > 0 {
		d.hands = newRates(o.HandshakesPerIP)
	}
	return d
}

// Listen has connections of inner come through the door. config nil: plain
// connections. It is used as it is, not cloned, so that what its callbacks see is
// always live.
func (d *Door) Listen(inner net.Listener, config *tls.Config) *Listener {
	return &Listener{Listener: inner, door: d, config: config, closed: make(chan struct{})}
}

// Open is the number of connections that are open now.
func (d *Door) Open() int { return int(d.open.Load()) }

// Promised is the number of answers that are being written on connections that go
// on after them: their clients may send another request.
func (d *Door) Promised() int { return int(d.promised.Load()) }

// Most is the bound of Open; negative: there is none.
func (d *Door) Most() int { return d.opts.Connections }

// Reset ends every connection at once.
func (d *Door) Reset() {
	for _, s := range d.conns.all() {
		_ = s.Reset() // it is gone either way
	}
}

// makeRoom closes connections that can be done without, and reports whether there
// were any. It looks for them every roomEvery at most.
func (d *Door) makeRoom() bool {
	now, looked := time.Now().UnixNano(), d.looked.Load()
	if now-looked < int64(roomEvery) || !d.looked.CompareAndSwap(looked, now) {
		return false
	}
	spare := d.conns.spare()
	for _, s := range spare {
		if s.waits.Load() == 0 {
			continue // a request has come meanwhile
		}
		if !s.asked.Load() {
			d.refuse(s, refusedIdle, nil)
			continue
		}
		_ = s.Close() // as at the end of its idle time: nothing is lost with it
		d.opts.Refused(refusedIdle)
	}
	return len(spare) > 0
}

func (d *Door) crowded() bool {
	return d.opts.Connections >= 0 && d.open.Load() >= int64(d.opts.Connections)
}

// admit takes an accepted connection in, or resets it and returns nil. It does
// nothing slow: whoever comes next waits for it.
func (d *Door) admit(conn net.Conn) *socket {
	s := newSocket(conn, d)
	d.open.Add(1)
	if d.opts.Shed != nil && d.opts.Shed() {
		d.refuse(s, refusedShed, nil)
		return nil
	}
	addr := addrOf(conn.RemoteAddr())
	trusted := d.trusts(addr)
	if !trusted && !d.enter(s, addr) {
		d.refuse(s, refusedPerIP, nil)
		return nil
	}
	s.waiting()
	d.conns.add(s)
	s.early.Store(trusted && d.opts.ProxyProtocol)
	LimitUnsent(conn)
	return s
}

func (d *Door) trusts(addr netip.Addr) bool {
	for _, prefix := range d.opts.Trusted {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// enter counts s under its client's address, unless that has its share already.
func (d *Door) enter(s *socket, addr netip.Addr) bool {
	if d.opts.PerIP < 0 || !addr.IsValid() {
		return true
	}
	client := clientOf(addr)
	if !d.peers.enter(client, d.opts.PerIP) {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.released.Load() { // closed meanwhile, so release has been here
		d.peers.leave(client)
		return true
	}
	s.counted = client
	return true
}

// greets takes a TLS handshake of the client of s in, unless there were too many.
func (d *Door) greets(s *socket) bool {
	if d.hands == nil {
		return true
	}
	addr := addrOf(s.RemoteAddr())
	return !addr.IsValid() || d.trusts(addr) || d.hands.take(clientOf(addr), time.Now())
}

// release takes a closed connection out of the counts and wakes who waits for it.
func (d *Door) release(s *socket) {
	s.mu.Lock()
	client := s.counted
	s.counted = netip.Addr{}
	s.mu.Unlock()
	if client.IsValid() {
		d.peers.leave(client)
	}
	d.conns.remove(s)
	d.open.Add(-1)
	if d.waiting.Load() == 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	close(d.closed)
	d.closed = make(chan struct{})
}

// nextClose is closed when a connection closes. The caller has added itself to
// waiting.
func (d *Door) nextClose() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.closed
}

// refuse resets a connection, counts it and says so. err may be nil.
func (d *Door) refuse(s *socket, reason string, err error) {
	peer := s.RemoteAddr()
	d.opts.Refused(reason)
	_ = s.Reset() // it is gone either way
	suppressed, due := d.said.due(reason)
	switch {
	case !due:
	case err != nil:
		d.opts.Log.Warn("connection refused", "reason", reason, "client", peer.String(), "suppressed", suppressed, "err", err)
	default:
		d.opts.Log.Warn("connection refused", "reason", reason, "client", peer.String(), "suppressed", suppressed)
	}
}

// descriptorReserve is what is kept for files, listeners, Redis and the like.
const descriptorReserve = 128

// backendReserve is the most that is kept for backends unasked: who has more of
// them busy at a time has a higher limit of descriptors, too.
const backendReserve = 4096

// affordable is the default of Options.Connections, and most is what it may be set
// to at all.
func affordable() (usual, most int) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		limit.Cur = 1024 // as most systems have it
	}
	left := min(limit.Cur-min(limit.Cur/4, descriptorReserve), math.MaxInt32)
	return int(max(left-min(left/2, backendReserve), 1)), int(max(left, 1))
}
