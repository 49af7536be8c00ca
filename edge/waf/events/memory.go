package events

import (
	"container/heap"
	"time"
)

// A memory holds the newest events of all owners in bounded room. Who holds most
// makes room for everybody: an owner under attack pushes its own events out, and
// nobody else's. It is not safe for concurrent use.
type memory struct {
	mostBytes int64
	most      int

	bytes   int64
	count   int
	shelves map[string]*shelf
	heaped  shelfHeap
}

// A shelf has the events of one owner, oldest first.
type shelf struct {
	owner  string
	events []*Event
	bytes  int64
	floor  time.Time // the newest that was dropped; zero: none was
	index  int       // in the heap
	gate   gate
}

func newMemory(bytes int64, most int) *memory {
	return &memory{mostBytes: bytes, most: most, shelves: map[string]*shelf{}}
}

// shelf returns the owner's, which is made if there is none: with its share of the files whole.
func (m *memory) shelf(owner string, share float64, now time.Time) *shelf {
	s := m.shelves[owner]
	if s == nil {
		s = &shelf{owner: owner, gate: gate{room: share, at: now.UnixNano()}}
		m.shelves[owner] = s
		heap.Push(&m.heaped, s)
	}
	return s
}

func (m *memory) add(s *shelf, e *Event) {
	weight := e.weight()
	s.events = append(s.events, e)
	s.bytes += weight
	m.bytes += weight
	m.count++
	heap.Fix(&m.heaped, s.index)
	for m.bytes > m.mostBytes || m.count > m.most {
		m.drop(m.heaped[0])
	}
}

// drop gives up the shelf's oldest event.
func (m *memory) drop(s *shelf) {
	oldest := s.events[0]
	s.events[0] = nil
	s.events = s.events[1:]
	weight := oldest.weight()
	s.bytes -= weight
	m.bytes -= weight
	m.count--
	if oldest.Time.After(s.floor) {
		s.floor = oldest.Time
	}
	heap.Fix(&m.heaped, s.index)
}

// sweep gives up what is older than until, and shelves of which nothing is left to know:
// they hold nothing, what they dropped is too old, and their owner's share of the files
// is whole again.
func (m *memory) sweep(until, now time.Time) {
	for owner, s := range m.shelves {
		for len(s.events) > 0 && s.events[0].Time.Before(until) {
			m.drop(s)
		}
		if len(s.events) == 0 && s.floor.Before(until) && now.UnixNano()-s.gate.at > int64(24*time.Hour) {
			heap.Remove(&m.heaped, s.index)
			delete(m.shelves, owner)
		}
	}
}

// A shelfHeap has the shelf that holds most bytes first; of equal ones, whichever.
type shelfHeap []*shelf

func (h shelfHeap) Len() int           { return len(h) }
func (h shelfHeap) Less(i, j int) bool { return h[i].bytes > h[j].bytes }

func (h shelfHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push implements heap.Interface.
func (h *shelfHeap) Push(v any) {
	s := v.(*shelf)
	s.index = len(*h)
	*h = append(*h, s)
}

// Pop implements heap.Interface.
func (h *shelfHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return last
}
