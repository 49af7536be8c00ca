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
// reader has not had yet is held, as much as might have been stored, and the others wait for it: for a short time, then it is
// cut.
//
// What a fill holds is counted for as long as it holds it, see room.go.
type Fill struct {
	store  *Store
	tenant *Tenant
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
	reserved int64 // what is held of it, in bytes; 0 once it is stored
	pulling  bool  // somebody is reading src
	ending   bool  // src is being closed
	alone    bool  // finish is at work
	over     bool  // it cannot be stored: it is too large, or there was no memory
	large    bool  // it is too large
	readers  []*Reader
	first    Reader     // the first of them
	one      [1]*Reader // room for readers
	expected int        // readers to come, see Flight.Share
	held     held
	err      error // why there is no more; io.EOF: the body is whole
	outcome  error // of Put, once err is io.EOF
}

// Why a fill's readers get less than the body.
var (
	errAbandoned = errors.New("nobody wanted the rest of the answer")
	errSurplus   = errors.New("the answer is longer than it said")
	errPanicked  = errors.New("panic while reading the answer")
	errLeft      = errors.New("reader is closed")

	// ErrSlow is what a reader gets who held up others.
	ErrSlow = errors.New("too slow for others who read the same answer")
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
// the response, -1 if unknown. If that is more than may be stored, or there is no memory to spare, NewFill returns nil and
// does not ask for the source.
func (s *Store) NewFill(e *Entry, length int64, src func() Source) *Fill {
	whole := *e
	f := &Fill{store: s, tenant: s.account(e.vhost).tenant, head: e, whole: &whole, length: length, most: min(e.most, s.maxCost)}
	f.moved.L = &f.mu
	f.readers, f.pieces = f.one[:0], f.piece[:0]
	first := max(length, 1) // of an empty one, for a byte too much
	if length < 0 {
		first = firstPiece
	}
	if length > f.most || !f.add(first) {
		return nil
	}
	f.src = src()
	return f
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
	f.forget()
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
		if !f.pull() {
			break
		}
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

// pull reads once from src, without the lock, which the caller holds. What has come is everybody's. It is false if there is
// no room to read into.
func (f *Fill) pull() bool {
	piece := f.room()
	if piece == nil {
		return false
	}
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
		f.forget()
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
	return true
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
	case err == io.EOF && f.large:
		outcome = errSize
	case err == io.EOF && f.over:
		outcome = errBusy
	case err == io.EOF:
		f.join()
		f.whole.complete(f.pieces[0])
		f.mu.Unlock() // a Put waits
		outcome = f.store.Put(f.whole)
		f.mu.Lock()
		if outcome == nil {
			f.release(f.reserved) // it is counted there
		}
	}
	f.err, f.outcome = err, outcome
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
	f.join()
	return f.pieces[0]
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
	f.pulling = false
	f.forget()
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
