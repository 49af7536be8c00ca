package acme

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// schedule hands out keys when they fall due. A key stands in it at most once, so
// its size is bounded by the number of names or certificates, and a key that was
// handed out comes back only when it is set again.
//
// Owners of keys take turns: of those with a due key, the one goes first who has waited longer, since that key fell due or he was handed one last.
// Who has as many under way as he may waits, and his keys keep their order.
type schedule[K comparable] struct {
	ownerOf func(K) string // nil: all keys are one's
	most    int            // keys of one owner that are under way at a time, see work; 0: no bound

	mu     sync.Mutex
	queue  dueQueue[*dueOwner[K]] // of owners who may have a key
	owners map[string]*dueOwner[K]
	items  map[K]*dueItem[K]
	wake   chan struct{}
}

type dueItem[K comparable] struct {
	key   K
	at    time.Time
	index int
	owner *dueOwner[K]
}

type dueOwner[K comparable] struct {
	name  string
	queue dueQueue[*dueItem[K]]
	busy  int       // keys under way
	last  time.Time // when he was handed one
	index int       // -1: he may have none
}

func newSchedule[K comparable]() *schedule[K] { return newTurns[K](0, nil) }

// newTurns makes a schedule whose keys belong to owners.
func newTurns[K comparable](most int, ownerOf func(K) string) *schedule[K] {
	return &schedule[K]{ownerOf: ownerOf, most: most, owners: make(map[string]*dueOwner[K]), items: make(map[K]*dueItem[K]), wake: make(chan struct{}, 1)}
}

// set puts a key in, or moves it.
func (s *schedule[K]) set(key K, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	item, ok := s.items[key]
	if ok {
		s.leave(item)
	} else {
		item = &dueItem[K]{key: key}
		s.items[key] = item
	}
	item.at = at
	s.join(item)
	s.signal()
}

func (s *schedule[K]) drop(key K) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if item, ok := s.items[key]; ok {
		s.leave(item)
		delete(s.items, key)
	}
}

// at returns when a key falls due; zero if it is not in the schedule.
func (s *schedule[K]) at(key K) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if item, ok := s.items[key]; ok {
		return item.at
	}
	return time.Time{}
}

// next waits for the next due key and takes it out; false when ctx has ended.
func (s *schedule[K]) next(ctx context.Context) (K, bool) {
	key, o, ok := s.take(ctx)
	if ok {
		s.done(o)
	}
	return key, ok
}

// work calls f for each key that falls due, until ctx ends. The key is under way until f returns.
func (s *schedule[K]) work(ctx context.Context, f func(key K)) {
	for {
		key, o, ok := s.take(ctx)
		if !ok {
			return
		}
		f(key)
		s.done(o) // whoever waits for this place: the next take sees to it
	}
}

// take is next for a key that stays under way until done is called for its owner.
func (s *schedule[K]) take(ctx context.Context) (key K, o *dueOwner[K], ok bool) {
	for {
		if ctx.Err() != nil {
			return key, nil, false
		}
		key, o, wait := s.pop()
		if o != nil {
			return key, o, true
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-s.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// pop takes the first key out if it is due, else says how long to wait; o is nil then.
func (s *schedule[K]) pop() (key K, o *dueOwner[K], wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.queue) > 0 {
		o = s.queue[0]
		first := o.queue[0]
		if wait = time.Until(first.at); wait > 0 {
			return key, nil, wait
		}
		if s.nameOf(first.key) != o.name { // it has come to another owner
			s.leave(first)
			s.join(first)
			continue
		}
		o.busy++
		o.last = time.Now()
		s.leave(first)
		delete(s.items, first.key)
		if len(s.queue) > 0 {
			s.signal() // another worker may take the next one
		}
		return first.key, o, 0
	}
	return key, nil, time.Hour
}

func (s *schedule[K]) done(o *dueOwner[K]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o.busy--
	s.settle(o)
}

func (s *schedule[K]) nameOf(key K) string {
	if s.ownerOf == nil {
		return ""
	}
	return s.ownerOf(key)
}

// join and leave put an item into its owner's queue and take it out. s.mu is held.
func (s *schedule[K]) join(item *dueItem[K]) {
	name := s.nameOf(item.key)
	o := s.owners[name]
	if o == nil {
		o = &dueOwner[K]{name: name, index: -1}
		s.owners[name] = o
	}
	item.owner = o
	heap.Push(&o.queue, item)
	s.settle(o)
}

func (s *schedule[K]) leave(item *dueItem[K]) {
	heap.Remove(&item.owner.queue, item.index)
	s.settle(item.owner)
}

// settle has an owner where he belongs after a change, and forgets one of whom nothing is left. s.mu is held.
func (s *schedule[K]) settle(o *dueOwner[K]) {
	may := len(o.queue) > 0 && (s.most == 0 || o.busy < s.most)
	switch {
	case may && o.index < 0:
		heap.Push(&s.queue, o)
	case may:
		heap.Fix(&s.queue, o.index)
	case o.index >= 0:
		heap.Remove(&s.queue, o.index)
	}
	if len(o.queue) == 0 && o.busy == 0 {
		delete(s.owners, o.name)
	}
}

func (s *schedule[K]) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// A dueThing has its time, and its place in a dueQueue.
type dueThing interface {
	when() time.Time
	place() *int
}

func (i *dueItem[K]) when() time.Time { return i.at }
func (i *dueItem[K]) place() *int     { return &i.index }

// when is that of an owner with a key in his queue.
func (o *dueOwner[K]) when() time.Time {
	if first := o.queue[0].at; first.After(o.last) {
		return first
	}
	return o.last
}
func (o *dueOwner[K]) place() *int { return &o.index }

// dueQueue implements heap.Interface; the earliest stands first.
type dueQueue[T dueThing] []T

func (q dueQueue[T]) Len() int           { return len(q) }
func (q dueQueue[T]) Less(i, j int) bool { return q[i].when().Before(q[j].when()) }

func (q dueQueue[T]) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	*q[i].place(), *q[j].place() = i, j
}

func (q *dueQueue[T]) Push(x any) {
	item := x.(T)
	*item.place() = len(*q)
	*q = append(*q, item)
}

func (q *dueQueue[T]) Pop() any {
	old := *q
	item := old[len(old)-1]
	*item.place() = -1
	var none T
	old[len(old)-1] = none
	*q = old[:len(old)-1]
	return item
}
