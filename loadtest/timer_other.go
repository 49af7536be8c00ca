//go:build !linux

package loadtest

import (
	"sync"
	"time"
)

// A timer waits as exactly as Go's timers do here. One goroutine may wait; any may stop it.
type timer struct {
	stopped chan struct{}
	once    sync.Once
}

// timerDescriptors is how many descriptors a timer has.
const timerDescriptors = 0

func newTimer() (*timer, error) { return &timer{stopped: make(chan struct{})}, nil }

// wait returns after ns nanoseconds, or earlier with false if it was stopped.
func (t *timer) wait(ns int64) bool {
	timer := time.NewTimer(time.Duration(ns))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-t.stopped:
		return false
	}
}

// stop ends a wait, and the timer.
func (t *timer) stop() { t.once.Do(func() { close(t.stopped) }) }
