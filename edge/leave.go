package edge

import (
	"context"
	"sync"
	"time"
)

// leaveInterval is how often it is looked whether the client of a request that
// takes long is still there.
const leaveInterval = 5 * time.Second

// A leaveWatch ends a round trip whose client has left: nobody would notice while
// the backend is silent, and both connections would stay until it speaks.
type leaveWatch struct {
	mu    sync.Mutex
	timer *time.Timer
	over  bool
}

// watchClient looks at the client's connection from time to time until stop, and
// calls cancel once it has been closed. A client that has closed its half while it
// waits for the answer is taken for one that has left, as nginx does. A close behind
// an upload that nobody takes is not seen, since the kernel has not come to it yet;
// there the round trip's own time limits act.
func (s *Server) watchClient(r *request, cancel context.CancelFunc) *leaveWatch {
	conn, ok := r.conn.(interface{ Left() bool })
	if !ok || r.Upgrade != "" {
		return &leaveWatch{}
	}
	w := &leaveWatch{}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer = time.AfterFunc(leaveInterval, func() {
		left := conn.Left()
		w.mu.Lock()
		defer w.mu.Unlock()
		switch {
		case w.over:
		case left:
			cancel()
		default:
			w.timer.Reset(leaveInterval)
		}
	})
	return w
}

// stop ends the watch.
func (w *leaveWatch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	if w.timer != nil {
		w.timer.Stop()
	}
}
