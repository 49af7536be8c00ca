package edge

import (
	"container/list"
	"runtime"
	"sync"
	"sync/atomic"
	"weak"
)

// places are how many requests may be with backends at a time: of a tenant, or at one backend whose vhost says how many. Who finds
// none waits, first come first served. Taking a place and giving it back costs an atomic operation while nobody waits; no tenant shares
// any with another. The zero value has no bound. All methods are safe for concurrent use.
type places struct {
	most  atomic.Int64 // 0: no bound
	busy  atomic.Int64
	waits atomic.Int64 // length of queue
	away  atomic.Int64 // of a tenant: who wait at backends with places of their own
	told  atomic.Int64 // when the log was last told of refusals, unix seconds

	mu    sync.Mutex
	queue list.List // of queuer
}

// A queuer waits for a place.
type queuer struct {
	came  chan struct{} // closed when the place has come
	again bool          // he has waited before, see rejoin: those stand first
}

// try takes a place if one is free.
func (p *places) try() bool {
	most := p.most.Load()
	for {
		busy := p.busy.Load()
		if most > 0 && busy >= most {
			return false
		}
		if p.busy.CompareAndSwap(busy, busy+1) {
			return true
		}
	}
}

// take takes a place if one is free and nobody has waited for it longer.
func (p *places) take() bool { return p.waits.Load() == 0 && p.try() }

// full reports whether a request that comes now would have to wait.
func (p *places) full() bool {
	most := p.most.Load()
	return most > 0 && (p.busy.Load() >= most || p.waits.Load() > 0)
}

// join begins a wait; nil: so many wait already.
func (p *places) join(most int) (came chan struct{}, place *list.Element) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.queue.Len() >= most {
		return nil, nil
	}
	came = make(chan struct{})
	return came, p.wait(p.queue.PushBack(queuer{came: came}))
}

// rejoin begins a wait, however many wait, before all who join: of one who had a place and left it to wait elsewhere.
func (p *places) rejoin() (came chan struct{}, place *list.Element) {
	p.mu.Lock()
	defer p.mu.Unlock()
	came = make(chan struct{})
	next := p.queue.Front()
	for next != nil && next.Value.(queuer).again {
		next = next.Next()
	}
	if next == nil {
		return came, p.wait(p.queue.PushBack(queuer{came, true}))
	}
	return came, p.wait(p.queue.InsertBefore(queuer{came, true}, next))
}

// wait notes that somebody waits. p.mu is held.
func (p *places) wait(place *list.Element) *list.Element {
	p.waits.Add(1)
	p.admit() // one may have become free before anybody knew of the wait
	return place
}

// goAway notes that one waits elsewhere, unless so many do; back ends it.
func (p *places) goAway(most int) bool {
	if p.away.Add(1) <= int64(most) {
		return true
	}
	p.back()
	return false
}

func (p *places) back() { p.away.Add(-1) }

// admit gives free places to those who wait. p.mu is held.
func (p *places) admit() {
	for p.queue.Len() > 0 && p.try() {
		close(p.queue.Remove(p.queue.Front()).(queuer).came)
		p.waits.Add(-1)
	}
}

// giveUp ends a wait, unless the place has come by now.
func (p *places) giveUp(came chan struct{}, place *list.Element) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-came:
		return false
	default:
	}
	p.queue.Remove(place)
	p.waits.Add(-1)
	return true
}

// leave gives a place back.
func (p *places) leave() {
	p.busy.Add(-1)
	if p.waits.Load() > 0 { // behind the Add: whoever begins a wait now looks once more himself
		p.mu.Lock()
		p.admit()
		p.mu.Unlock()
	}
}

// bound sets how many places there are; 0: no bound.
func (p *places) bound(most int) {
	if p.most.Swap(int64(most)) == int64(most) {
		return
	}
	p.mu.Lock()
	p.admit()
	p.mu.Unlock()
}

// placeSets are the places of all tenants and of backends with places of their own. Each is there while a site, or a request of one, has
// it. The zero value has none.
type placeSets struct {
	mu sync.Mutex
	of map[placesKey]weak.Pointer[places]
}

type placesKey struct {
	owner   string // see site.owner
	backend string // "": the owner's, at all backends together; "respond.file": to read its pages
	most    int    // of a backend
}

// get returns the places of a key, making them if it is the first to ask.
func (s *placeSets) get(key placesKey) *places {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.of[key].Value(); p != nil {
		return p
	}
	p := &places{}
	p.bound(key.most)
	if s.of == nil {
		s.of = map[placesKey]weak.Pointer[places]{}
	}
	s.of[key] = weak.Make(p)
	runtime.AddCleanup(p, s.forget, key)
	return p
}

// waiting is how many wait for the places of a key.
func (s *placeSets) waiting(key placesKey) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.of[key].Value(); p != nil {
		return p.waits.Load()
	}
	return 0
}

func (s *placeSets) forget(key placesKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of[key].Value() == nil { // else they were made anew
		delete(s.of, key)
	}
}
