package health

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
)

// leavings are the files of processes that have left.
func leavings(t *testing.T, file string) []string {
	t.Helper()
	found, err := filepath.Glob(file + leavingMark + "*")
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// Where nothing is shared, a process that has taken over knows what is under way in the one before, until that has ended; and that one sends
// nothing to what is drained meanwhile.
func TestAProcessThatIsLeftCountsUntilItEnds(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "backends.json")
	d := Drain{URL: "http://a"}
	var under atomic.Int64
	under.Store(2)
	before := open(t, Options{File: file, Node: "n", InFlight: func(Drain) int64 { return under.Load() }})
	l, err := before.Leave()
	if err != nil {
		t.Fatal(err)
	}
	after := open(t, Options{File: file, Node: "n"})
	if err := after.Set(t.Context(), d, true); err != nil {
		t.Fatal(err)
	}
	count := func() (int64, []string) {
		t.Helper()
		s, err := after.Standing(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return s.InFlight(&d)["n"], s.Behind
	}
	if _, behind := count(); len(behind) != 1 {
		t.Error("the process before is not said to act by another state")
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- l.Run(ctx) }()
	within, done := context.WithTimeout(t.Context(), time.Minute)
	defer done()
	if behind, err := after.Await(within); err != nil || len(behind) > 0 {
		t.Errorf("behind %v, %v", behind, err)
	}
	if n, _ := count(); n != 2 {
		t.Errorf("%d under way, want 2", n)
	}
	under.Store(1)
	edgetest.WaitFor(t, "one to have ended", func() bool { n, _ := count(); return n == 1 })
	cancel()
	<-ended
	if last := before.applied[len(before.applied)-1]; len(last) != 1 {
		t.Errorf("the process before acts by %v", last)
	}
	if n, behind := count(); n != 0 || len(behind) != 0 || len(leavings(t, file)) != 0 {
		t.Errorf("after its end %d are under way, behind are %v, files %v", n, behind, leavings(t, file))
	}
}

// A process that was killed has nothing under way.
func TestAProcessThatWasKilledDoesNotCount(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "backends.json")
	before := open(t, Options{File: file, Node: "n", InFlight: func(Drain) int64 { return 2 }})
	d := Drain{URL: "http://a"}
	if err := before.Set(t.Context(), d, true); err != nil {
		t.Fatal(err)
	}
	l, err := before.Leave()
	if err != nil {
		t.Fatal(err)
	}
	after := open(t, Options{File: file, Node: "n"})
	for _, want := range []int64{2, 0} {
		s, err := after.Standing(t.Context())
		if got := s.InFlight(&d)["n"]; got != want || err != nil {
			t.Errorf("%d under way, %v, want %d", got, err, want)
		}
		_ = l.locked.Close() // as the system does
	}
	if found := leavings(t, file); len(found) != 0 {
		t.Errorf("it has left %v", found)
	}
}

// What a process says is never taken for that of one that has ended, whenever it is read.
func TestWhatAProcessSaysIsThereAtAllTimes(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "backends.json")
	before := open(t, Options{File: file, Node: "n"})
	l, err := before.Leave()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	over := make(chan struct{})
	go func() {
		defer close(over)
		for range 500 {
			if err := l.write(); err != nil {
				t.Error(err)
			}
		}
	}()
	for reads := 0; ; reads++ {
		left, err := readLeavings(file)
		if err != nil || len(left) != 1 {
			t.Errorf("after %d reads: %v, %v", reads, left, err)
			break
		}
		select {
		case <-over:
			return
		default:
		}
	}
	<-over
}

// A process that follows what another drains does not write: it might undo what is drained at the same time.
func TestReloadLeavesTheFileAlone(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "backends.json")
	n := open(t, Options{File: file})
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	compact := strings.Replace(strings.Join(strings.Fields(string(data)), ""), "[]", `[{"url":"http://a"}]`, 1)
	if err := os.WriteFile(file, []byte(compact), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := n.Reload(); err != nil || len(n.Drains()) != 1 {
		t.Errorf("drained %v, %v", n.Drains(), err)
	}
	if now, err := os.ReadFile(file); err != nil || string(now) != compact {
		t.Errorf("%v\n%s", err, now)
	}
}
