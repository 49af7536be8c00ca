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
	mu     sync.RWMutex
	told   map[string]struct{} // the table has this exact name
	above  map[string]struct{} // the table has "*." + key
	files  map[string]*leaf    // attached to this exact name
	wild   map[string]*leaf    // attached to "*." + key
	manual map[string]*leaf    // imported for this exact name, and for "*." + key
	under  map[string]*leaf
	issued map[string]*leaf // from the ACME issuer
	below  map[string]*leaf // from the ACME issuer, for "*." + key
}

func newStore() *store {
	s := &store{seed: maphash.MakeSeed()}
	for i := range s.shards {
		s.shards[i].told = make(map[string]struct{})
		s.shards[i].above = make(map[string]struct{})
		s.shards[i].files = make(map[string]*leaf)
		s.shards[i].wild = make(map[string]*leaf)
		s.shards[i].manual = make(map[string]*leaf)
		s.shards[i].under = make(map[string]*leaf)
		s.shards[i].issued = make(map[string]*leaf)
		s.shards[i].below = make(map[string]*leaf)
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
	file, manual, issued := sh.files[name], sh.manual[name], sh.issued[name]
	_, told := sh.told[name]
	sh.mu.RUnlock()
	if file != nil {
		return file
	}
	wild, under, below := s.wildcard(name)
	switch {
	case wild != nil && (!told || wild.covers(name)):
		return wild
	case manual != nil && now.Before(manual.notAfter):
		return manual
	case under != nil && now.Before(under.notAfter):
		return under
	}
	// An expired certificate is worse than the internal one: clients that trust
	// the internal CA can still connect, and Trusted must turn false.
	if issued != nil && now.Before(issued.notAfter) {
		return issued
	}
	if below != nil && now.Before(below.notAfter) {
		return below
	}
	if all := s.fallback.Load(); all != nil && (all.covers(name) || !told && !s.belowWildcard(name)) {
		return all
	}
	return nil
}

// wildcard returns what the wildcard one label up from name has: its file, what was imported for it, and its issued certificate; nil where there is none.
func (s *store) wildcard(name string) (file, imported, issued *leaf) {
	up := parent(name)
	if up == "" {
		return nil, nil, nil
	}
	sh := s.shard(up)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	return sh.wild[up], sh.under[up], sh.below[up]
}

// hasFile reports whether a certificate file goes before an issued certificate of
// an exact name of the table.
func (s *store) hasFile(name string) bool {
	if s.file(name) != nil {
		return true
	}
	if l := s.imported(name); l != nil && time.Now().Before(l.notAfter) {
		return true
	}
	wild, under, _ := s.wildcard(name)
	return wild != nil && wild.covers(name) || under != nil && time.Now().Before(under.notAfter)
}

// file returns what is attached to a pattern itself.
func (s *store) file(pattern string) *leaf {
	if pattern == "*" {
		return s.fallback.Load()
	}
	key, wild := strings.CutPrefix(pattern, "*.")
	sh := s.shard(key)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	if wild {
		return sh.wild[key]
	}
	return sh.files[key]
}

// putFile attaches a certificate to a pattern (nil detaches) and returns the one
// that was there.
func (s *store) putFile(pattern string, l *leaf) (old *leaf) {
	if l != nil {
		s.chains.share(l.served.Load())
	}
	if pattern == "*" {
		return s.fallback.Swap(l)
	}
	key, wild := strings.CutPrefix(pattern, "*.")
	sh := s.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if wild {
		return swap(sh.wild, key, l)
	}
	return swap(sh.files, key, l)
}

// putImported is putFile for what was imported.
func (s *store) putImported(pattern string, l *leaf) (old *leaf) {
	if l != nil {
		s.chains.share(l.served.Load())
	}
	key, wild := strings.CutPrefix(pattern, "*.")
	sh := s.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if wild {
		return swap(sh.under, key, l)
	}
	return swap(sh.manual, key, l)
}

func (s *store) imported(pattern string) *leaf {
	key, wild := strings.CutPrefix(pattern, "*.")
	sh := s.shard(key)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	if wild {
		return sh.under[key]
	}
	return sh.manual[key]
}

// putIssued is putFile for the ACME issuer's certificate of a name or wildcard.
func (s *store) putIssued(pattern string, l *leaf) (old *leaf) {
	if l != nil {
		s.chains.share(l.served.Load())
	}
	key, wild := strings.CutPrefix(pattern, "*.")
	sh := s.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if wild {
		return swap(sh.below, key, l)
	}
	return swap(sh.issued, key, l)
}

func (s *store) issued(pattern string) *leaf {
	key, wild := strings.CutPrefix(pattern, "*.")
	sh := s.shard(key)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	if wild {
		return sh.below[key]
	}
	return sh.issued[key]
}

// count returns how many names have a certificate of each source.
func (s *store) count() (files, imported, issued int) {
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.RLock()
		files += len(sh.files) + len(sh.wild)
		imported += len(sh.manual) + len(sh.under)
		issued += len(sh.issued) + len(sh.below)
		sh.mu.RUnlock()
	}
	if s.fallback.Load() != nil {
		files++
	}
	return files, imported, issued
}

func swap(m map[string]*leaf, key string, l *leaf) (old *leaf) {
	old = m[key]
	if l == nil {
		delete(m, key)
	} else {
		m[key] = l
	}
	return old
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
