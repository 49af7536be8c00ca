package cache

import (
	"slices"
	"strings"
	"sync/atomic"
)

// PurgeKind is what a Purge names. One that is not known here counts as PurgeAll: rather too much than too little.
type PurgeKind string

// The kinds of purges, and what Purge.Arg is for each.
const (
	PurgeURL    PurgeKind = "url"    // host and target as it is keyed, "www.shop.test/a?b=1": see Policy.Target
	PurgePrefix PurgeKind = "prefix" // what such begin with, "www.shop.test/blog/"
	PurgeTag    PurgeKind = "tag"    // one of Surrogate-Key, Cache-Tag or xkey
	PurgeGroup  PurgeKind = "group"  // one of Cache-Groups (RFC 9875)
	PurgeHost   PurgeKind = "host"   // the canonical host of requests
	PurgeAll    PurgeKind = "all"    // nothing
)

// Known reports whether a Purge of that kind purges no more than its Arg names.
func (k PurgeKind) Known() bool { return slices.Contains(purgeKinds, k) }

var purgeKinds = []PurgeKind{PurgeURL, PurgePrefix, PurgeTag, PurgeGroup, PurgeHost, PurgeAll}

// A Purge says which stored responses must not be used any more. With a Vhost it is for that one, which has the Tenant or
// none; without, for all of the Tenant; with neither, for everything. A URL is purged in all its variants, by both
// schemes, and with whatever else its policy has in the key.
type Purge struct {
	Tenant, Vhost string
	Kind          PurgeKind
	Arg           string
	// Soft has the responses be stale from now on in the place of unusable: they may still be validated, and served
	// while they are, or while the backend fails, for as long as if they had become stale by themselves.
	Soft bool

	origin string // of a group: that of the response that invalidates it, see originOf; empty: whatever the origin
}

// Purge takes microseconds, whatever is stored: nothing is deleted, each entry is compared with it when it is next
// asked for. When Purge returns, no Lookup finds what it names, and no response that was asked for before is stored or
// given to those who come from now on, nor anything that Restore brings. The memory comes back later, see lurk. It returns the
// purge's place in the sequence of all purges and stores, for SavedStore.Since.
func (s *Store) Purge(p Purge) (seq uint64) {
	seq = s.purge(p)
	s.metrics.purged(p.Kind)
	s.lurker.wakeUp()
	return seq
}

func (s *Store) purge(p Purge) (seq uint64) {
	s.purging.Lock()
	defer s.purging.Unlock()
	switch { // a scope that is new here has nothing stored, and may have something to restore
	case p.Vhost != "":
		v := s.Vhost(p.Tenant, p.Vhost)
		seq, _ = s.note(&v.purges, &p)
		v.last.Store(seq)
	case p.Tenant != "":
		t := s.tenant(p.Tenant)
		seq, _ = s.note(&t.purges, &p)
		s.vhosts.concern(seq, func(v *Vhost) bool { return v.tenant == t })
	default:
		seq, _ = s.note(&s.purges, &p)
		s.vhosts.concern(seq, func(*Vhost) bool { return true })
		s.nobody.last.Store(seq)
	}
	return seq
}

// note notes a purge in the scope that it is for, and returns how many that has. The caller holds purging, and then lets those
// vhosts know whose entries it may concern: whoever sees a vhost's last must find all that came before it.
func (s *Store) note(scope *purges, p *Purge) (seq uint64, of int) {
	seq = s.seq.Add(1)
	at := purged{hard: seq}
	if p.Soft {
		at = purged{soft: seq, at: s.now().UnixNano()}
	}
	n, merged := scope.note(p, at)
	if merged {
		s.metrics.merged.Inc()
	}
	scope.last.Store(seq)
	return seq, n
}

// usable reports whether e may be used as far as purges go; a soft one makes it stale. It is one comparison unless there was
// a purge since the last time.
func (s *Store) usable(e *Entry) bool {
	v := s.account(e.vhost)
	last := v.last.Load()
	return atomic.LoadUint64(&e.checked) >= last || s.check(e, v, last)
}

// check compares e with all purges up to the sequence last since it was checked before.
func (s *Store) check(e *Entry, v *Vhost, last uint64) bool {
	since := atomic.LoadUint64(&e.checked)
	found := s.purgedSince(v, e.key, e.tags, since)
	if found.hard > since {
		return false
	}
	if found.soft > since {
		atomic.CompareAndSwapInt64(&e.softened, 0, found.at)
	}
	// Unless somebody else was here: what is checked must not go back.
	atomic.CompareAndSwapUint64(&e.checked, since, last)
	return true
}

// bornStale reports whether a purge, be it soft, came between the request for e and now.
func (s *Store) bornStale(e *Entry) bool {
	v := s.account(e.vhost)
	if e.seq >= v.last.Load() {
		return false
	}
	found := s.purgedSince(v, e.key, e.tags, e.seq)
	return max(found.hard, found.soft) > e.seq
}

// outdated reports whether nobody may join f any more: a purge since it began names what it brings, or may do so, as long as
// its tags are not known.
func (s *Store) outdated(f *Flight) bool {
	v := s.account(f.vhost)
	if f.seq >= v.last.Load() {
		return false
	}
	tags := everyTag
	if f.entry != nil {
		tags = f.entry.tags
	}
	found := s.purgedSince(v, f.key, tags, f.seq)
	return max(found.hard, found.soft) > f.seq
}

// purgedSince returns the last purges of what has the key and the tags, as far as there were some after since.
func (s *Store) purgedSince(v *Vhost, key []byte, tags []uint64, since uint64) (found purged) {
	host, target, ok := urlOf(key)
	if !ok {
		return purged{hard: since + 1} // nobody can tell what it is
	}
	sub := subject{key: key, host: host, target: target, tags: tags}
	for _, scope := range [...]*purges{&v.purges, &v.tenant.purges, &s.purges} {
		if scope.last.Load() > since {
			scope.find(&sub, &found)
		}
	}
	return found
}

// account is the vhost that keeps the purges of v's entries.
func (s *Store) account(v *Vhost) *Vhost {
	if v == nil {
		return &s.nobody
	}
	return v
}

// dead reports whether nothing of o may be used any more.
func (s *Store) dead(o *object) bool {
	if o.invalid.Load() {
		return true
	}
	if e := o.variants[0]; e.formOf != 0 {
		return s.orphaned(e) // no purge names a form
	}
	dead := true
	for _, e := range o.variants { // all of them: those that live are to be checked
		if s.usable(e) {
			dead = false
		}
	}
	return dead
}

// concern lets vhosts know of a purge of more than one.
func (vs *vhosts) concern(seq uint64, which func(*Vhost) bool) {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	for _, v := range vs.by {
		if which(v) {
			v.last.Store(seq)
		}
	}
}

// cutURL divides the Arg of a purge by URL or prefix.
func cutURL(arg string) (host, target string) {
	if i := strings.IndexByte(arg, '/'); i >= 0 {
		return arg[:i], arg[i:]
	}
	return arg, ""
}
