package edgetest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A RedisServer is a real redis-server process on a loopback port with a folder
// of its own. It keeps its data over Stop and Restart, as a server in production
// does.
type RedisServer struct {
	t    testing.TB
	dir  string
	port string
	args []string

	mu     sync.Mutex
	cmd    *exec.Cmd
	exited chan struct{}
	frozen bool
}

// Redis starts a redis-server for the test and stops it after it. Without
// redis-server the test is skipped; with CI=true it fails. args are further
// settings, such as "--requirepass", "secret".
func Redis(t testing.TB, args ...string) *RedisServer {
	t.Helper()
	for _, name := range []string{"redis-server", "redis-cli"} {
		if _, err := exec.LookPath(name); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("%s is not installed, and CI=true", name)
			}
			t.Skipf("%s is not installed: this test needs a real Redis", name)
		}
	}
	s := &RedisServer{t: t, dir: t.TempDir(), port: freePort(t), args: args}
	t.Cleanup(s.Kill)
	s.start()
	return s
}

func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return port
}

// Addr is the server's host:port; it stays the same over restarts.
func (s *RedisServer) Addr() string { return net.JoinHostPort("127.0.0.1", s.port) }

// URL is redis://host:port.
func (s *RedisServer) URL() string { return "redis://" + s.Addr() }

// start runs the process and waits until it answers. Another process may have
// taken the port meanwhile: then the server exits, and another try is made.
func (s *RedisServer) start() {
	s.t.Helper()
	var last error
	for range 3 {
		if last = s.try(); last == nil {
			return
		}
		s.Kill()
	}
	s.t.Fatalf("start redis-server: %v", last)
}

func (s *RedisServer) try() error {
	args := append([]string{
		"--port", s.port, "--bind", "127.0.0.1", "--dir", s.dir, "--dbfilename", "dump.rdb",
		"--save", "3600 1", "--appendonly", "no", "--daemonize", "no",
	}, s.args...)
	cmd := exec.Command("redis-server", args...)
	var out Output
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait() // a killed server is no news
		close(exited)
	}()
	s.mu.Lock()
	s.cmd, s.exited, s.frozen = cmd, exited, false
	s.mu.Unlock()

	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-exited:
			return fmt.Errorf("it exited:\n%s", out.String())
		case <-deadline.C:
			return fmt.Errorf("it does not answer:\n%s", out.String())
		case <-tick.C:
		}
		if s.answers() {
			return nil
		}
	}
}

// answers reports whether our server is ready: it knows the folder that only it has.
func (s *RedisServer) answers() bool {
	conn, err := net.DialTimeout("tcp", s.Addr(), time.Second)
	if err != nil {
		return false
	}
	defer conn.Close()
	if conn.SetDeadline(time.Now().Add(time.Second)) != nil {
		return false
	}
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return false
	}
	buf := make([]byte, 64)
	n, err := conn.Read(buf)
	answer := string(buf[:n])
	return err == nil && (strings.HasPrefix(answer, "+PONG") || strings.HasPrefix(answer, "-NOAUTH"))
}

// Stop ends the server as an operator does (SIGTERM: the data is saved) and
// waits until it is gone.
func (s *RedisServer) Stop() {
	s.t.Helper()
	s.end(syscall.SIGTERM)
}

// Kill ends the server at once (SIGKILL: what was not saved is lost). Calling it
// twice is fine.
func (s *RedisServer) Kill() { s.end(syscall.SIGKILL) }

func (s *RedisServer) end(signal syscall.Signal) {
	s.Resume()
	s.mu.Lock()
	cmd, exited := s.cmd, s.exited
	s.cmd = nil
	s.mu.Unlock()
	if cmd == nil {
		return
	}
	if err := cmd.Process.Signal(signal); err != nil && !isGone(exited) {
		s.t.Errorf("signal redis-server: %v", err)
	}
	select {
	case <-exited:
	case <-time.After(10 * time.Second):
		_ = cmd.Process.Kill() // it is ours, and did not obey
		<-exited
	}
}

func isGone(exited <-chan struct{}) bool {
	select {
	case <-exited:
		return true
	case <-time.After(time.Second):
		return false
	}
}

// Restart starts the server again on the same port, stopping it first if it
// runs; empty: without its data.
func (s *RedisServer) Restart(empty bool) {
	s.t.Helper()
	s.Stop()
	if empty {
		if err := os.Remove(filepath.Join(s.dir, "dump.rdb")); err != nil && !os.IsNotExist(err) {
			s.t.Fatal(err)
		}
	}
	s.start()
}

// Suspend stops the process without ending it (SIGSTOP): it accepts connections
// and answers nothing.
func (s *RedisServer) Suspend() { s.signal(syscall.SIGSTOP, true) }

// Resume lets a suspended server go on (SIGCONT).
func (s *RedisServer) Resume() { s.signal(syscall.SIGCONT, false) }

func (s *RedisServer) signal(signal syscall.Signal, frozen bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil || s.frozen == frozen {
		return
	}
	if err := s.cmd.Process.Signal(signal); err != nil {
		s.t.Errorf("signal redis-server: %v", err)
	}
	s.frozen = frozen
}

// CLI runs redis-cli against the server and returns what it prints, without the
// last line break.
func (s *RedisServer) CLI(args ...string) string {
	s.t.Helper()
	return s.CLIInput("", args...)
}

// CLIInput is CLI with a standard input: one command per line, or with "-x" the
// last argument.
func (s *RedisServer) CLIInput(input string, args ...string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "redis-cli", append([]string{"-h", "127.0.0.1", "-p", s.port}, args...)...)
	if input != "" {
		cmd.Stdin = strings.NewReader(input)
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("redis-cli %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSuffix(string(out), "\n")
}
