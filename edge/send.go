package edge

import (
	"fmt"
	"runtime/debug"

	"github.com/valyala/fasthttp"
)

// serveHTTP1 serves a connection's requests, one after another, from the first one,
// with which fasthttp calls it, to the last. The library takes all of them for one:
// what it would do between two requests costs more than our whole chain.
func (s *Server) serveHTTP1(ctx *fasthttp.RequestCtx) {
	conn := ctx.Conn().(http1Conn) // our listeners make no other
	for s.serveRequest(ctx, conn) {
		if err := conn.Next(); err != nil { // whyever there is no other: the connection ends
			conn.Sent() // the library's answer is for nobody
			break
		}
	}
	ctx.SetConnectionClose()
}

// serveRequest makes the request that the connection is at, runs the chain and sends
// the response. It reports whether the connection goes on with another request.
func (s *Server) serveRequest(ctx *fasthttp.RequestCtx, conn http1Conn) (goesOn bool) {
	var r *request
	defer func() { // observe recovers what happens in the chain; nobody above here would
		if v := recover(); v != nil {
			s.log.Error("panic around a request", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			_ = conn.Reset()
			if r != nil {
				r.tainted = true
				r.cut(fmt.Errorf("panic: %v", v))
				r.done()
			}
			goesOn = false
		}
	}()
	r, err := s.newRequest(ctx, conn)
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
	return s.send(ctx, r, conn)
}

// refusing is the chain for a request that could not be read: it is observed,
// gets its error page, and goes no further.
func (s *Server) refusing(err error) handler {
	return s.observe(s.errorPages(func(*request) error { return err }))
}

// send sends the response and ends the request. It reports whether the connection
// goes on.
func (s *Server) send(ctx *fasthttp.RequestCtx, r *request, conn http1Conn) (goesOn bool) {
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
		return false
	}
	r.write(conn)
	conn.Sent()
	if p.cut && endless {
		_ = conn.Reset() // an end would say that this was all
	}
	goesOn = !p.close && !p.cut
	r.done()
	return goesOn
}
