package logpipe

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// gate is a writer that takes nothing until it is opened, as a pipe that nobody reads.
type gate struct {
	open chan struct{}
	mu   sync.Mutex
	buf  bytes.Buffer
}

func (g *gate) Write(p []byte) (int, error) {
	<-g.open
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.buf.Write(p)
}

func put(p *Pipe, line string) error { _, err := io.WriteString(p, line+"\n"); return err }

func TestStuckWriterLosesLinesAndBlocksNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{open: make(chan struct{})}
		var failed []error
		var resumed []int64
		p := New(g, Options{
			Size: 100, Failed: func(err error) { failed = append(failed, err) },
			Resumed: func(n int64) { resumed = append(resumed, n) },
		})
		if err := put(p, "first"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // the writer is stuck with it
		good := 0
		for i := range 100 {
			switch err := put(p, fmt.Sprintf("line %03d.", i)); { // 10 bytes
			case err == nil:
				good++
			case !errors.Is(err, ErrFull):
				t.Fatal(err)
			}
		}
		if good != 10 || p.Lost() != 90 {
			t.Errorf("%d lines of 10 bytes fit into 100, %d were lost", good, p.Lost())
		}
		close(g.open)
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		if got := strings.Count(g.buf.String(), "\n"); got != 11 {
			t.Errorf("%d lines were written, want 11:\n%s", got, g.buf.String())
		}
		if len(failed) != 1 || !errors.Is(failed[0], ErrFull) || len(resumed) != 1 || resumed[0] != 90 {
			t.Errorf("told of %v and %v, want one ErrFull and 90", failed, resumed)
		}
	})
}

func TestCloseWaitsAMomentForAStuckWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{open: make(chan struct{})}
		p := New(g, Options{})
		_ = put(p, "taken")
		synctest.Wait()
		_ = put(p, "held")
		begin := time.Now()
		if err := p.Close(); !errors.Is(err, ErrFull) {
			t.Errorf("error %v", err)
		}
		if took := time.Since(begin); took != closeTime {
			t.Errorf("took %v, want %v", took, closeTime)
		}
		if err := put(p, "late"); !errors.Is(err, ErrClosed) || p.Lost() != 2 {
			t.Errorf("error %v, %d lines lost, want 2", err, p.Lost())
		}
		close(g.open)
	})
}

// disk is a writer that is full after so many bytes.
type disk struct {
	room int
	buf  bytes.Buffer
}

var errNoSpace = errors.New("no space left on device")

func (d *disk) Write(p []byte) (int, error) {
	n := min(len(p), d.room)
	d.room -= n
	d.buf.Write(p[:n])
	if n < len(p) {
		return n, errNoSpace
	}
	return n, nil
}

// A line that was cut by a full disk is ended before the next one, and only what
// was not written whole is counted.
func TestFullDiskTearsNoLaterLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{room: 13}
		p := New(d, Options{Hold: time.Millisecond})
		for _, line := range []string{"one", "two", "three", "four"} { // 4 + 4 + 5 of 6 bytes
			_ = put(p, line)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if p.Lost() != 2 {
			t.Errorf("%d lines were lost, want 2", p.Lost())
		}
		d.room = 1000
		_ = put(p, "five")
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		if got := d.buf.String(); got != "one\ntwo\nthree\nfive\n" {
			t.Errorf("the disk has %q", got)
		}
	})
}

func TestLinesLeaveTogetherAfterHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &writes{}
		p := New(w, Options{Hold: 200 * time.Millisecond})
		for range 5 {
			_ = put(p, "line")
		}
		time.Sleep(199 * time.Millisecond)
		synctest.Wait()
		if got := w.sizes(); len(got) != 0 {
			t.Errorf("written before its time: %v", got)
		}
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		if got := w.sizes(); len(got) != 1 || got[0] != 25 {
			t.Errorf("writes of %v bytes, want one of 25", got)
		}
		_ = put(p, strings.Repeat("x", urge)) // does not wait
		synctest.Wait()
		if got := w.sizes(); len(got) != 2 {
			t.Errorf("writes of %v bytes, want a second one at once", got)
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

type writes struct {
	mu  sync.Mutex
	all []int
}

func (w *writes) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, len(p))
	return len(p), nil
}

func (w *writes) sizes() []int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.all)
}

func TestEveryLineOfManyWritersComesOutWholeAndInItsOwnOrder(t *testing.T) {
	var out bytes.Buffer // only the pipe's goroutine writes to it
	p := New(&out, Options{Size: 16 << 20})
	const writers, lines = 8, 2000
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range lines {
				if err := put(p, fmt.Sprintf("%d %d", w, i)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	var next [writers]int
	for line := range strings.Lines(out.String()) {
		var w, i int
		if _, err := fmt.Sscanf(line, "%d %d\n", &w, &i); err != nil || next[w] != i {
			t.Fatalf("line %q, want number %d of its writer", line, next[w])
		}
		next[w]++
	}
	for w, n := range next {
		if n != lines {
			t.Errorf("writer %d: %d lines of %d", w, n, lines)
		}
	}
}
