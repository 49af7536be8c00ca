package loadtest

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// A timer waits exactly: Go's own timers wait for whole milliseconds when the process
// is idle, which would be in each latency of an open load. One goroutine may wait;
// any may stop it.
type timer struct {
	file *os.File
	raw  syscall.RawConn
	set  unix.ItimerSpec
	err  error
	asks int
	turn func(fd uintptr) bool
}

// timerDescriptors is how many descriptors a timer has.
const timerDescriptors = 1

func newTimer() (*timer, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a timer: %w", err)
	}
	t := &timer{file: os.NewFile(uintptr(fd), "timer")}
	if t.raw, err = t.file.SyscallConn(); err != nil {
		t.file.Close()
		return nil, fmt.Errorf("make a timer: %w", err)
	}
	t.turn = t.ask
	return t, nil
}

// wait returns after ns nanoseconds, or earlier with false if it was stopped.
func (t *timer) wait(ns int64) bool {
	t.set.Value = unix.NsecToTimespec(ns)
	t.asks, t.err = 0, nil
	return t.raw.Read(t.turn) == nil && t.err == nil
}

// ask is called by the poller: at first it sets the timer and says that it has to
// wait; called again, the time may have come.
func (t *timer) ask(fd uintptr) bool {
	if t.asks++; t.asks == 1 {
		t.err = unix.TimerfdSettime(int(fd), 0, &t.set, nil)
		return t.err != nil
	}
	var count [8]byte
	_, err := unix.Read(int(fd), count[:])
	return err != unix.EAGAIN
}

// stop ends a wait, and the timer.
func (t *timer) stop() { t.file.Close() }
