package upstream

import (
	"cmp"
	"context"
	"errors"
	"io"
	"time"
)

// maxInterim is how many 1xx answers may precede the final one. Together they may be as large as
// one head (Options.ResponseHeader).
const maxInterim = 32

const (
	errInterims = malformed("more than 32 interim answers, or more bytes of them than a head may have")
	errSwitch   = malformed("101 Switching Protocols was not asked for, or does not say websocket (RFC 9110 §7.8)")
)

// RoundTrip sends req once and returns when the head of the final answer has come; the body is then
// read from Response.Body, which must be closed. A non-nil error is an *Error; its field Repeatable
// says whether the caller may send the request once more.
//
// The context covers the round trip up to the end of Response.Body: when it ends, what waits is
// woken at once and the connection is closed. It no longer covers Response.Upgraded.
func (p *Pool) RoundTrip(ctx context.Context, req *Request) (*Response, error) {
	if err := req.check(); err != nil {
		return nil, &Error{Op: OpWrite, Err: err}
	}
	var body io.Reader
	if req.ContentLength != 0 {
		body = req.Body
	}
	w := req.Lifeline
	if w == nil {
		w = new(Lifeline)
	}
	w.begin(ctx, body)
	out := outgoing.Get().(*[]byte)
	defer releaseOutgoing(out)
	*out = req.appendHead(*out, p.address.Prefix)
	if req.ContentLength > 0 && !req.streamed() {
		var err error
		if *out, err = req.appendSmallBody(*out); err != nil {
			w.end()
			return nil, newError(OpBody, w.why(err), false)
		}
	}
	x, err := p.attempt(ctx, req, *out, w)
	if err != nil {
		w.end()
		if cause := w.why(nil); cause != nil {
			err = newError(err.Op, cause, err.Sent)
		}
		return nil, err
	}
	return &x.Response, nil
}

// attempt sends the request on one connection and receives the answer's head.
func (p *Pool) attempt(ctx context.Context, req *Request, out []byte, w *Lifeline) (*exchange, *Error) {
	c, err := p.connection(ctx, req, w)
	if err != nil {
		fault := newError(OpConnect, err, false)
		fault.Repeatable, fault.Refused = true, isRefusal(err)
		return nil, fault
	}
	c.open()
	x := exchanges.Get().(*exchange)
	x.pool, x.c, x.line = p, c, w
	if err := w.hold(c); err != nil {
		x.drop()
		return nil, newError(OpConnect, err, false)
	}
	sent, err := x.send(req, out)
	op := OpWrite
	if err == nil {
		op, err = OpHead, x.receive(req)
	}
	if err == nil {
		return x, nil
	}
	fault := newError(op, err, sent)
	if f := x.senderFault(); f != nil && fault.Op != OpProtocol {
		fault = f
	}
	fault.Repeatable = !c.got && !fault.Timeout && (!sent || req.repeatable())
	fault.Stale = c.reused && !c.got
	x.drop()
	return nil, fault
}

// connection gives a kept connection or a fresh one. A request that must not be sent twice gets a
// kept one only where the backend is unlikely to be closing it this moment.
func (p *Pool) connection(ctx context.Context, req *Request, line *Lifeline) (*conn, error) {
	if err := cmp.Or(ctx.Err(), line.why(nil)); err != nil {
		return nil, err
	}
	want := p.spread.next()
	if !req.Fresh {
		if c := p.take(!req.repeatable(), want); c != nil {
			return c, nil
		}
	}
	return p.dial(ctx, line, want)
}

// send writes the head, with the body if that is small, and else leaves the body to a sender.
func (x *exchange) send(req *Request, out []byte) (sent bool, err error) {
	c, limit := x.c, x.pool.opts.FirstByteTimeout
	c.stall, c.asked = 0, time.Now()
	if !req.streamed() {
		if err := cmp.Or(c.writeWithin(limit, c.asked), c.readWithin(limit, c.asked)); err != nil {
			return false, err
		}
		return c.write(out)
	}
	c.readDue, c.writeDue = time.Time{}, time.Time{} // the sender moves them
	// The wait for the answer has no limit while the client uploads; sender.settleRead sets it.
	if err := errors.Join(c.nc.SetReadDeadline(time.Time{}), c.nc.SetWriteDeadline(c.asked.Add(limit))); err != nil {
		return false, err
	}
	if sent, err = c.write(out); err != nil {
		return sent, err
	}
	x.sender = &sender{c: c, body: req.Body, length: req.ContentLength, timeout: limit, done: make(chan struct{})}
	go x.sender.run()
	return true, nil
}

// receive reads interim heads and the final one, all within one FirstByteTimeout, and decides how the body ends (RFC 9112 §6.3).
func (x *exchange) receive(req *Request) error {
	var h head
	surplus := false // an interim answer that announces content is not trusted with a next request
	size := 0        // of the interim answers
	for interim := 0; ; interim++ {
		raw, lines, err := x.c.head()
		if err != nil {
			return cut(err)
		}
		x.raw = append(x.raw[:0], raw...)
		h.fields = x.fields[:0]
		err = h.parse(x.raw, lines)
		x.fields = h.fields
		if err != nil {
			return err
		}
		if h.status >= 200 || h.status == 101 {
			break
		}
		if size += len(raw); interim == maxInterim || size > x.c.maxHead {
			return errInterims
		}
		surplus = surplus || h.announces()
		if (h.status == 102 || h.status == 103) && req.Informational != nil {
			req.Informational(h.status, h.fields)
		}
	}
	if x.sender != nil {
		x.sender.answer()
	}
	x.c.stall = x.pool.opts.StallTimeout
	x.Status, x.Fields, x.Body = h.status, h.fields, x
	if h.status == 101 {
		return x.upgrade(req, &h)
	}
	x.keep = !h.http10 && !h.close && !surplus
	x.frame(&h, req.Method)
	return nil
}

// frame sets where the body ends. An answer without one is over already.
func (x *exchange) frame(h *head, method string) {
	x.ContentLength, x.left = h.length, h.length
	switch {
	case h.bodyless(method):
		if h.status == 204 {
			x.ContentLength = 0
		}
		// Backends exist that send the announced body all the same, perhaps later than the next peek.
		x.keep = x.keep && !h.announces()
	case h.chunked:
		x.framing = byChunks
	case h.length > 0:
		x.framing = byLength
	case h.length < 0:
		x.framing, x.keep = byClose, false
	}
	if x.framing == noBody {
		x.fail(io.EOF)
	}
}

// senderFault gives the error of the body's sender, unless that was stopped by us.
func (x *exchange) senderFault() *Error {
	if x.sender == nil {
		return nil
	}
	return x.sender.fault()
}

// drop ends an exchange that gave no answer.
func (x *exchange) drop() {
	c := x.c
	x.c = nil
	c.sever() // first: it wakes a sender that waits on the backend
	if x.sender != nil {
		x.sender.stop()
	}
	_ = x.line.hold(nil) // a cut is reported by RoundTrip
	c.release()
}
