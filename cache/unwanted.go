package cache

import (
	"io"
	"slices"
	"time"
)

// What becomes of a body that nobody reads, or that does not come.

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
	case f.wanted() || f.err != nil:
		return
	case f.alone:
		f.watch()
		return
	case f.half():
		f.alone = true
		f.watch()
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

// stalled reports whether the source was silent for so long that nobody who comes now is to wait for it. The caller holds mu.
func (f *Fill) stalled() bool {
	return f.pulling && !f.ending && f.err == nil && time.Since(f.pulled) >= f.store.patience/2
}

// broken reports whether the fill has ended without all of the body.
func (f *Fill) broken() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err != nil && f.err != io.EOF
}

// watch ends a fill that goes on although nobody wants it, once its source stalls: else what it holds would be held for as long as
// the backend may be silent within a body, which is minutes. The caller holds mu.
func (f *Fill) watch() {
	if f.lonely == nil {
		f.lonely = time.AfterFunc(f.store.patience/2, f.look)
	}
}

// look is for watch.
func (f *Fill) look() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lonely = nil
	switch {
	case f.wanted() || f.err != nil || f.ending:
	case f.stalled():
		f.src.Cut()
	case f.pulling || f.alone:
		f.watch()
	}
}
