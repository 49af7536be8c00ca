package acme

import (
	"crypto/tls"
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const storeShards = 64

// store holds the names of the table, and by name the certificates from files and
// from the ACME issuer. Lookups do no I/O and take one shard's read lock at a time.
type store struct {
	seed     maphash.Seed
	shards   [storeShards]shard
	fallback atomic.Pointer[leaf] // the file attached to "*"
	chains   chainPool
}

type shard struct {
	mu    sync.RWMutex
	exact map[string]entry // by name
	wild  map[string]entry // of "*." + key
}

// An entry is what there is for one name or wildcard.
type entry struct {
	told     bool  // the table has it
	file     *leaf // attached to it
	imported *leaf // brought in by hand
	issued   *leaf // from the ACME issuer
}

func newStore() *store {
	s := &store{seed: maphash.MakeSeed()}
	for i := range s.shards {
		s.shards[i].exact = make(map[string]entry)
		s.shards[i].wild = make(map[string]entry)
	}
	return s
}

func (s *store) shard(name string) *shard {
	return &s.shards[maphash.String(s.seed, name)%storeShards]
}

// find returns the certificate to serve for a canonical name, or nil if the
// internal CA must help. Order: the file of the name, the file of the wildcard one
// label up, what was imported for the name, for the wildcard, the issued certificate unless it has expired, that of the wildcard, the file of "*".
//
// A file is served as told, whether it fits or not, where its own pattern selects
// the name. For a name that belongs to another entry of the table, the file of a
// wildcard or of "*" serves only if it covers the name: it was not meant for it.
func (s *store) find(name string, now time.Time) *leaf {
	sh := s.shard(name)
	sh.mu.RLock()
	own := sh.exact[name]
	sh.mu.RUnlock()
	if own.file != nil {
		return own.file
	}
	above := s.wildcard(name)
	switch {
	case above.file != nil && (!own.told || above.file.covers(name)):
		return above.file
	// An expired certificate is worse than the internal one: clients that trust
	// the internal CA can still connect, and Trusted must turn false.
	case own.imported.validAt(now):
		return own.imported
	case above.imported.validAt(now):
		return above.imported
	case own.issued.validAt(now):
		return own.issued
	case above.issued.validAt(now):
		return above.issued
	}
	if all := s.fallback.Load(); all != nil && (all.covers(name) || !own.told && !s.belowWildcard(name)) {
		return all
	}
	return nil
}

// validAt reports whether there is a certificate, and it has not ended.
func (l *leaf) validAt(now time.Time) bool { return l != nil && now.Before(l.notAfter) }

// wildcard returns what there is for the wildcard one label up from name.
func (s *store) wildcard(name string) entry {
	up := parent(name)
	if up == "" {
		return entry{}
	}
	sh := s.shard(up)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	return sh.wild[up]
}

// hasFile reports whether a certificate file, or an imported one, goes before an issued certificate of
// a name of the table.
func (s *store) hasFile(name string) bool {
	now := time.Now()
	if s.file(name) != nil || s.imported(name).validAt(now) {
		return true
	}
	above := s.wildcard(name)
	return above.file != nil && above.file.covers(name) || above.imported.validAt(now)
}

// never is no time that comes.
var never = time.Unix(1<<40, 0)

// takenOver is from when on a name of the table needs a certificate that is ordered: where an imported one covers it, when a sixth of that one's
// life is left, or nobody would be in time; never, where a file does. Zero: nothing covers it.
func (s *store) takenOver(name string) time.Time {
	above := s.wildcard(name)
	if s.file(name) != nil || above.file != nil && above.file.covers(name) {
		return never
	}
	var at time.Time
	for _, l := range []*leaf{s.imported(name), above.imported} {
		if l != nil && l.lastCall().After(at) {
			at = l.lastCall()
		}
	}
	return at
}

// get returns what there is for a pattern itself, but for "*".
func (s *store) get(pattern string) entry {
	sh, entries, key := s.place(pattern)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	return entries[key]
}

// change changes what there is for a pattern, but for "*".
func (s *store) change(pattern string, f func(*entry)) {
	sh, entries, key := s.place(pattern)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	e := entries[key]
	if f(&e); e == (entry{}) {
		delete(entries, key)
	} else {
		entries[key] = e
	}
}

// place returns the shard of a pattern, and in it the map and the key for it; the map is guarded by the shard's mutex.
func (s *store) place(pattern string) (sh *shard, entries map[string]entry, key string) {
	if key, wild := strings.CutPrefix(pattern, "*."); wild {
		sh = s.shard(key)
		return sh, sh.wild, key
	}
	sh = s.shard(pattern)
	return sh, sh.exact, pattern
}

// swap puts l into a field of a pattern's entry (nil takes out) and returns the one that was there.
func (s *store) swap(pattern string, l *leaf, field func(*entry) **leaf) (old *leaf) {
	if l != nil {
		s.chains.share(l.served.Load())
	}
	s.change(pattern, func(e *entry) {
		at := field(e)
		old, *at = *at, l
	})
	return old
}

// file returns what is attached to a pattern itself.
func (s *store) file(pattern string) *leaf {
	if pattern == "*" {
		return s.fallback.Load()
	}
	return s.get(pattern).file
}

// putFile attaches a certificate to a pattern (nil detaches) and returns the one
// that was there.
func (s *store) putFile(pattern string, l *leaf) (old *leaf) {
	if pattern == "*" {
		if l != nil {
			s.chains.share(l.served.Load())
		}
		return s.fallback.Swap(l)
	}
	return s.swap(pattern, l, func(e *entry) **leaf { return &e.file })
}

// putImported is putFile for what was imported.
func (s *store) putImported(pattern string, l *leaf) (old *leaf) {
	return s.swap(pattern, l, func(e *entry) **leaf { return &e.imported })
}

func (s *store) imported(pattern string) *leaf { return s.get(pattern).imported }

// putIssued is putFile for the ACME issuer's certificate of a name or wildcard.
func (s *store) putIssued(pattern string, l *leaf) (old *leaf) {
	return s.swap(pattern, l, func(e *entry) **leaf { return &e.issued })
}

func (s *store) issued(pattern string) *leaf { return s.get(pattern).issued }

// counts are how many names have a certificate of each source.
type counts struct{ files, imported, issued int }

func (s *store) count() (c counts) {
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.RLock()
		for _, entries := range []map[string]entry{sh.exact, sh.wild} {
			for _, e := range entries {
				c.files += one(e.file)
				c.imported += one(e.imported)
				c.issued += one(e.issued)
			}
		}
		sh.mu.RUnlock()
	}
	c.files += one(s.fallback.Load())
	return c
}

func one(l *leaf) int {
	if l == nil {
		return 0
	}
	return 1
}

const maxSharedChains = 1024

// chainPool keeps one copy of each intermediate certificate: thousands of leaves
// share a handful of them.
type chainPool struct {
	mu  sync.Mutex
	all map[string][]byte
}

// share replaces the chain above the leaf by the pool's copies. The certificate
// must not be in use yet. A full pool shares no further ones.
func (p *chainPool) share(cert *tls.Certificate) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := 1; i < len(cert.Certificate); i++ {
		der := cert.Certificate[i]
		if kept, ok := p.all[string(der)]; ok {
			if &kept[0] != &der[0] {
				cert.Certificate[i] = kept
			}
			continue
		}
		if p.all == nil {
			p.all = make(map[string][]byte)
		}
		if len(p.all) < maxSharedChains {
			p.all[string(der)] = der
		}
	}
}
