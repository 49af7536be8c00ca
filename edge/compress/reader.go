package compress

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

const (
	// pieceBytes is what a Reader takes of its source at a time.
	pieceBytes = 32 << 10
	// keptOutput is the largest room for output that is kept for other bodies.
	keptOutput = 256 << 10
	// maxIdle is how many reads of a source in a row may bring nothing, as in bufio.
	maxIdle = 100
)

// errSurplus is what a source ends with that is longer than was announced: whoever announced it bounds it.
var errSurplus = errors.New("the body is longer than its length")

// A Reader is the coded form of a body that is still to come. It reads its source as it is read itself, in the same
// goroutine, and keeps no byte back: what the source has sent is flushed out before more of it is
// waited for. Whether there is more at hand a source says by a method Buffered() int, the number of bytes
// that can be read without waiting, 0 where that is not known; one without the method is flushed after each read.
//
// It ends with io.EOF only where the source did, at the announced length if there is one. Whatever else
// ends the source ends the Reader with the same error, behind all that came before it, and without the end mark that the
// coding has: a body that was cut cannot be taken for a whole one.
//
// Read, Buffered and Close are not for concurrent use.
type Reader struct {
	src      io.ReadCloser
	coding   Coding
	left     int64 // of the announced length; -1: unknown
	coder    *coder
	room     *room
	at       int   // how much of room.out has been read
	dirty    bool  // the encoder may hold something
	err      error // sticky, told behind the output
	released func()
	closed   bool
}

// A room is the memory of a Reader besides its encoder's.
type room struct {
	in  [pieceBytes]byte
	out []byte
}

var rooms = sync.Pool{New: func() any { return new(room) }}

// NewReader returns the coded form of src, which it owns from now on. length is the source's in bytes, -1 if unknown;
// coding is not Identity. released, if not nil, is called once, when the encoder is no longer held: at
// the end of the source or at Close.
func NewReader(src io.ReadCloser, coding Coding, length int64, released func()) *Reader {
	return &Reader{
		src: src, coding: coding, left: max(length, -1), coder: coding.take(), room: rooms.Get().(*room), released: released,
	}
}

// Read implements io.Reader.
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if r.room != nil && r.at < len(r.room.out) {
			n := copy(p, r.room.out[r.at:])
			if r.at += n; r.at == len(r.room.out) {
				r.room.out, r.at = r.room.out[:0], 0
			}
			return n, nil
		}
		if r.err != nil {
			return 0, r.err
		}
		r.advance()
	}
}

// Buffered is how many bytes can be read without waiting, as far as that is known; the result of that
// Read may be an error, or the end.
func (r *Reader) Buffered() int {
	switch {
	case r.room != nil && r.at < len(r.room.out):
		return len(r.room.out) - r.at
	case r.err != nil:
		return 1
	}
	return min(1, atHand(r.src)) // how long it will be is not known
}

// atHand is how many bytes of a source can be read without waiting, as far as that is known.
func atHand(src io.Reader) int {
	if b, ok := src.(interface{ Buffered() int }); ok {
		return b.Buffered()
	}
	return 0
}

// advance reads a piece of the source and codes it. The output is empty when it begins.
func (r *Reader) advance() {
	e := r.coder
	r.coder = nil // an encoder that panics is nobody's afterwards
	e.to = r.room.out[:0]
	n, err := r.piece()
	fault := r.code(e, n, err)
	r.room.out = e.to
	switch {
	case fault == nil:
		r.coder, r.err = e, err
	case err == nil, err == io.EOF:
		r.err = fmt.Errorf("%v: %w", r.coding, fault)
	default:
		r.err = err
	}
	if r.err != nil {
		r.release()
	}
}

// code codes the n bytes that were read with err, and flushes the encoder where the next ones may be long in coming. An
// error is the encoder's.
func (r *Reader) code(e *coder, n int, err error) error {
	if n > 0 {
		r.dirty = true
		if _, fault := e.Write(r.room.in[:n]); fault != nil {
			return fault
		}
	}
	switch {
	case err == io.EOF:
		return e.Close()
	case r.dirty && (err != nil || atHand(r.src) == 0):
		r.dirty = false
		return e.Flush()
	}
	return nil
}

// piece reads a piece of the source and holds it against the announced length.
func (r *Reader) piece() (n int, err error) {
	for range maxIdle {
		if n, err = r.src.Read(r.room.in[:]); n > 0 || err != nil {
			break
		}
	}
	switch {
	case n == 0 && err == nil:
		err = io.ErrNoProgress
	case r.left < 0:
	case int64(n) > r.left:
		n, err = int(r.left), errSurplus
	default:
		if r.left -= int64(n); r.left > 0 && err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
	}
	return n, err
}

// release lets go of the encoder.
func (r *Reader) release() {
	if r.coder != nil {
		r.coding.give(r.coder)
		r.coder = nil
	}
	if r.released != nil {
		r.released()
		r.released = nil
	}
}

// Close lets go of everything and closes the source, whose result it returns. It may be called at any
// time, and more than once.
func (r *Reader) Close() error {
	if r.closed {
		return nil
	}
	r.closed = true
	r.release()
	if cap(r.room.out) <= keptOutput {
		r.room.out = r.room.out[:0]
		rooms.Put(r.room)
	}
	r.room = nil
	if r.err == nil || r.err == io.EOF {
		r.err = os.ErrClosed
	}
	return r.src.Close()
}
