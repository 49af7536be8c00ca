package edge

import (
	"context"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"gatehouse/cache"
	"gatehouse/edge/balance"
	"gatehouse/edge/upstream"
)

// An outbound is a request on its way to a backend, and the answer that came back. It outlives the client's request
// where others get the answer, too.
type outbound struct {
	srv     *Server
	request upstream.Request
	line    upstream.Lifeline
	attempt balance.Attempt[*upstream.Pool] // that was answered, until its end
	answer  *upstream.Response
	flight  *cache.Flight // whose waiters want the answer, whether the client does or not
	kept    bool          // the cache ends it
	body    io.ReadCloser // that the cache reads
	wait    waiting
	holders atomic.Int32 // who may use its memory

	place      atomic.Pointer[places] // the tenant's; nil: given back, perhaps by another goroutine
	backend    *places                // that was taken at the backend; nil: none
	answeredAt atomic.Int64           // when the answer's head came, unix nanoseconds; 0: not yet
}

var outbounds = sync.Pool{New: func() any { return &outbound{wait: waiting{shard: rand.IntN(waiterShards)}} }}

// newOutbound gives r an outbound in the place of the one that it may have had.
func (r *request) newOutbound() *outbound {
	if r.outbound != nil {
		r.leaveBackend()
		r.outbound.release()
	}
	b := outbounds.Get().(*outbound)
	b.srv, b.flight = r.srv, r.cached.flight
	b.holders.Store(1)
	b.wait.who = b
	if r.Upgrade == "" {
		b.wait.conn = r.conn
	}
	r.outbound = b
	return b
}

// left implements leaver.
func (b *outbound) left() {
	if b.flight == nil || b.flight.Waiting() == 0 {
		b.cut()
	}
}

// cut implements leaver.
func (b *outbound) cut() { b.line.Cut(context.Canceled) }

// leaveBackend ends what forward began.
func (r *request) leaveBackend() {
	if r.outbound != nil && !r.outbound.kept {
		r.outbound.leave()
	}
}

// leave ends the dealings with the backend: nothing of the answer is read any more.
func (b *outbound) leave() {
	b.srv.waiters.remove(&b.wait)
	b.leaveTenant()
	b.leaveBackendPlace()
	b.attempt.Done()
}

// release gives the memory up; the last one who does gives it back.
func (b *outbound) release() {
	if b.holders.Add(-1) > 0 {
		return
	}
	if b.answer != nil {
		b.answer.Release()
	}
	shard := b.wait.shard
	*b = outbound{}
	b.wait.shard = shard
	outbounds.Put(b)
}

// keepBody takes the response's body from the request: from now on it is not the client who ends it.
func (r *request) keepBody() cache.Source {
	if r.outbound == nil { // the answer is a link's own
		r.newOutbound()
	}
	b := r.outbound
	b.body, r.response.stream, b.kept = r.response.stream, nil, true
	b.holders.Add(1)
	b.srv.waiters.disown(&b.wait)
	return (*keptBody)(b)
}

// A keptBody is the body of an answer that goes into the cache.
type keptBody outbound

// Read implements cache.Source.
func (b *keptBody) Read(p []byte) (int, error) { return b.body.Read(p) }

// Close implements cache.Source.
func (b *keptBody) Close() error {
	err := b.body.Close()
	(*outbound)(b).leave()
	(*outbound)(b).release()
	return err
}

// Buffered implements cache.Source.
func (b *keptBody) Buffered() int {
	if s, ok := b.body.(interface{ Buffered() int }); ok {
		return s.Buffered()
	}
	return 0
}

// Cut implements cache.Source.
func (b *keptBody) Cut() { (*outbound)(b).cut() }
