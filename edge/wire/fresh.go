package wire

import (
	"container/list"
	"sync"
	"time"
)

// freshTime is how long a connection may stay without a request although there
// is no room for others.
const freshTime = time.Second

// A fresh list holds the connections that have not brought a whole request yet,
// the oldest first. Whoever fills a node with silence, half handshakes and slow
// heads stands here, and makes room when there is none. It is safe for
// concurrent use.
type fresh struct {
	mu    sync.Mutex
	conns list.List // of *socket
}

func (f *fresh) add(s *socket) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s.since = time.Now()
	s.place = f.conns.PushBack(s)
}

// remove is called when the first request is whole, and at the end.
func (f *fresh) remove(s *socket) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s.place != nil {
		f.conns.Remove(s.place)
		s.place = nil
	}
}

// oldest takes out the connection that has to go first; nil if there is none that
// has had its time, and then how long that takes.
func (f *fresh) oldest() (s *socket, in time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	first := f.conns.Front()
	if first == nil {
		return nil, freshTime
	}
	s = first.Value.(*socket)
	if age := time.Since(s.since); age < freshTime {
		return nil, freshTime - age
	}
	f.conns.Remove(first)
	s.place = nil
	return s, 0
}
