package edge

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"time"

	"gatehouse/edge/balance"
	"gatehouse/edge/upstream"
	"gatehouse/edge/waf"
)

var headLines = sync.Pool{New: func() any { b := make([]byte, 0, 2<<10); return &b }}

// smallBody is what package upstream reads of a body before it connects.
const smallBody = 8 << 10

// forward is the end of the chain: it asks a backend, or answers for a vhost that has none. The request that goes out
// is a new one; nothing of the client's connection reaches it. Its Host is the
// canonical one that routing, WAF and cache saw: a port or spelling that only
// the backend sees could poison a stored answer.
func (s *Server) forward(r *request) error {
	if r.site.fixed != nil {
		return r.site.fixed.answer(r)
	}
	lines := headLines.Get().(*[]byte)
	defer headLines.Put(lines)
	*lines = r.outboundHead((*lines)[:0])
	b := r.newOutbound()
	out := &b.request
	out.Method, out.Target, out.Host, out.Head = r.Method, r.Target, r.Host, *lines
	if r.cached.target != "" {
		out.Target = r.cached.target
	}
	out.Target = r.site.stripped(out.Target)
	out.ContentLength, out.Upgrade = r.body.length, r.Upgrade
	out.Informational, out.Lifeline = r.informational(), &b.line
	if !r.body.none() {
		out.Body = r.body
	}
	r.response.asked = time.Now()
	s.waiters.add(&b.wait)
	answer, member, err := s.tryBackends(r, out)
	r.record.Answered = time.Now()
	if err != nil {
		s.waiters.remove(&b.wait)
		switch {
		case errors.Is(err, errBodyTooLarge):
			return errBodyTooLarge // the client's doing, whatever it did to the round trip
		case s.waiters.closed.Load():
			return fail(503, "the server is going away", err)
		}
		return err
	}
	b.member, b.answer = member, answer
	r.adopt(answer)
	return nil
}

// informational returns what passes interim answers on to the client, nil where
// none can be: HTTP/1.0 has none. Nor does a client get any of a site whose
// answers are inspected before a byte of them may leave.
//
// All end-to-end fields go along. Set-Cookie is legal there, too: a browser may
// ignore it in an interim answer (RFC 6265 §3), and what an early hint means is
// for its receiver to say (RFC 8297 §2).
func (r *request) informational() func(int, []upstream.Field) {
	if r.behind || r.Proto == "HTTP/1.0" || r.site.profile.Responses && r.site.profile.Mode == waf.Block {
		return nil
	}
	if r.hint == nil {
		r.hint = r.inform // once for all requests that this memory will be
	}
	return r.hint
}

// inform passes an interim answer on.
func (r *request) inform(status int, fields []upstream.Field) {
	hint := response{fields: fields}
	hint.without("x-request-id") // ours, and the final answer has it
	var lines []byte
	for _, f := range hint.fields {
		lines = appendField(lines, f.Name, f.Value)
	}
	if r.conn.Inform(status, lines) != nil && r.outbound != nil {
		r.outbound.line.Cut(context.Canceled) // the client is gone
	}
}

// tryBackends makes the round trip. One that failed is repeated once, if that
// cannot do harm and the site's budget has room: on another backend or, if there
// is none and a kept connection was closed at the wrong moment, on a fresh one.
func (s *Server) tryBackends(r *request, out *upstream.Request) (*upstream.Response, *balance.Member[*upstream.Pool], error) {
	if r.body.length > 0 && r.body.length <= smallBody {
		// The round trip reads a small body before it takes a connection: keep it for a second try.
		if _, _, err := r.body.peek(smallBody); err != nil {
			return nil, nil, &upstream.Error{Op: upstream.OpBody, Err: err}
		}
	}
	budget := r.site.budget
	budget.Count(r.response.asked)
	first, ok := r.site.pool.Pick(nil)
	if !ok {
		return nil, nil, fail(503, "the site is not available", errNoBackend)
	}
	out.Fresh = r.cached.repeats // it is the second try, if not its own
	answer, err := ask(r, first, out)
	if err == nil {
		return answer, first, nil
	}
	second := repeater(r.site.pool, first, err)
	if second == nil || r.cached.repeats || !r.body.rewind() {
		return nil, nil, err
	}
	if !budget.Take(time.Now()) {
		s.metrics.retries.WithLabelValues("refused").Inc()
		return nil, nil, err
	}
	defer budget.Release()
	s.metrics.retries.WithLabelValues("taken").Inc()
	out.Fresh = true
	answer, err = ask(r, second, out)
	return answer, second, err
}

// ask makes one round trip to one backend.
func ask(r *request, member *balance.Member[*upstream.Pool], out *upstream.Request) (*upstream.Response, error) {
	r.record.Backend = member.Backend.String()
	member.Begin()
	answer, err := member.Backend.RoundTrip(context.Background(), out) // ended by its lifeline
	if err != nil {
		up, ok := errors.AsType[*upstream.Error](err)
		// That a client has left, or that we are out of descriptors, says nothing of the backend.
		ours := errors.Is(err, context.Canceled) || errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
		member.Done(ok && up.Op == upstream.OpConnect && !ours)
	}
	return answer, err
}

// repeater returns who may get a request that failed with err at first; nil: nobody.
func repeater(pool *balance.Pool[*upstream.Pool], first *balance.Member[*upstream.Pool], err error) *balance.Member[*upstream.Pool] {
	up, ok := errors.AsType[*upstream.Error](err)
	if !ok || !up.Repeatable {
		return nil
	}
	if other, ok := pool.Pick([]*balance.Member[*upstream.Pool]{first}); ok {
		return other
	}
	if up.Stale {
		return first
	}
	return nil // it would fail again
}

// adopt makes the backend's answer the request's response.
func (r *request) adopt(answer *upstream.Response) {
	p := &r.response // nothing has answered yet
	p.status, p.fields, p.length = answer.Status, answer.Fields, answer.ContentLength
	p.stream, p.upgraded, p.received = answer.Body, answer.Upgraded, r.record.Answered
}
