package cache

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"time"
)

// DefaultSnapshotBytes is the SnapshotOptions.MaxBytes of options that have none.
const DefaultSnapshotBytes = 64 << 20

// SnapshotOptions say what a snapshot holds. Templates is required.
type SnapshotOptions struct {
	// Templates writes the templates of entries.
	Templates Templates
	// MaxBytes bounds what is written. Default: DefaultSnapshotBytes, or the store's MaxBytes if that is less.
	MaxBytes int64
	// Position is for the caller: what had been applied to the store when the snapshot began, so that whoever restores it
	// knows what is to be applied to what comes back. The store does not look at it. Default: empty.
	Position string
}

// Snapshotted is what became of a snapshot.
type Snapshotted struct {
	Entries int64 // that were written
	Bytes   int64 // of all that was written
	Useless int64 // entries that nobody could have been answered from any more
	Left    int64 // entries that found no room or no time
}

// Snapshot writes what is stored to w, for [Store.Restore] of another process: what was a hit most often first,
// and of equals what was written last. What is invalid or too stale for any use is left out,
// and so is what does not fit: the snapshot is whole whatever it holds. When ctx ends, the rest is left out; the caller
// bounds a Write that waits. The error is that of a Write, and what was written is then of no use.
//
// Entries that others store meanwhile may or may not be in it. An invalidation beside it may come too late for it, so the
// caller has ended the requests before. It blocks neither Lookup nor Close.
func (s *Store) Snapshot(ctx context.Context, w io.Writer, o SnapshotOptions) (Snapshotted, error) {
	n := saving{
		ctx: ctx, now: s.now(), templates: o.Templates,
		most: cmp.Or(o.MaxBytes, min(DefaultSnapshotBytes, s.setting)), out: frameWriter{w: w},
	}
	err := n.out.begin(header{version: o.Templates.Version(), position: o.Position, taken: n.now})
	for _, v := range s.valued() {
		if err != nil {
			break
		}
		err = n.object(v.object, v.uses)
	}
	if err == nil {
		err = n.out.end()
	}
	n.done.Bytes = n.out.written
	return n.done, err
}

// saving is a Snapshot under way.
type saving struct {
	ctx       context.Context
	now       time.Time
	templates Templates
	most      int64
	out       frameWriter
	payload   []byte
	done      Snapshotted
}

// object writes o, if it is of use and has room.
func (n *saving) object(o *object, uses int32) (err error) {
	useful, bodies := int64(0), int64(0)
	for _, e := range o.variants {
		if e.useful(n.now) {
			useful++
			bodies += int64(len(e.Body))
		}
	}
	if o.invalid.Load() || len(o.key) == 0 {
		useful = 0
	}
	n.done.Useless += int64(len(o.variants)) - useful
	room := n.most - n.out.written - frameHead - endFrame
	if useful == 0 || n.ctx.Err() != nil || bodies > room {
		n.done.Left += useful
		return nil
	}
	if n.payload, err = appendObject(n.payload[:0], o.useful(n.now), uses, n.now, n.templates); err != nil {
		return fmt.Errorf("template: %w", err)
	}
	if int64(len(n.payload)) > room {
		n.done.Left += useful
		return nil
	}
	n.done.Entries += useful
	return n.out.frame(n.payload)
}

// valued is a stored object, and what it is worth, which does not change while they are sorted.
type valued struct {
	*object
	uses int32
}

// valued lists what is stored, the most valuable first.
func (s *Store) valued() []valued {
	var all []valued
	s.life.RLock() // against Close; what is collected never changes
	if !s.closed {
		s.cache.IterValues(func(o *object) (stop bool) {
			if o.variants[0].formOf == 0 && s.usableObject(o) { // other forms are made again
				all = append(all, valued{o, o.uses.Load()})
			}
			return false
		})
	}
	s.life.RUnlock()
	slices.SortFunc(all, func(a, b valued) int {
		return cmp.Or(cmp.Compare(b.uses, a.uses), cmp.Compare(b.seq, a.seq))
	})
	return all
}

// usableObject reports whether no purge names any of the object's entries.
func (s *Store) usableObject(o *object) bool {
	for _, e := range o.variants {
		if !s.usable(e) || atomic.LoadInt64(&e.softened) != 0 {
			return false
		}
	}
	return true
}

// useful returns a copy of o with the variants that may still answer; nil if there are none.
func (o *object) useful(now time.Time) *object {
	out := &object{key: o.key, vhost: o.vhost, cost: objectOverhead + int64(len(o.key))}
	for _, e := range o.variants {
		if e.useful(now) {
			out.variants = append(out.variants, e)
			out.cost += e.cost
		}
	}
	if out.variants == nil {
		return nil
	}
	out.uses.Store(o.uses.Load())
	return out
}

// useful reports whether e may still answer, as it is or while it is asked for anew or the backend fails.
func (e *Entry) useful(now time.Time) bool {
	return e.TTL(now) > -max(e.terms.ifError, e.terms.whileRevalidate)
}
