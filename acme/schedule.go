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
type schedule[K comparable] struct {
	mu    sync.Mutex
	queue dueQueue[K]
	items map[K]*dueItem[K]
	wake  chan struct{}
}

type dueItem[K comparable] struct {
	key   K
	at    time.Time
	index int
}

func newSchedule[K comparable]() *schedule[K] {
	return &schedule[K]{items: make(map[K]*dueItem[K]), wake: make(chan struct{}, 1)}
}

// set puts a key in, or moves it.
func (s *schedule[K]) set(key K, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if item, ok := s.items[key]; ok {
		item.at = at
		heap.Fix(&s.queue, item.index)
	} else {
		item = &dueItem[K]{key: key, at: at}
		s.items[key] = item
		heap.Push(&s.queue, item)
	}
	s.signal()
}

func (s *schedule[K]) drop(key K) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if item, ok := s.items[key]; ok {
		heap.Remove(&s.queue, item.index)
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
	for {
		var none K
		if ctx.Err() != nil {
			return none, false
		}
		key, wait, ok := s.pop()
		if ok {
			return key, true
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

// pop takes the first key out if it is due, else says how long to wait.
func (s *schedule[K]) pop() (key K, wait time.Duration, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		return key, time.Hour, false
	}
	first := s.queue[0]
	if wait = time.Until(first.at); wait > 0 {
		return key, wait, false
	}
	heap.Pop(&s.queue)
	delete(s.items, first.key)
	if len(s.queue) > 0 {
		s.signal() // another worker may take the next one
	}
	return first.key, 0, true
}

func (s *schedule[K]) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// dueQueue implements heap.Interface; the earliest stands first.
type dueQueue[K comparable] []*dueItem[K]

func (q dueQueue[K]) Len() int           { return len(q) }
func (q dueQueue[K]) Less(i, j int) bool { return q[i].at.Before(q[j].at) }

func (q dueQueue[K]) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

func (q *dueQueue[K]) Push(x any) {
	item := x.(*dueItem[K])
	item.index = len(*q)
	*q = append(*q, item)
}

func (q *dueQueue[K]) Pop() any {
	old := *q
	item := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return item
}
