package cache

import "time"

// maxHeld is how long slower readers of one body may hold up others, all of them together.
const maxHeld = 2 * time.Second

// held is how long readers of a body that is not kept have waited for slower ones. It is one time for all, so that many slow
// ones, one behind the other, hold nobody for longer than one does.
type held struct {
	readers int // that wait now
	since   time.Time
	before  time.Duration
	timer   *time.Timer
}

func (h *held) time() time.Duration {
	if h.readers == 0 {
		return h.before
	}
	return h.before + time.Since(h.since)
}

// hold waits for readers that are behind, of whom there are some. When their time is over, those who are most are cut: one of
// them may be an attacker who takes nothing. Whoever is cut can ask again, and gets a body of his own.
func (f *Fill) hold() {
	h := &f.held
	left := maxHeld - h.time()
	if left <= 0 {
		f.cutSlow()
		return
	}
	if h.readers == 0 {
		h.since = time.Now()
		h.timer = time.AfterFunc(left, f.wake)
	}
	h.readers++
	f.moved.Wait()
	if h.readers == 1 {
		h.timer.Stop()
		h.before = h.time()
	}
	h.readers--
}

// wake has all who wait look again.
func (f *Fill) wake() {
	f.mu.Lock()
	f.moved.Broadcast()
	f.mu.Unlock()
}

// cutSlow ends the reading of those who have not had the oldest piece.
func (f *Fill) cutSlow() {
	end := f.base + int64(len(f.pieces[0]))
	for _, r := range f.readers {
		if r.at < end && !r.left {
			r.left, r.slow = true, true
		}
	}
	f.forget()
}
