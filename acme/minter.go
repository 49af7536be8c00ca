package acme

import (
	"container/list"
	"context"
	"crypto/tls"
	"hash/maphash"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const minterShards = 16

// minter holds certificates of the internal CA and makes them at the first
// handshake of a name. Making one costs about 0.1 ms of CPU, so the number of
// goroutines that sign at a time is bounded by the processors.
type minter struct {
	sign    func(name string) (*tls.Certificate, time.Time, error)
	signers chan struct{}
	minted  prometheus.Counter
	seed    maphash.Seed
	named   []*mintShard // names that stand in the table
	wild    []*mintShard // names that only a wildcard or "*" covers
}

// mintShard is a least-recently-used list of certificates.
type mintShard struct {
	mu     sync.Mutex
	max    int
	recent *list.List // of *mintedLeaf, most recently used first
	held   map[string]*list.Element
	flying map[string]*flight
}

type mintedLeaf struct {
	name                       string
	cert                       *tls.Certificate
	notBefore, renew, notAfter time.Time
}

// flight is one certificate in the making; leaf and err are set before done closes.
type flight struct {
	done chan struct{}
	leaf *mintedLeaf
	err  error
}

func newMinter(a *authority, maxHeld int, minted prometheus.Counter) *minter {
	m := &minter{
		sign:    a.mint,
		signers: make(chan struct{}, runtime.GOMAXPROCS(0)),
		minted:  minted,
		seed:    maphash.MakeSeed(),
	}
	wild := maxHeld / 4
	m.named, m.wild = newMintShards(maxHeld-wild), newMintShards(wild)
	return m
}

// newMintShards splits a bound; a small one stays in one shard, or shards would
// evict while others have room.
func newMintShards(maxHeld int) []*mintShard {
	n := minterShards
	if maxHeld < 64*minterShards {
		n = 1
	}
	shards := make([]*mintShard, n)
	for i := range shards {
		shards[i] = &mintShard{
			max:    maxHeld / n,
			recent: list.New(),
			held:   make(map[string]*list.Element),
			flying: make(map[string]*flight),
		}
	}
	return shards
}

func (m *minter) shard(name string, named bool) *mintShard {
	shards := m.wild
	if named {
		shards = m.named
	}
	return shards[maphash.String(m.seed, name)%uint64(len(shards))]
}

// get returns the certificate of a name, minting it if there is none: one caller
// makes it, others wait until ctx ends. A certificate near its end is served on
// while one caller makes the next.
func (m *minter) get(ctx context.Context, name string, named bool) (*tls.Certificate, error) {
	s := m.shard(name, named)
	now := time.Now()
	s.mu.Lock()
	f := s.flying[name]
	if e, ok := s.held[name]; ok {
		l := e.Value.(*mintedLeaf)
		s.recent.MoveToFront(e)
		if now.Before(l.renew) || (f != nil && now.Before(l.notAfter)) {
			s.mu.Unlock()
			return l.cert, nil
		}
	}
	if f != nil {
		s.mu.Unlock()
		return f.wait(ctx)
	}
	f = &flight{done: make(chan struct{})}
	s.flying[name] = f
	s.mu.Unlock()
	m.fly(f, s, name)
	if f.err != nil {
		return nil, f.err
	}
	return f.leaf.cert, nil
}

// fly makes the certificate. It does not heed the caller's context, because others
// may be waiting for the same one.
func (m *minter) fly(f *flight, s *mintShard, name string) {
	m.signers <- struct{}{}
	cert, notAfter, err := m.sign(name)
	<-m.signers
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.flying, name)
	if f.err = err; err == nil {
		f.leaf = &mintedLeaf{name: name, cert: cert, notBefore: now, renew: notAfter.Add(-mintedLife / 3), notAfter: notAfter}
		s.put(f.leaf)
		m.minted.Inc()
	}
	close(f.done)
}

func (f *flight) wait(ctx context.Context) (*tls.Certificate, error) {
	select {
	case <-f.done:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if f.err != nil {
		return nil, f.err
	}
	return f.leaf.cert, nil
}

func (s *mintShard) put(l *mintedLeaf) {
	if e, ok := s.held[l.name]; ok {
		e.Value = l
		s.recent.MoveToFront(e)
		return
	}
	s.held[l.name] = s.recent.PushFront(l)
	for len(s.held) > s.max {
		s.remove(s.recent.Back().Value.(*mintedLeaf).name)
	}
}

func (s *mintShard) remove(name string) {
	if e, ok := s.held[name]; ok {
		s.recent.Remove(e)
		delete(s.held, name)
	}
}

// drop forgets a name that is not served any more.
func (m *minter) drop(name string) {
	for _, named := range []bool{true, false} {
		s := m.shard(name, named)
		s.mu.Lock()
		s.remove(name)
		s.mu.Unlock()
	}
}

// peek returns what is held for a name, without minting it or marking its use.
func (m *minter) peek(name string, named bool) *mintedLeaf {
	s := m.shard(name, named)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.held[name]; ok {
		return e.Value.(*mintedLeaf)
	}
	return nil
}

func (m *minter) count() int {
	n := 0
	for _, shards := range [][]*mintShard{m.named, m.wild} {
		for _, s := range shards {
			s.mu.Lock()
			n += len(s.held)
			s.mu.Unlock()
		}
	}
	return n
}
