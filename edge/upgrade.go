package edge

import (
	"errors"
	"io"
	"net"
	"sync"

	"github.com/valyala/fasthttp"
)

// sendUpgrade answers 101 and joins the two connections until one of them ends
// or is silent for limits of its own; after that the request is done.
func (s *Server) sendUpgrade(ctx *fasthttp.RequestCtx, r *request) {
	p := &r.response
	backend := p.upgraded
	p.without("connection")
	p.without("upgrade")
	p.set("Connection", "Upgrade")
	p.set("Upgrade", r.Upgrade)
	p.close = false
	if err := writeHead(&ctx.Response.Header, p, true); err != nil {
		r.record.Err = err
		p.discard()
		ctx.SetStatusCode(fasthttp.StatusBadGateway)
		ctx.SetConnectionClose()
		r.done()
		return
	}
	ctx.Hijack(func(client net.Conn) {
		s.tunnels.add(client)
		s.metrics.tunnels.Inc()
		p.sent = join(client, backend)
		s.metrics.tunnels.Dec()
		s.tunnels.remove(client)
		if p.stream != nil {
			_ = p.stream.Close() // an upgraded answer has no body
		}
		r.done()
	})
}

// join copies both ways until both directions have ended, and returns how many
// bytes went to the client. When one direction ends, the other side is told, so
// that a half-closed connection works and a dead one does not linger.
func join(client, backend net.Conn) int64 {
	var up sync.WaitGroup
	up.Go(func() {
		_, _ = io.Copy(backend, client) // either end may go away at any time
		closeWrite(backend)
	})
	sent, err := io.Copy(client, backend)
	if err != nil || !closeWrite(client) {
		_ = client.Close()
	}
	up.Wait()
	_ = backend.Close()
	_ = client.Close()
	return sent
}

// closeWrite tells the peer that nothing more comes; without a way to say that,
// the connection is closed.
func closeWrite(c net.Conn) bool {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite() == nil
	}
	_ = c.Close()
	return false
}

// connSet is the set of connections that the HTTP library has handed over.
type connSet struct {
	mu    sync.Mutex
	conns map[net.Conn]struct{}
	empty chan struct{} // closed and replaced whenever the set becomes empty
}

func (c *connSet) add(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conns == nil {
		c.conns = map[net.Conn]struct{}{}
	}
	if len(c.conns) == 0 {
		c.empty = make(chan struct{})
	}
	c.conns[conn] = struct{}{}
}

func (c *connSet) remove(conn net.Conn) {
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

// closeAll closes every connection of the set.
func (c *connSet) closeAll() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	for conn := range c.conns {
		errs = append(errs, conn.Close())
	}
	return errors.Join(errs...)
}
