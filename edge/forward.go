package edge

import (
	"context"
	"errors"
	"sync"
	"time"

	"gatehouse/edge/balance"
	"gatehouse/edge/upstream"
)

var headLines = sync.Pool{New: func() any { b := make([]byte, 0, 2<<10); return &b }}

// smallBody is what package upstream reads of a body before it connects.
const smallBody = 8 << 10

// attempts is how many backends a request may try: a failed connect is tried
// once more, elsewhere.
const attempts = 2

// forward is the end of the chain: it asks a backend. The request that goes out
// is a new one; nothing of the client's connection reaches it. Its Host is the
// canonical one that routing, WAF and cache saw: a port or spelling that only
// the backend sees could poison a stored answer.
func (s *Server) forward(r *request) error {
	lines := headLines.Get().(*[]byte)
	defer headLines.Put(lines)
	*lines = r.outboundHead((*lines)[:0])
	out := upstream.Request{
		Method: r.Method, Target: r.Target, Host: r.Host, Head: *lines,
		ContentLength: r.body.length, Upgrade: r.Upgrade,
	}
	if !r.body.none() {
		out.Body = r.body
	}
	r.response.asked = time.Now()
	ctx, cancel := context.WithCancel(context.Background())
	watch := s.watchClient(r, cancel)
	answer, member, err := s.tryBackends(ctx, r, &out)
	r.record.Answered = time.Now()
	if err != nil {
		watch.stop()
		cancel()
		if errors.Is(err, errBodyTooLarge) {
			return errBodyTooLarge // the client's doing, whatever it did to the round trip
		}
		return err
	}
	r.onDone(func() {
		watch.stop()
		cancel()
		member.Done(false)
	})
	s.adopt(r, answer)
	return nil
}

// tryBackends makes the round trip, on another backend if the first could not be
// connected to: then nothing was sent.
func (s *Server) tryBackends(ctx context.Context, r *request, out *upstream.Request) (*upstream.Response, *balance.Member[*upstream.Pool], error) {
	var tried []*balance.Member[*upstream.Pool]
	var failed error
	if len(r.site.pool.Members()) > 1 && r.body.length > 0 && r.body.length <= smallBody {
		// The round trip reads a small body before it connects: keep it for a second try.
		if _, _, err := r.body.peek(smallBody); err != nil {
			return nil, nil, bodyFault(err)
		}
	}
	for len(tried) < attempts && r.body.rewind() {
		member, ok := r.site.pool.Pick(tried)
		if !ok {
			break
		}
		tried = append(tried, member)
		r.record.Backend = member.Backend.Address().String()
		member.Begin()
		answer, err := member.Backend.RoundTrip(ctx, out)
		if err == nil {
			return answer, member, nil
		}
		failed = err
		var up *upstream.Error
		connect := errors.As(err, &up) && up.Op == upstream.OpConnect && !up.Sent
		left := ctx.Err() != nil // the client has: that says nothing of the backend
		member.Done(connect && !left)
		if !connect || left {
			break
		}
	}
	if failed == nil {
		return nil, nil, fail(503, "the site is not available", errNoBackend)
	}
	return nil, nil, failed
}

// adopt makes the backend's answer the request's response.
func (s *Server) adopt(r *request, answer *upstream.Response) {
	asked := r.response.asked
	r.response = response{
		status: answer.Status, fields: answer.Fields, length: answer.ContentLength,
		stream: answer.Body, upgraded: answer.Upgraded, asked: asked, received: time.Now(),
	}
}
