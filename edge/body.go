package edge

import (
	"errors"
	"io"
	"sync/atomic"
	"time"
)

// What finishBody takes of a body that nobody wanted, before it gives the
// connection up: as much as net/http takes.
const (
	discardBytes = 256 << 10
	discardTime  = 5 * time.Second
)

// errBodyTooLarge is what reading beyond limits.body_bytes returns.
var errBodyTooLarge = errors.New("request body is larger than limits.body_bytes")

// A requestBody is the one reader of a request's body. Its end is sticky: a read
// past the end of a stream must never reach into the next request. The body's
// beginning may be read ahead (peek) and is then delivered again.
type requestBody struct {
	src    io.Reader
	conn   clientConn
	length int64 // announced; -1: unknown
	most   int64 // limit; 0: none
	read   int64 // bytes taken from src
	ahead  []byte
	at     int
	err    error // sticky
	// A sender of package upstream may read while the response is under way, so
	// what other goroutines ask of the body is atomic.
	whole   atomic.Bool
	aborted atomic.Bool
	passing passing
}

func (b *requestBody) reset(src io.Reader, length, most int64, conn clientConn) {
	b.src, b.conn, b.length, b.most = src, conn, length, most
	b.read, b.ahead, b.at, b.err = 0, nil, 0, nil
	b.passing.on, b.passing.data, b.passing.cut = false, nil, false
	b.aborted.Store(false)
	b.whole.Store(src == nil)
	if src == nil {
		b.length, b.err = 0, io.EOF
	}
}

// none reports whether the request has no body.
func (b *requestBody) none() bool { return b.src == nil }

// Read implements io.Reader.
func (b *requestBody) Read(p []byte) (int, error) {
	if b.at < len(b.ahead) {
		n := copy(p, b.ahead[b.at:])
		b.at += n
		return n, nil
	}
	return b.take(p)
}

// take reads from the connection.
func (b *requestBody) take(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if b.aborted.Load() {
		return 0, io.ErrUnexpectedEOF
	}
	n, err := b.src.Read(p)
	b.read += int64(n)
	if b.passing.on {
		b.passing.add(p[:n])
	}
	switch {
	case b.most > 0 && b.read > b.most:
		b.err, n = errBodyTooLarge, 0
	case err == io.EOF && b.length >= 0 && b.read < b.length:
		b.err = io.ErrUnexpectedEOF
	default:
		b.err = err
		b.whole.Store(err == io.EOF)
	}
	return n, b.err
}

// peek reads ahead until it has n bytes of the body's beginning, or all of it, and
// returns them; Read delivers them again. cut reports that there is more. What an
// earlier peek has read is kept.
func (b *requestBody) peek(n int64) (ahead []byte, cut bool, err error) {
	if b.none() || n <= 0 {
		return nil, !b.none(), nil
	}
	size := n + 1 // one more tells whether there is more
	if b.length >= 0 {
		size = min(size, b.length)
	}
	for int64(len(b.ahead)) < size && err == nil {
		if len(b.ahead) == cap(b.ahead) {
			// Grown by what comes, not by what is announced: an announcement costs nothing.
			grown := make([]byte, len(b.ahead), min(size, max(4<<10, 2*int64(cap(b.ahead)))))
			copy(grown, b.ahead)
			b.ahead = grown
		}
		var got int
		got, err = b.take(b.ahead[len(b.ahead):cap(b.ahead)])
		b.ahead = b.ahead[:len(b.ahead)+got]
	}
	if err == io.EOF {
		err = nil
	}
	if int64(len(b.ahead)) > n {
		return b.ahead[:n], true, err
	}
	return b.ahead, false, err
}

// rewind makes Read deliver the body from its beginning again, if all that was
// read of it is still held.
func (b *requestBody) rewind() bool {
	if b.read > int64(len(b.ahead)) {
		return false
	}
	b.at = 0
	return true
}

// Abort makes a blocked Read, and every later one, return an error. A body that is
// whole blocks no read, and its connection may be waiting for the next request by now.
func (b *requestBody) Abort() {
	b.aborted.Store(true)
	if b.conn != nil && !b.whole.Load() {
		// An error means that the connection is closed, and then no read blocks.
		_ = b.conn.AbortRead()
	}
}

// finished reports whether the whole body has been taken off the connection.
func (b *requestBody) finished() bool { return b.whole.Load() && !b.aborted.Load() }

// discard takes the rest of the body off the connection within bounds and
// reports whether that succeeded: only then may the connection be used again.
func (b *requestBody) discard() bool {
	if b.finished() {
		return true
	}
	if b.err != nil || b.aborted.Load() || b.conn == nil || b.length > b.read+discardBytes || b.conn.Expecting() {
		return false
	}
	b.conn.Hurry(time.Now().Add(discardTime))
	defer b.conn.Hurry(time.Time{})
	for left, buf := int64(discardBytes), make([]byte, 8<<10); left > 0 && b.err == nil && !b.aborted.Load(); {
		n, _ := b.take(buf) // its error is sticky and ends the loop
		left -= int64(n)
	}
	return b.finished()
}

// finishBody takes what the chain has not read of a request's body off the
// connection, or has the connection closed after the response: what is left
// would be parsed as the next request (request smuggling by early answers).
func (s *Server) finishBody(next handler) handler {
	return func(r *request) error {
		err := next(r)
		switch {
		case r.body.none() || r.body.finished():
		case r.response.stream != nil || !r.body.discard():
			// A streaming response may still be sending the body to its backend.
			r.response.close = true
			if r.conn != nil {
				r.conn.Linger()
			}
		}
		return err
	}
}
