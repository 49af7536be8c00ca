package edge

import (
	"fmt"
	"runtime/debug"

	"github.com/valyala/fasthttp"
)

// serveHTTP1 is the door between fasthttp and the chain: it makes the request,
// runs the chain and sends the response.
func (s *Server) serveHTTP1(ctx *fasthttp.RequestCtx) {
	var r *request
	defer func() { // observe recovers what happens in the chain; nobody above here would
		if v := recover(); v != nil {
			s.log.Error("panic around a request", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			_ = ctx.Conn().(http1Conn).Reset()
			if r != nil {
				r.done()
			}
		}
	}()
	r, err := s.newRequest(ctx)
	run := s.handle
	if err != nil {
		run, r.last = s.refusing(err), true
		r.conn.Linger()
	}
	// The outermost link answers every error, so none is left here.
	if err := run(r); err != nil {
		s.log.Error("error passed the chain", "id", r.ID, "err", err)
	}
	r.response.close = r.response.close || r.last || s.draining.Load()
	r.complete()
	s.send(ctx, r)
}

// refusing is the chain for a request that could not be read: it is observed,
// gets its error page, and goes no further.
func (s *Server) refusing(err error) handler {
	return s.observe(s.errorPages(func(*request) error { return err }))
}

// send sends the response and ends the request. The library's own answer, to the
// stand-in that it was given for the request, is dropped: what it is still told is
// whether the connection goes on.
func (s *Server) send(ctx *fasthttp.RequestCtx, r *request) {
	p := &r.response
	endless := p.stream != nil && p.length < 0 && r.Proto == "HTTP/1.0" && !r.bodyless()
	p.close = p.close || endless // the end of the connection is the end of the body (RFC 9112 §6.3)
	r.conn.Answering(!p.close && p.upgraded == nil)
	if s.draining.Load() && !p.close && p.upgraded == nil { // since it was last looked at: a promise made now would not be kept
		p.close = true
		r.conn.Answering(false)
	}
	if p.upgraded != nil {
		s.sendUpgrade(ctx, r)
		return
	}
	conn := r.conn.(http1Conn)
	r.write(conn)
	conn.Sent()
	if p.cut && endless {
		_ = conn.Reset() // an end would say that this was all
	}
	if p.close || p.cut {
		ctx.SetConnectionClose()
	}
	r.done()
}
