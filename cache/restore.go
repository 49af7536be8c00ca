package cache

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// A SavedStore is a snapshot that is being read. It is for one goroutine.
type SavedStore struct {
	// Position is what the caller of Snapshot gave: it is known before anything is restored, so that what has happened
	// since can be applied first.
	Position string
	// Taken is when the snapshot was.
	Taken time.Time
	// Since is for a snapshot whose store has been through a purge of this one, and all before it: what Purge has returned
	// for it. Only purges after it purge what is restored. 0: all do.
	Since uint64

	frames    *frameReader
	templates Templates
}

// CheckSnapshot reads a whole snapshot and returns what is wrong with it, by its checksums and lengths. It allocates nothing
// that depends on what it reads. Whoever can read twice does so before Restore, which takes what it has read by then.
func CheckSnapshot(r io.Reader) error {
	frames := newFrameReader(r)
	if _, err := frames.begin(); err != nil {
		return err
	}
	return frames.objects(endFrame, func([]byte) error { return nil })
}

// OpenSnapshot reads a snapshot's head. templates reads what those of the snapshot have written, of the same version. An
// error that wraps io.EOF: there is nothing at all.
func OpenSnapshot(r io.Reader, templates Templates) (*SavedStore, error) {
	frames := newFrameReader(r)
	if _, err := frames.r.Peek(1); err != nil {
		return nil, err
	}
	h, err := frames.begin()
	switch {
	case err != nil:
		return nil, err
	case h.version != templates.Version():
		return nil, fmt.Errorf("%w: its templates are %q, not %q", errSnapshotForm, h.version, templates.Version())
	}
	return &SavedStore{Position: h.position, Taken: h.taken, frames: frames, templates: templates}, nil
}

// Restored is what became of a snapshot's entries: how many came back, and how many did not, by the reason.
type Restored struct {
	Entries int64 // that came back
	Bytes   int64 // cost of these
	Expired int64 // too old for any use
	Gone    int64 // of a vhost that is not wanted
	Newer   int64 // something is stored in their place already, or was invalidated there
	Room    int64 // the memory was full, or they are larger than what is stored
}

// Restore stores what a snapshot holds, in its order, which puts the most valuable first. It never replaces what was stored
// since the store was made, brings nothing back that was invalidated since, evicts nothing, and stores nothing that nobody
// could be answered from. An entry that comes back counts as asked for before anything else in this store was, or at
// SavedStore.Since, so whatever purges those of before purges it.
//
// vhost says whose a key is by its first two parts, and nil where nothing of it is wanted; it is asked once for each. The
// vhost's settings may have changed: what of them tells answers apart is in the key, so what was stored under other
// settings is not found; what says for how long or whether to store acts on answers, and stored ones stay as they
// are, as when settings change while a node runs.
//
// It may run beside everything else. The error says why the rest of the snapshot was not read: ctx has ended, reading
// failed, it is damaged, or its clock is not ours. What was restored until then stays: every entry has a checksum.
func (s *Store) Restore(ctx context.Context, saved *SavedStore, vhost func(tenant, name string) *Vhost) (Restored, error) {
	r := restoring{s: s, saved: saved, vhost: vhost, known: map[string]*Vhost{}}
	if now := s.now(); saved.Taken.After(now.Add(clockSlack)) || now.Sub(saved.Taken) > mostTime {
		// All ages are reckoned from it.
		return r.done, fmt.Errorf("%w: it was taken at %s", errSnapshotClock, saved.Taken.Format(time.RFC3339))
	}
	most := variantRoom*s.maxCost + 4<<10 // an object of a larger store has no room here
	err := saved.frames.objects(most, func(payload []byte) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if payload == nil {
			r.done.Room++
			return nil
		}
		return r.object(payload)
	})
	return r.done, err
}

var errSnapshotClock = errors.New("the clock has gone backwards")

// clockSlack is how far the clock may have been set back between two processes: ages are whole seconds.
const clockSlack = time.Second

// restoring is a Restore under way.
type restoring struct {
	s     *Store
	saved *SavedStore
	vhost func(tenant, name string) *Vhost
	known map[string]*Vhost // by the two parts of the key
	done  Restored
}

func (r *restoring) object(payload []byte) error {
	o, err := readObject(payload, r.saved.Taken, r.saved.templates)
	if err != nil {
		return err
	}
	var wanted bool
	if o.vhost, wanted, err = r.owner(o.key); err != nil {
		return err
	}
	if !wanted {
		r.done.Gone += int64(len(o.variants))
		return nil
	}
	now := r.s.now()
	useful := o.useful(now)
	if useful == nil {
		r.done.Expired += int64(len(o.variants))
		return nil
	}
	r.done.Expired += int64(len(o.variants) - len(useful.variants))
	for _, e := range useful.variants {
		e.vhost, e.id, e.checked = o.vhost, entryIDs.Add(1), r.saved.Since
		// With a monotonic reading again: what becomes of the wall clock while this process runs changes no age.
		e.received = now.Add(-max(now.Sub(e.received), 0))
	}
	r.bring(useful)
	return nil
}

// owner is the vhost that a key begins with.
func (r *restoring) owner(key []byte) (v *Vhost, wanted bool, err error) {
	tenant, rest, ok := cutKeyPart(key)
	name, rest, ok2 := cutKeyPart(rest)
	if !ok || !ok2 {
		return nil, false, errSnapshotWrong
	}
	id := key[:len(key)-len(rest)]
	v, known := r.known[string(id)]
	if !known {
		v = r.vhost(string(tenant), string(name))
		r.known[string(id)] = v
	}
	return v, v != nil, nil
}

// cutKeyPart cuts a part from a key, see appendPart.
func cutKeyPart(key []byte) (part, rest []byte, ok bool) {
	n, size := binary.Uvarint(key)
	if size <= 0 || n > uint64(len(key)-size) {
		return nil, nil, false
	}
	return key[size:][:n], key[size:][n:], true
}

// bring stores what of o is not there in another form.
func (r *restoring) bring(o *object) {
	s, entries := r.s, int64(len(o.variants))
	s.life.RLock()
	defer s.life.RUnlock()
	hash := s.hash(o.key)
	mu := &s.stripe[hash%stripes]
	mu.Lock()
	defer mu.Unlock()
	old, _ := s.cache.Get(hash)
	if s.closed || s.superseded(hash, 0) || old != nil && !bytes.Equal(old.key, o.key) {
		r.done.Newer += entries
		return
	}
	come, growth, n := entries, o.cost, o
	if old != nil {
		if n = old.before(o, variantRoom*s.maxCost); n == nil {
			r.done.Newer += entries
			return
		}
		come, growth = int64(len(n.variants)-len(old.variants)), n.cost-old.cost
	}
	if n.vhost != nil {
		n.halvings.Store(n.vhost.tenant.halvings.Load()) // its uses are of now
	}
	n.seq = s.seq.Add(1) // a flight that begins now looks once more, see join
	if o.largest() > s.maxCost || n.cost > variantRoom*s.maxCost || !s.ledger.fits(growth) || !s.set(hash, n, old) {
		r.done.Room += entries
		return
	}
	if n.vhost != nil {
		s.queued(n.vhost.tenant, place{hash, n.seq})
	}
	r.done.Entries += come
	r.done.Bytes += growth
	r.done.Newer += entries - come
}

// before returns the object that has older's variants behind o's; nil if none of them has a place. Where the newest answer
// does not vary none has: it stands for all.
func (o *object) before(older *object, maxCost int64) *object {
	if o.invalid.Load() || len(o.variants[0].vary) == 0 {
		return nil
	}
	n := &object{key: o.key, vhost: o.vhost, variants: slices.Clone(o.variants), cost: o.cost}
	n.uses.Store(max(o.uses.Load(), older.uses.Load()))
	for _, e := range older.variants {
		if slices.ContainsFunc(n.variants, e.sameVariant) {
			continue
		}
		if len(n.variants) == maxVariants || n.cost+e.cost > maxCost {
			break
		}
		n.variants = append(n.variants, e)
		n.cost += e.cost
	}
	if len(n.variants) == len(o.variants) {
		return nil
	}
	return n
}

// largest is the cost of the largest entry.
func (o *object) largest() (cost int64) {
	for _, e := range o.variants {
		cost = max(cost, e.cost)
	}
	return cost
}
