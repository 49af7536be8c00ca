package iplist

import (
	"context"
	"slices"
	"sync"
)

// slots bound how many requests for lists run at a time. An owner has half of them at most, and a slot that comes free is for that
// owner of whom the fewest run: whoever names lists of servers that hang waits for his own.
type slots struct {
	all int

	mu      sync.Mutex
	busy    int
	owners  map[string]int // busy ones of each owner that has any
	waiting []*turn        // who waits longest is first
}

// A turn is waited for.
type turn struct {
	owner string
	come  chan struct{}
}

func newSlots(all int) *slots { return &slots{all: all, owners: map[string]int{}} }

// take waits for a slot of an owner until ctx ends; false: there was none.
func (s *slots) take(ctx context.Context, owner string) bool {
	s.mu.Lock()
	if s.room(owner) {
		s.start(owner)
		s.mu.Unlock()
		return true
	}
	mine := &turn{owner, make(chan struct{})}
	s.waiting = append(s.waiting, mine)
	s.mu.Unlock()
	select {
	case <-mine.come:
		return true
	case <-ctx.Done():
	}
	s.mu.Lock()
	i := slices.Index(s.waiting, mine)
	if i >= 0 {
		s.waiting = slices.Delete(s.waiting, i, i+1)
	}
	s.mu.Unlock()
	if i < 0 { // it came with the end
		s.leave(owner)
	}
	return false
}

// takeOne takes a slot for one of the lists, for the sake of an owner who names it, if any has room; at < 0: none has. Lists.mu is held.
func (s *slots) takeOne(lists []*list) (at int, owner string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at = -1; s.busy >= s.all {
		return at, ""
	}
	for i, one := range lists {
		for r := range one.rules {
			if s.room(r.owner) && (at < 0 || s.owners[r.owner] < s.owners[owner]) {
				at, owner = i, r.owner
			}
			if at >= 0 && s.owners[owner] == 0 {
				s.start(owner)
				return at, owner
			}
		}
	}
	if at >= 0 {
		s.start(owner)
	}
	return at, owner
}

// leave gives a slot back, to who waits for one.
func (s *slots) leave(owner string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy--
	if s.owners[owner]--; s.owners[owner] == 0 {
		delete(s.owners, owner)
	}
	next := -1
	for i, w := range s.waiting {
		if s.room(w.owner) && (next < 0 || s.owners[w.owner] < s.owners[s.waiting[next].owner]) {
			next = i
		}
	}
	if next < 0 {
		return
	}
	w := s.waiting[next]
	s.waiting = slices.Delete(s.waiting, next, next+1)
	s.start(w.owner)
	close(w.come)
}

// room reports whether an owner may have a slot, with mu held.
func (s *slots) room(owner string) bool { return s.busy < s.all && s.owners[owner] < s.all/2 }

func (s *slots) start(owner string) {
	s.busy++
	s.owners[owner]++
}
