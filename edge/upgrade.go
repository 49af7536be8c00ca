package edge

import (
	"errors"
	"io"
	"maps"
	"net"
	"net/netip"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

// A taken connection is one that the HTTP library has handed over: reads deliver
// what the library had read ahead first; everything else, Close above all, is
// the connection's own (the library's wrapper ignores Close).
type taken struct {
	net.Conn
	ahead io.Reader

	client netip.Addr // of the request that it was taken with
	site   *site
}

// reset ends the connection so that what was sent does not look whole.
func (t *taken) reset() error { return t.Conn.(http1Conn).Reset() }

func (t *taken) Read(p []byte) (int, error) { return t.ahead.Read(p) }

// take has the library hand the connection over after the handler has returned,
// without a response of its own: only so is the hand-over certain, also for a
// connection that the library means to close. serve runs with the connection,
// which is closed and forgotten after it, and ends the request.
func (s *Server) take(ctx *fasthttp.RequestCtx, r *request, set *connSet, serve func(client net.Conn)) {
	client := &taken{Conn: ctx.Conn(), client: r.Client.Addr(), site: r.site}
	set.add(client) // now: the library does not count the connection any more once the handler has returned
	ctx.HijackSetNoResponse(true)
	ctx.Hijack(func(library net.Conn) {
		client.ahead = library
		defer r.done()
		defer set.remove(client)
		defer client.Close()
		defer func() {
			if v := recover(); v != nil {
				s.log.Error("panic on a connection", "id", r.ID, "panic", v, "stack", string(debug.Stack()))
				_ = client.reset() // an end would say that this was all
			}
		}()
		serve(client)
	})
}

// sendUpgrade answers 101 and joins the two connections until one of them ends.
func (s *Server) sendUpgrade(ctx *fasthttp.RequestCtx, r *request) {
	p := &r.response
	backend := p.upgraded
	p.without("connection")
	p.without("upgrade")
	p.set("Connection", "Upgrade")
	p.set("Upgrade", r.Upgrade)
	p.close = false
	r.closeWAF() // it has nothing to say about a tunnel, which may stay for days
	s.take(ctx, r, &s.tunnels, func(client net.Conn) {
		defer backend.Close()
		if p.stream != nil {
			defer p.stream.Close() // an upgraded answer has no body
		}
		if _, err := client.Write(r.appendHead(nil, true)); err != nil {
			r.record.Err = err
			return
		}
		r.conn.(http1Conn).Tunnel()
		s.metrics.tunnels.Inc()
		defer s.metrics.tunnels.Dec()
		now, next := s.siteNow(r.site) // since a moment ago: cutRefused may not have seen it
		if next != nil {
			s.addressesChanged()
		}
		if refusal, _ := s.judgeAddress(now, r.Client.Addr()); refusal != nil {
			r.record.Err = refusal.httpError
			return
		}
		if err := s.closed(r.site); err != nil {
			r.record.Err = err
			return
		}
		p.sent = join(client, backend)
	})
}

// halfOpenTime is how long a backend may be silent after its client has sent its
// last byte: one that ignores the end would hold the tunnel for ever.
const halfOpenTime = 5 * time.Minute

// A halfOpen connection is a backend's whose reads are bounded once its client has
// sent its last byte.
type halfOpen struct {
	net.Conn
	half atomic.Bool
}

func (h *halfOpen) Read(p []byte) (int, error) {
	if h.half.Load() {
		_ = h.SetReadDeadline(time.Now().Add(halfOpenTime)) // fails only on a closed connection
	}
	return h.Conn.Read(p)
}

// finish passes the client's end on.
func (h *halfOpen) finish() {
	h.half.Store(true)
	_ = h.SetReadDeadline(time.Now().Add(halfOpenTime)) // see Read
	if c, ok := h.Conn.(interface{ CloseWrite() error }); !ok || c.CloseWrite() != nil {
		_ = h.Close()
	}
}

// join copies both ways and returns how many bytes went to the client. A client
// that has sent its last byte still gets the backend's answer; when the backend
// has said its last, or the client is gone, both connections end.
func join(client, backend net.Conn) int64 {
	back := &halfOpen{Conn: backend}
	var up sync.WaitGroup
	up.Go(func() {
		if _, err := io.Copy(backend, client); err != nil { // either end has gone: that is no half close
			_ = client.Close()
			_ = backend.Close()
			return
		}
		back.finish()
	})
	sent, _ := io.Copy(client, back)
	_ = client.Close()
	_ = backend.Close()
	up.Wait()
	return sent
}

// connSet is the set of connections that the HTTP library has handed over.
type connSet struct {
	mu    sync.Mutex
	conns map[*taken]struct{}
	empty chan struct{} // closed and replaced whenever the set becomes empty
}

func (c *connSet) add(conn *taken) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conns == nil {
		c.conns = map[*taken]struct{}{}
	}
	if len(c.conns) == 0 {
		c.empty = make(chan struct{})
	}
	c.conns[conn] = struct{}{}
}

func (c *connSet) remove(conn *taken) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.conns[conn]; !ok {
		return
	}
	delete(c.conns, conn)
	if len(c.conns) == 0 {
		close(c.empty)
	}
}

// wait returns a channel that is closed once the set is empty.
func (c *connSet) wait() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.conns) == 0 {
		done := make(chan struct{})
		close(done)
		return done
	}
	return c.empty
}

// all returns the connections of the set.
func (c *connSet) all() []*taken {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Keys(c.conns))
}

// closeAll ends every connection of the set.
func (c *connSet) closeAll(end func(*taken) error) error {
	conns := c.all()
	errs := make([]error, len(conns))
	var all sync.WaitGroup
	for i, conn := range conns { // side by side: each may linger
		all.Go(func() {
			if err := end(conn); !errors.Is(err, net.ErrClosed) {
				errs[i] = err
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}
