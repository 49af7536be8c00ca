package cache

import (
	"io"
	"slices"
)

// A Reader reads the body of a Fill from its beginning. Its methods are for one goroutine, but for Leave.
type Reader struct {
	f    *Fill
	at   int64
	left bool
	slow bool // it was cut
}

// Read implements io.Reader. It waits for the backend if all that has come was read.
func (r *Reader) Read(p []byte) (int, error) {
	f := r.f
	if len(p) == 0 {
		return 0, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		switch {
		case r.slow:
			return 0, ErrSlow
		case r.left:
			return 0, errLeft
		case r.at < f.size:
			n := f.copy(p, r.at)
			r.at += int64(n)
			f.forget()
			return n, nil
		case f.err != nil:
			return 0, f.err
		case !f.pulling && f.mayPull() && f.pull():
		case !f.pulling && f.over && f.expected == 0:
			f.hold()
		default:
			f.moved.Wait()
		}
	}
}

// copy copies what has come from at on.
func (f *Fill) copy(p []byte, at int64) (n int) {
	start := f.base
	for _, piece := range f.pieces {
		if skip := at - start; skip < int64(len(piece)) {
			got := copy(p[n:], piece[max(skip, 0):])
			n += got
			at += int64(got)
			if n == len(p) {
				break
			}
		}
		start += int64(len(piece))
	}
	return n
}

// mayPull reports whether there is room for more: a body that is not kept is not read further ahead of its slowest reader
// than what might have been stored.
func (f *Fill) mayPull() bool {
	return !f.over || f.expected == 0 && f.size-f.slowest() < max(f.most, firstPiece)
}

// slowest is where the reader is that has had least. Who has left reads no more.
func (f *Fill) slowest() int64 {
	at := f.size
	for _, r := range f.readers {
		if !r.left {
			at = min(at, r.at)
		}
	}
	return at
}

// Buffered is how many bytes can be read without waiting; more than none as well if the next Read tells the end.
func (r *Reader) Buffered() int {
	f := r.f
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case r.at < f.size:
		return int(f.size - r.at)
	case f.err != nil:
		return 1
	case !f.pulling && f.mayPull():
		return f.src.Buffered()
	}
	return 0
}

// Leave makes a Read that waits, and every later one, fail: the client has left. One that itself waits for the backend
// does so as long as others want the body, or half of it is there. Any goroutine may call it.
func (r *Reader) Leave() {
	f := r.f
	f.mu.Lock()
	defer f.mu.Unlock()
	r.left = true
	f.forget()
	f.moved.Broadcast()
	if f.pulling && !f.wanted() && !f.alone && !f.half() && !f.ending && f.err == nil {
		f.src.Cut()
	}
}

// Close implements io.Closer. If nobody else reads, it ends the fill, unless half of it is there.
func (r *Reader) Close() error {
	f := r.f
	f.mu.Lock()
	r.left = true
	if i := slices.Index(f.readers, r); i >= 0 {
		f.readers = slices.Delete(f.readers, i, i+1)
	}
	f.forget()
	f.mu.Unlock()
	f.abandon()
	return nil
}

var _ io.ReadCloser = (*Reader)(nil)
