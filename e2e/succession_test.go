package e2e

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"gatehouse/admin"
	"gatehouse/internal/edgetest"
)

// A succession is a node and the processes that took over from it. The kernel
// makes them this process' children when the one that started them ends.
type succession struct {
	*node
	pid int // that serves
}

// succeed begins the succession of a node that runs.
func succeed(n *node) *succession {
	n.t.Helper()
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { killAllIn(n.dir) })
	return &succession{node: n, pid: n.cmd.Process.Pid}
}

// killAllIn ends the processes whose working folder is a node's own.
func killAllIn(dir string) {
	folders, _ := filepath.Glob("/proc/[0-9]*/cwd") // the pattern is good
	for _, folder := range folders {
		if at, err := os.Readlink(folder); err != nil || at != dir {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(folder))); err == nil {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
		}
	}
}

// upgrade runs the verb, which has to succeed.
func (s *succession) upgrade() admin.Upgraded {
	s.t.Helper()
	out := s.must("upgrade", "-o", "json")
	var done admin.Upgraded
	if err := json.Unmarshal([]byte(out), &done); err != nil {
		s.t.Fatalf("%v: %s", err, out)
	}
	if done.OldPID != s.pid || done.NewPID == s.pid || done.NewPID <= 1 || done.OldVersion == "" || done.NewVersion == "" || done.Seconds <= 0 {
		s.t.Errorf("process %d: %+v", s.pid, done)
	}
	s.pid = done.NewPID
	return done
}

// gone waits for the end of a process, which must be a clean one.
func (s *succession) gone(pid int) {
	s.t.Helper()
	edgetest.WaitFor(s.t, "process "+strconv.Itoa(pid)+" to end", func() bool { return s.isGone(pid) })
}

func (s *succession) isGone(pid int) bool {
	s.t.Helper()
	if pid == s.cmd.Process.Pid { // reaped by the kit, which looks at its status at the end
		return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
	}
	var status syscall.WaitStatus
	got, err := syscall.Wait4(pid, &status, syscall.WNOHANG, nil)
	switch {
	case got == pid:
		if !status.Exited() || status.ExitStatus() != 0 {
			s.t.Errorf("process %d ended with %#x, want exit status 0", pid, uint32(status))
		}
		return true
	case errors.Is(err, syscall.ECHILD): // the child of one that still drains, or reaped by that
		return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
	}
	return false
}

// finish ends the process that serves, and sees that the first one ended well.
func (s *succession) finish() {
	s.t.Helper()
	if err := syscall.Kill(s.pid, syscall.SIGTERM); err != nil {
		s.t.Errorf("process %d, which should serve: %v", s.pid, err)
	}
	s.gone(s.pid)
	s.wait()
	if s.err != nil {
		s.t.Errorf("the first process: %v", s.err)
	}
	if _, err := os.Stat(s.dir + "/data/gatehouse.sock"); !errors.Is(err, os.ErrNotExist) {
		s.t.Errorf("the socket of the private API is left behind: %v", err)
	}
}

// rounds is how often a fault is repeated: a variable's value, else by the form.
func rounds(t *testing.T, variable string, short, long int) int {
	t.Helper()
	if v := os.Getenv(variable); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 {
			t.Fatalf("%s=%q: want a number of rounds, at least 1", variable, v)
		}
		return n
	}
	if full() {
		return long
	}
	return short
}

// has reports whether a text holds all of some parts.
func has(text string, parts ...string) bool {
	for _, p := range parts {
		if !strings.Contains(text, p) {
			return false
		}
	}
	return true
}
