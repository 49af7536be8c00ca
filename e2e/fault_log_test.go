package e2e

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
)

// unread is a pipe whose reader does not read.
func unread(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

// logged starts a node with one site whose stdout or stderr is what adjust says.
func logged(t *testing.T, settings, backend string, adjust func(*exec.Cmd)) (*node, *visitor) {
	t.Helper()
	n := prepare(t, settings, map[string]string{"site.yaml": vhost("www.shop.test", backend, quick)})
	n.adjust = adjust
	n.start()
	v := &visitor{address: n.http, host: "www.shop.test", limit: 20 * time.Second}
	t.Cleanup(v.close)
	return n, v
}

// flood makes count requests whose access lines are about 6 KiB each, and wants
// every one answered.
func flood(t *testing.T, v *visitor, count, status int) times {
	t.Helper()
	target := "/?q=" + strings.Repeat("x", 6<<10)
	took := make(times, 0, count)
	for i := range count {
		got, d, err := v.get(target)
		if err != nil || got != status {
			t.Fatalf("request %d: %d, %v after %v; want %d", i, got, err, d, status)
		}
		took = append(took, d)
	}
	return took
}

const lostLines = "gatehouse_access_log_lost_lines_total"

// The reader of the access log stalls: requests go on as before, lines that find
// no room are lost and counted, and when it reads again, whole lines come again.
func TestFaultLogPipeIsFull(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	r, w := unread(t)
	n, v := logged(t, "", b.URL, func(cmd *exec.Cmd) { cmd.Stdout = w })
	const count = 2000 // 12 MB of lines: more than the pipe and the memory for lines
	before := flood(t, v, 5, 200)
	during := flood(t, v, count, 200)
	wantUnmoved(t, before, during)
	lost := n.number(lostLines)
	t.Logf("%v of %d lines were lost", lost, count+5)
	if lost == 0 || lost > count {
		t.Errorf("%v lines were lost, want some of %d", lost, count)
	}
	if !strings.Contains(n.stderr.String(), "access log cannot be written") {
		t.Error("the log does not say that lines are lost")
	}

	w.Close() // the node has its own
	var mu sync.Mutex
	read, last := 0, ""
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		lines := bufio.NewScanner(r)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var line struct{ Target string }
			if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
				t.Errorf("a torn line: %v: %.200q", err, lines.Text())
			}
			mu.Lock()
			read, last = read+1, line.Target
			mu.Unlock()
		}
	}()
	edgetest.WaitFor(t, "a new line to come through", func() bool {
		wantOK(t, v, "/again")
		mu.Lock()
		defer mu.Unlock()
		return last == "/again"
	})
	if got := n.number(lostLines); got != lost {
		t.Errorf("%v lines are lost in all, %v were before the pipe was read again", got, lost)
	}
	n.stop()
	<-ended
	if total := read + int(lost); total < count+5 {
		t.Errorf("%d lines were read and %v lost of more than %d", read, lost, count+5)
	}
}

// A node whose log nobody reads ends all the same when it is told to.
func TestFaultLogPipeIsFullAtTheEnd(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	_, w := unread(t)
	n, v := logged(t, "", b.URL, func(cmd *exec.Cmd) { cmd.Stdout, cmd.Stderr = w, w })
	flood(t, v, 100, 200)
	v.close()
	begin := time.Now()
	n.signal(syscall.SIGTERM)
	select {
	case <-n.ended:
	case <-time.After(10*time.Second + slack): // draining, and two seconds for each log
		t.Fatal("the node does not end while its log is stuck")
	}
	t.Logf("ended %v after SIGTERM", time.Since(begin).Round(100*time.Millisecond))
}

// stderr is full, and a tenant's documents have more to say there than there is room for: requests go on.
func TestFaultLogOfErrorsIsFull(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	_, w := unread(t)
	n, v := logged(t, "", b.URL, func(cmd *exec.Cmd) { cmd.Stderr = w })
	for file := range 60 {
		var text strings.Builder
		text.WriteString("vhosts:\n")
		for i := range 100 {
			fmt.Fprintf(&text, "  b%d-%d.test: {backends: [http://127.0.0.1:9], waf: {mode: %s}}\n", file, i, strings.Repeat("x", 150))
		}
		n.write(fmt.Sprintf("conf.d/bad%d.yaml", file), text.String())
	}
	edgetest.WaitFor(t, "lost lines to be counted", func() bool {
		status, took, err := v.get("/")
		if status != 200 || err != nil || took > 5*time.Second {
			t.Fatalf("%d, %v after %v", status, err, took)
		}
		return n.number("gatehouse_log_lost_lines_total") > 0
	})
}

// The reader of both logs goes away: the node stays.
func TestFaultLogReaderLeaves(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	r, w := unread(t)
	n, v := logged(t, "", b.URL, func(cmd *exec.Cmd) { cmd.Stdout, cmd.Stderr = w, w })
	w.Close()
	r.Close()
	flood(t, v, 200, 200)
	edgetest.WaitFor(t, "lost lines to be counted", func() bool { return n.number(lostLines) > 0 })
	flood(t, v, 200, 200)
	n.alive()
}

// The disk is full: /dev/full says so at every write, a small file system after
// some lines, which stay whole.
func TestFaultLogDiskIsFull(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	t.Run("at once", func(t *testing.T) {
		n, v := logged(t, "", b.URL, func(cmd *exec.Cmd) { cmd.Env = append(os.Environ(), "GATEHOUSE_LOG_ACCESS_TO=/dev/full") })
		flood(t, v, 100, 200)
		edgetest.WaitFor(t, "all lines to be counted as lost", func() bool { return n.number(lostLines) == 100 })
		if got := strings.Count(n.stderr.String(), "access log cannot be written"); got != 1 {
			t.Errorf("the log says %d times that lines are lost, want once", got)
		}
	})
	t.Run("after some lines", func(t *testing.T) {
		dir := t.TempDir()
		if !smallDisk(t, dir, "64k") {
			return
		}
		file := filepath.Join(dir, "access.log")
		n, v := logged(t, "", b.URL, func(cmd *exec.Cmd) { cmd.Env = append(os.Environ(), "GATEHOUSE_LOG_ACCESS_TO="+file) })
		t.Cleanup(n.kill) // before the unmount
		const count = 100
		flood(t, v, count, 200)
		kept := func() int {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			return strings.Count(string(text), "\n")
		}
		edgetest.WaitFor(t, "every line to be kept or counted as lost", func() bool {
			return kept()+int(n.number(lostLines)) == count && n.number(lostLines) > 0
		})
		t.Logf("%d lines kept, %v lost", kept(), n.number(lostLines))
		if err := os.Truncate(file, 0); err != nil { // room again
			t.Fatal(err)
		}
		wantOK(t, v, "/again")
		edgetest.WaitFor(t, "the line to be written", func() bool {
			text, err := os.ReadFile(file)
			return err == nil && strings.Contains(string(text), `"/again"`)
		})
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(strings.TrimLeft(string(text), "\n")) {
			if !json.Valid([]byte(line)) {
				t.Errorf("a torn line: %.200q", line)
			}
		}
	})
}

// smallDisk mounts a file system of a size at dir, for the test. Only root can: else
// it says no, and a full disk is played by /dev/full alone.
func smallDisk(t *testing.T, dir, size string) bool {
	t.Helper()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Logf("no tmpfs can be mounted: %v", err)
		return false
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return true
}

// The disk of the data folder is full: changes act all the same, no request fails,
// and what was saved before is still whole.
func TestFaultDataDiskIsFull(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	n := prepare(t, "", map[string]string{"site.yaml": vhost("www.shop.test", b.URL, quick)})
	data := filepath.Join(n.dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if !smallDisk(t, data, "1m") {
		return
	}
	n.start()
	t.Cleanup(n.kill) // before the unmount
	saved := filepath.Join(data, "routes.last-good")
	edgetest.WaitFor(t, "the last good routes to be saved", func() bool {
		text, err := os.ReadFile(saved)
		return err == nil && strings.Contains(string(text), "www.shop.test")
	})
	if err := os.WriteFile(filepath.Join(data, "filler"), make([]byte, 2<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the disk is not full: %v", err)
	}
	var many strings.Builder // more than may fit into what is left of a page
	many.WriteString("vhosts:\n")
	for i := range 200 {
		fmt.Fprintf(&many, "  s%d.test: {backends: [%q], waf: {mode: off}}\n", i, b.URL)
	}
	n.write("conf.d/many.yaml", many.String())
	n.within("s199.test", 200)
	v := &visitor{address: n.http, host: "www.shop.test", limit: 20 * time.Second}
	defer v.close()
	for range 50 {
		wantOK(t, v, "/")
	}
	edgetest.WaitFor(t, "the log to say that nothing can be saved", func() bool { return strings.Contains(n.stderr.String(), "no space left") })
	text, err := os.ReadFile(saved)
	if err != nil || !strings.Contains(string(text), "www.shop.test") || strings.Contains(string(text), "s199.test") {
		t.Errorf("what was saved before is not there as it was: %v, %d bytes", err, len(text))
	}
	n.kill()
	n.start() // from what is there
	wantOK(t, &visitor{address: n.http, host: "www.shop.test", limit: 20 * time.Second}, "/")
}
