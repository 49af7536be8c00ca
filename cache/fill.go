package cache

import (
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"sync"
	"time"
)

// A Fill is the body of a response on its way from the backend into the store. Any number of readers get it while it
// comes: whoever needs more than is there reads on, for all of them, so the body comes as fast as the fastest wants it,
// and no goroutine stands behind it. It is stored when it is whole, and never if it is not.
//
// A body of unknown length that outgrows what may be stored is no longer kept: from then on only what the slowest
// reader has not had yet is held, as much as might have been stored, and the others wait for it.
type Fill struct {
	store  *Store
	head   *Entry // all but the body; what others note in it is not in whole
	whole  *Entry // what is stored: head, and the body when it is there
	length int64  // announced; -1: unknown
	most   int64  // bytes that may be stored
	src    Source
	flight *Flight // nil: nobody can join

	mu       sync.Mutex
	moved    sync.Cond // there is more, or less to wait for
	pieces   [][]byte  // the body from base on; the last one grows in place
	piece    [1][]byte // room for pieces
	base     int64
	size     int64 // of what has come
	reserved int64
	pulling  bool // somebody is reading src
	ending   bool // src is being closed
	alone    bool // finish is at work
	over     bool // it is too large to be stored
	readers  []*Reader
	first    Reader     // the first of them
	one      [1]*Reader // room for readers
	expected int        // readers to come, see Flight.Share
	err      error      // why there is no more; io.EOF: the body is whole
	outcome  error      // of Put, once err is io.EOF
}

// Why a fill's readers get less than the body.
var (
	errAbandoned = errors.New("nobody wanted the rest of the answer")
	errSurplus   = errors.New("the answer is longer than it said")
	errPanicked  = errors.New("panic while reading the answer")
	errLeft      = errors.New("reader is closed")
)

const (
	firstPiece = 16 << 10
	lastPiece  = 256 << 10
)

// A Source is the body of a response as it comes from the backend. Read and Close are called by one goroutine at a time,
// Close once and last.
type Source interface {
	io.ReadCloser
	// Buffered is how many bytes can be read without waiting, as far as that is known.
	Buffered() int
	// Cut makes a Read that waits fail. It is called beside Read, never after Close.
	Cut()
}

// NewFill begins to fill e, whose Body is nil, from the source that src makes, and takes that over. The length is that of
// the response, -1 if unknown. If there is no memory to spare for it, NewFill returns nil and does not ask for the source.
func (s *Store) NewFill(e *Entry, length int64, src func() Source) *Fill {
	whole := *e
	f := &Fill{store: s, head: e, whole: &whole, length: length, most: min(e.most, s.maxCost)}
	f.moved.L = &f.mu
	f.readers, f.pieces = f.one[:0], f.piece[:0]
	if length > 0 {
		if !s.reserve(length) {
			return nil
		}
		f.reserved = length
		f.pieces = append(f.pieces, make([]byte, 0, length))
	}
	f.src = src()
	return f
}

// reserve takes memory for a body that comes, if there is any: all of them together get an eighth of what may be stored,
// or 16 MiB.
func (s *Store) reserve(n int64) bool {
	if s.filling.Add(n) <= max(16<<20, s.setting/8) {
		return true
	}
	s.filling.Add(-n)
	return false
}

// Reader returns a new reader of the body from its beginning; nil if there can be none any more.
func (f *Fill) Reader() *Reader {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.reader()
}

// expect has the fill wait for n more readers, each of which calls meet. It is false if there can be none.
func (f *Fill) expect(n int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.base > 0 || f.over || f.err != nil {
		return false
	}
	f.expected += n
	return true
}

// meet returns the reader of one that was expected, or nil if it does not want one, or there can be none.
func (f *Fill) meet(wanted bool) (r *Reader) {
	f.mu.Lock()
	if wanted {
		r = f.reader()
	}
	f.expected--
	f.moved.Broadcast()
	f.mu.Unlock()
	if r == nil {
		f.abandon()
	}
	return r
}

func (f *Fill) reader() *Reader {
	if f.base > 0 || f.over && f.expected == 0 || f.err != nil && f.err != io.EOF {
		return nil
	}
	r := &f.first
	if r.f != nil {
		r = &Reader{}
	}
	r.f = f
	f.readers = append(f.readers, r)
	return r
}

// Gather takes a small body, most bytes or somewhat more, and reports whether that is all of it: then it can be answered
// whole. It waits for the first bytes of a body whose length is known, for the rest of it patience at most, and for no
// others.
func (f *Fill) Gather(most int64, patience time.Duration) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.err == nil && f.size < most && !f.pulling && (f.length > 0 && f.size == 0 || f.src.Buffered() > 0) {
		f.pull()
	}
	if f.err != nil || f.length < 0 || f.size >= most || f.pulling {
		return f.err == io.EOF
	}
	over := false
	timer := time.AfterFunc(patience, func() {
		f.mu.Lock()
		over = true
		f.moved.Broadcast()
		f.mu.Unlock()
	})
	defer timer.Stop()
	go f.guarded(func() { // a read cannot be ended
		f.mu.Lock()
		defer f.mu.Unlock()
		for f.err == nil && !over && !f.pulling {
			f.pull()
		}
	})
	for f.err == nil && !over {
		f.moved.Wait()
	}
	return f.err == io.EOF
}

// pull reads once from src, without the lock, which the caller holds. What has come is everybody's.
func (f *Fill) pull() {
	piece := f.room()
	f.pulling = true
	f.mu.Unlock()
	n, err := 0, errPanicked
	defer func() {
		if err == nil {
			f.mu.Lock()
			f.took(piece, n)
		} else {
			f.end(piece, n, err)
		}
		f.pulling = false
		f.moved.Broadcast()
	}()
	n, err = f.src.Read(piece[len(piece):cap(piece)])
	if err == nil && f.length >= 0 {
		switch size := f.size + int64(n); {
		case size == f.length:
			err = io.EOF // no need to ask again
		case size > f.length:
			err = errSurplus
		}
	}
}

// room returns the piece that is read into next: the last one, or a new one.
func (f *Fill) room() []byte {
	if f.over && f.base == f.size && len(f.pieces) > 0 {
		f.pieces = append(f.pieces[:0], f.pieces[len(f.pieces)-1][:0]) // all have had it
	}
	if n := len(f.pieces); n > 0 && len(f.pieces[n-1]) < cap(f.pieces[n-1]) {
		return f.pieces[n-1]
	}
	size := int64(firstPiece)
	if f.length >= 0 {
		size = 1 // for the end, or a byte too much
	} else if n := len(f.pieces); n > 0 {
		size = min(2*int64(cap(f.pieces[n-1])), lastPiece)
	}
	if !f.over && f.length < 0 {
		if f.store.reserve(size) {
			f.reserved += size
		} else {
			f.outgrow()
		}
	}
	piece := make([]byte, 0, size)
	f.pieces = append(f.pieces, piece)
	return piece
}

// took adds n bytes that were read into piece, the last one.
func (f *Fill) took(piece []byte, n int) {
	f.pieces[len(f.pieces)-1] = piece[:len(piece)+n]
	f.size += int64(n)
	if f.size > f.most && !f.over {
		f.outgrow()
	}
}

// outgrow gives up storing the body. Whoever has not joined yet asks the backend itself.
func (f *Fill) outgrow() {
	f.over = true
	f.store.filling.Add(-f.reserved)
	f.reserved = 0
	if f.flight != nil {
		f.flight.close(true)
	}
}

// end closes src after its last n bytes, and stores the body if it is whole. It takes the lock, which stays held.
func (f *Fill) end(piece []byte, n int, err error) {
	f.mu.Lock()
	f.ending = true
	f.mu.Unlock()
	f.guarded(func() { _ = f.src.Close() }) // nobody reads any more, so an error has no meaning
	f.mu.Lock()
	if n > 0 {
		f.took(piece, n)
	}
	if err == io.EOF && f.length >= 0 && f.size != f.length {
		err = io.ErrUnexpectedEOF
	}
	outcome := errUnfit
	switch {
	case err == io.EOF && f.over:
		outcome = errSize
	case err == io.EOF:
		f.whole.complete(f.body())
		f.mu.Unlock() // a Put waits
		outcome = f.store.Put(f.whole)
		f.mu.Lock()
	}
	f.err, f.outcome = err, outcome
	f.store.filling.Add(-f.reserved)
	f.reserved = 0
	if f.flight != nil {
		f.flight.close(false)
	}
	f.moved.Broadcast()
	f.mu.Unlock()
	if f.flight != nil {
		f.flight.leave() // its shard is locked before a fill, never after
	}
	f.mu.Lock()
}

// body returns what has come as one piece without spare capacity, which would be held with it.
func (f *Fill) body() []byte {
	if len(f.pieces) == 1 && len(f.pieces[0]) == cap(f.pieces[0]) {
		return f.pieces[0]
	}
	body := make([]byte, 0, f.size)
	for _, p := range f.pieces {
		body = append(body, p...)
	}
	return body
}

// Outcome is what became of the fill: ended is false while it goes on. Otherwise err is nil if the response is stored, an
// error of [Store.Put], or why the body is not whole.
func (f *Fill) Outcome() (ended bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil && f.err != io.EOF {
		return true, f.err
	}
	return f.err != nil, f.outcome
}

// Whole returns the body if all of it has come, and nil otherwise.
func (f *Fill) Whole() []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != io.EOF || f.over || f.base > 0 {
		return nil
	}
	return f.body()
}

// guarded keeps a panic of the source from the process: nothing above run would recover it.
func (f *Fill) guarded(run func()) {
	defer func() {
		if v := recover(); v != nil {
			f.store.log.Error("panic while reading an answer into the cache", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
		}
	}()
	run()
}

// wanted reports whether anybody reads the body, or is about to.
func (f *Fill) wanted() bool {
	return f.expected > 0 || slices.ContainsFunc(f.readers, func(r *Reader) bool { return !r.left })
}

// half reports whether so much is there that the rest is worth having.
func (f *Fill) half() bool { return !f.over && f.length > 0 && 2*f.size >= f.length }

// abandon ends a fill that nobody reads. One that is half done goes on, for those who come next.
func (f *Fill) abandon() {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.wanted() || f.err != nil || f.alone:
		return
	case f.half():
		f.alone = true
		go f.guarded(f.finish)
		return
	case f.pulling: // see Gather, or by one who has left
		if !f.ending {
			f.src.Cut()
		}
		return
	}
	f.pulling = true // nobody else may
	f.mu.Unlock()
	f.end(nil, 0, errAbandoned)
}

// Finish has the rest of the body come for nobody in particular.
func (f *Fill) Finish() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil && !f.alone && !f.over {
		f.alone = true
		go f.guarded(f.finish)
	}
}

// finish reads the rest of the body for nobody in particular, as long as it may be stored: one that may not is left to
// those who read it.
func (f *Fill) finish() {
	defer f.abandon()
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.err == nil && !f.over {
		if f.pulling {
			f.moved.Wait()
		} else {
			f.pull()
		}
	}
	f.alone = false
}
