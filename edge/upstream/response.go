package upstream

import (
	"errors"
	"io"
	"net"
	"sync"
)

// Response is the backend's final answer.
type Response struct {
	Status int // 200–599, or 101 for an upgrade that was asked for

	// Fields are the end-to-end fields in the backend's order; hop-by-hop fields, those that
	// Connection lists, Content-Length and Transfer-Encoding are gone. They alias memory of this
	// Response's own, which is not reused before Release. A caller may append to them.
	Fields []Field

	// ContentLength is the body's length, -1 if unknown until it ends. For HEAD and 304 it is what
	// was announced; the body is empty all the same.
	ContentLength int64

	// Body is never nil and must be closed. It ends with io.EOF only where the answer's own
	// framing ends; one that was cut short fails with io.ErrUnexpectedEOF, anything else with an
	// *Error. Without a length and chunks the end of the connection is the end of the body (RFC
	// 9112 §6.3, 8), under TLS only with close_notify. Close does not wait for the rest of the
	// answer; it stops the writing of the request's body and waits for that. Read and Close are
	// not for concurrent use: to wake a blocked Read, end the context.
	Body io.ReadCloser

	// Upgraded is the connection after 101, else nil. The caller owns it; bytes that came along
	// with the head are read first. It may implement CloseWrite() error.
	Upgraded net.Conn
}

type framing uint8

const (
	noBody framing = iota
	byLength
	byChunks
	byClose
)

// exchange is one request on one connection, and the body of its answer.
type exchange struct {
	Response
	pool   *Pool
	c      *conn // nil once settled
	line   *Lifeline
	sender *sender // nil if the request was written at once
	keep   bool    // the answer allows another request after it

	framing framing
	left    int64
	chunks  chunked
	err     error // sticky result of Read

	raw    []byte  // what the head's fields alias
	fields []Field // kept for their memory
}

var exchanges = sync.Pool{New: func() any { return new(exchange) }}

// maxKeptRaw is the largest memory of a head that goes back to the pool.
const maxKeptRaw = 8 << 10

// Release lets the memory of the response be used for another. It is for callers with very many
// round trips, and optional: after it, and only after Body was closed, nothing of the response may
// be used any more.
func (r *Response) Release() {
	x, ok := r.Body.(*exchange)
	if !ok || x.c != nil || r != &x.Response || r.Upgraded != nil {
		return
	}
	raw, fields := x.raw, x.fields
	if cap(raw) > maxKeptRaw {
		raw, fields = nil, nil
	}
	clear(fields[:cap(fields)])
	*x = exchange{}
	x.raw, x.fields = raw[:0], fields[:0]
	exchanges.Put(x)
}

// Read implements Response.Body.
func (x *exchange) Read(p []byte) (int, error) {
	if x.err != nil {
		return 0, x.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := x.readFramed(p)
	if err != nil {
		x.fail(err)
		return n, x.err
	}
	if x.framing == byLength && x.left == 0 {
		x.fail(io.EOF) // told with the next call; the connection is free now
	}
	return n, nil
}

func (x *exchange) readFramed(p []byte) (int, error) {
	switch x.framing {
	case byLength:
		n, err := x.c.readBody(p[:min(int64(len(p)), x.left)])
		x.left -= int64(n)
		return n, cut(err)
	case byChunks:
		return x.chunks.next(x.c, p)
	case byClose:
		n, err := x.c.readBody(p)
		if x.c.recs != nil && x.c.recs.ended {
			// crypto/tls forgives a missing close_notify (RFC 8446 §6.1); here it is all that tells the end from a cut.
			err = cut(err)
		}
		return n, err
	default:
		return 0, io.EOF
	}
}

// Buffered is how many bytes have come that Read can make something of without waiting; its
// result may still be an error, or the end. 0 means that Read may wait.
func (x *exchange) Buffered() int {
	switch {
	case x.err != nil:
		return 1
	case x.framing == byChunks:
		return x.chunks.ready(x.c.buffered())
	}
	return len(x.c.buffered())
}

// fail makes err the result of every later Read and lets go of the connection if nobody else uses it.
func (x *exchange) fail(err error) {
	switch {
	case err == io.EOF:
	case x.line.why(nil) != nil:
		err = newError(OpBody, x.line.why(nil), true)
	case errors.Is(err, io.ErrUnexpectedEOF):
		err = io.ErrUnexpectedEOF
	default:
		err = newError(OpBody, err, true)
	}
	x.err = err
	if x.sender == nil || x.sender.finished() {
		x.settle(err == io.EOF)
	}
}

// Close implements Response.Body.
func (x *exchange) Close() error {
	x.settle(x.err == io.EOF)
	if x.err == nil {
		x.err = net.ErrClosed
	}
	return nil
}

// settle gives the connection back, or closes it: whoever comes next on it must find nothing of
// this exchange. ended says that the answer ended by its own framing.
func (x *exchange) settle(ended bool) {
	if x.c == nil {
		return
	}
	c := x.c
	x.c = nil
	whole := x.sender == nil || x.sender.stop()
	untouched := x.line.end()
	ended = ended && whole && untouched
	fit := ended && x.keep && c.spent()
	c.release()
	switch {
	case fit:
		x.pool.put(c)
	case ended:
		c.retire()
	default:
		c.sever()
	}
}
