package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// upgradeWait is how long a new process may take until it serves.
const upgradeWait = time.Minute

// ownBinary is the path of this program, as it was when the process began: what
// stands there at an upgrade is the new binary. A path that leads over a link is
// kept, so that the link may be turned to another version.
var ownBinary = findBinary()

func findBinary() string {
	self, err := os.Executable()
	if err != nil {
		return ""
	}
	path, err := exec.LookPath(os.Args[0])
	if err != nil {
		return self
	}
	if path, err = filepath.Abs(path); err != nil {
		return self
	}
	called, calledErr := os.Stat(path)
	running, runningErr := os.Stat(self)
	if calledErr != nil || runningErr != nil || !os.SameFile(called, running) {
		return self
	}
	return path
}

// A successor is a new process that is to take the sockets over.
type successor struct {
	binary  string
	args    []string // without the program's name
	offer   offer
	sockets []syscall.Conn // as in the offer
	wait    time.Duration
	stderr  io.Writer // gets what the process writes until it serves
}

// A heir is a successor that serves.
type heir struct {
	readyMessage
	process *os.Process
	lease   *os.File // Close it when this process has stopped working in the data folder
	cache   *os.File // takes the cache's snapshot
}

// start starts the process and returns once it serves. If it does not, it is gone,
// and the error has its own words. Ending ctx ends it too.
func (s *successor) start(ctx context.Context) (*heir, error) {
	sockets, err := s.duplicate()
	defer func() { closeFiles(sockets) }()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(s.offer)
	if err != nil {
		return nil, err
	}
	pipes, err := newPipes()
	if err != nil {
		return nil, err
	}
	defer pipes.close()

	cmd := exec.Command(s.binary, s.args...)
	cmd.Env = append(os.Environ(), handoverVar+"="+string(text))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, pipes.stderr[1]
	cmd.ExtraFiles = append(sockets, pipes.ready[1], pipes.lease[0], os.Stderr)
	if s.offer.Cache {
		cmd.ExtraFiles = append(cmd.ExtraFiles, pipes.cache[0])
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("the new process could not be started: %w", err)
	}
	pipes.closeChilds()
	words := &tail{to: s.stderr}
	copied := make(chan struct{})
	source := pipes.stderr[0]
	pipes.stderr[0] = nil // the copier's
	go func() {
		defer close(copied)
		defer source.Close()
		_, _ = io.Copy(words, source) // ends with the process, or when it has taken its own
	}()

	message, err := s.awaitReady(ctx, pipes.ready[0])
	if err == nil {
		h := &heir{readyMessage: message, process: cmd.Process, lease: pipes.lease[1], cache: pipes.cache[1]}
		pipes.lease[1], pipes.cache[1] = nil, nil
		go func() { _ = cmd.Wait() }() // if it ends before we do, nobody else asks for its status
		return h, nil
	}
	_ = cmd.Process.Kill() // fails only if it has ended
	ended := cmd.Wait()
	select { // a grandchild may hold the pipe
	case <-copied:
	case <-time.After(time.Second):
	}
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("the new process ended before it served (%w)", ended)
	}
	if said := words.text(); said != "" {
		err = fmt.Errorf("%w: %s", err, said)
	}
	return nil, err
}

func (s *successor) awaitReady(ctx context.Context, ready *os.File) (m readyMessage, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.wait)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = ready.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	err = json.NewDecoder(io.LimitReader(ready, 1<<16)).Decode(&m)
	switch {
	case err == nil || errors.Is(err, io.EOF):
		return m, err
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return m, fmt.Errorf("the new process did not serve within %v and was ended", s.wait)
	case ctx.Err() != nil:
		return m, errors.New("this process is to stop, so the new one was ended")
	}
	return m, fmt.Errorf("the new process is not understood: %w", err)
}

// duplicate makes files of the sockets. Not with (*net.TCPListener).File: handing
// on such a file makes the socket block, for this process too, and then a Close
// does not end an Accept any more.
func (s *successor) duplicate() ([]*os.File, error) {
	var out []*os.File
	for i, socket := range s.sockets {
		raw, err := socket.SyscallConn()
		if err != nil {
			return out, fmt.Errorf("duplicate a listening socket: %w", err)
		}
		var fd int
		var dupErr error
		err = raw.Control(func(own uintptr) { fd, dupErr = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0) })
		if err = errors.Join(err, dupErr); err != nil {
			return out, fmt.Errorf("duplicate a listening socket: %w", err)
		}
		out = append(out, os.NewFile(uintptr(fd), s.offer.Sockets[i].Name))
	}
	return out, nil
}

// pipes are read from [0] and written to [1]; nil: closed or given away.
type pipes struct{ ready, lease, stderr, cache [2]*os.File }

func newPipes() (*pipes, error) {
	p := &pipes{}
	for _, pair := range []*[2]*os.File{&p.ready, &p.lease, &p.stderr, &p.cache} {
		var err error
		if pair[0], pair[1], err = os.Pipe(); err != nil {
			p.close()
			return nil, fmt.Errorf("pipe to the new process: %w", err)
		}
	}
	return p, nil
}

// closeChilds closes our copies of the ends that the child has.
func (p *pipes) closeChilds() {
	closeFiles([]*os.File{p.ready[1], p.lease[0], p.stderr[1], p.cache[0]})
	p.ready[1], p.lease[0], p.stderr[1], p.cache[0] = nil, nil, nil, nil
}

func (p *pipes) close() {
	closeFiles(slices.Concat(p.ready[:], p.lease[:], p.stderr[:], p.cache[:]))
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		if f != nil {
			_ = f.Close()
		}
	}
}

// A tail passes on what is written to it, and keeps the end of it.
type tail struct {
	to io.Writer
	mu sync.Mutex
	b  []byte
}

const tailBytes = 8 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	t.b = append(t.b, p...)
	if surplus := len(t.b) - tailBytes; surplus > 0 {
		t.b = append(t.b[:0], t.b[surplus:]...)
	}
	t.mu.Unlock()
	_, _ = t.to.Write(p) // the process must not be stopped by our own output
	return len(p), nil
}

// text is what was written, without the log's lines of success.
func (t *tail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []string
	for line := range strings.Lines(string(t.b)) {
		if strings.HasPrefix(line, "time=") && (strings.Contains(line, " level=INFO ") || strings.Contains(line, " level=DEBUG ")) {
			continue
		}
		out = append(out, strings.TrimRight(line, "\r\n"))
	}
	return strings.TrimSpace(strings.Join(out, "\n"))
}
