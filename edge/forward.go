package edge

import (
	"context"
	"errors"
	"sync"
	"time"

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
	r.leaveBackend() // of a first answer that was of no use, else it would wait for its own place
	if err := s.enter(r, r.site.places, ""); err != nil {
		r.stick = "" // of that first answer
		return err
	}
	b := r.newOutbound()
	b.place.Store(r.site.places) // at once: a panic below must not lose it
	lines := headLines.Get().(*[]byte)
	defer headLines.Put(lines)
	*lines = r.outboundHead((*lines)[:0])
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
	answer, attempt, err := s.tryBackends(r, out)
	r.record.Answered = time.Now()
	if err != nil {
		r.stick = "" // nobody answered
		b.leave()
		switch {
		case errors.Is(err, errBodyTooLarge):
			return errBodyTooLarge // the client's doing, whatever it did to the round trip
		case s.waiters.closed.Load():
			return fail(503, "the server is going away", err)
		}
		return err
	}
	b.attempt, b.answer = attempt, answer
	b.answeredAt.Store(r.record.Answered.UnixNano())
	if answer.Upgraded != nil { // it may stay for days
		b.leaveTenant()
	}
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

// tryBackends makes the round trip. See tryOthers for what fails.
func (s *Server) tryBackends(r *request, out *upstream.Request) (*upstream.Response, backendAttempt, error) {
	if r.body.length > 0 && r.body.length <= smallBody {
		// The round trip reads a small body before it takes a connection: keep it for a second try.
		if _, _, err := r.body.peek(smallBody); err != nil {
			return nil, backendAttempt{}, &upstream.Error{Op: upstream.OpBody, Err: err}
		}
	}
	r.site.budget.Count(r.response.asked)
	attempt, ok := r.pickBackend()
	if !ok {
		return nil, backendAttempt{}, fail(503, "the site is not available", errNoBackend)
	}
	first, doubted := attempt.Member(), attempt.DespiteHealth()
	out.Fresh = r.cached.repeats // it is the second try, if not its own
	answer, err := s.ask(r, &attempt, out)
	if err != nil {
		return s.tryOthers(r, out, first, doubted, err)
	}
	return answer, attempt, nil
}

// ask makes one round trip to one backend, when that has a place for it. Without an answer the attempt is done.
func (s *Server) ask(r *request, attempt *backendAttempt, out *upstream.Request) (*upstream.Response, error) {
	backend := attempt.Member().Backend
	r.record.Backend = backend.String()
	if err := s.enterBackend(r, backend); err != nil {
		attempt.Done()
		return nil, err
	}
	answer, err := backend.RoundTrip(context.Background(), out) // ended by its lifeline
	s.report(r, attempt, answer, err)
	if err != nil {
		r.outbound.leaveBackendPlace()
		attempt.Done()
	}
	return answer, err
}

// adopt makes the backend's answer the request's response.
func (r *request) adopt(answer *upstream.Response) {
	p := &r.response // nothing has answered yet
	p.status, p.fields, p.length = answer.Status, answer.Fields, answer.ContentLength
	p.stream, p.upgraded, p.received = answer.Body, answer.Upgraded, r.record.Answered
}
