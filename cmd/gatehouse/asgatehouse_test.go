package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
)

// asGatehouse in the environment makes this test binary behave as gatehouse
// itself, so that tests can start the whole program without building it again.
const asGatehouse = "TEST_BINARY_AS_GATEHOUSE"

func init() {
	// The files of tests come last, so run.go and the verbs are set up by now.
	if os.Getenv(asGatehouse) == "1" {
		os.Exit(start())
	}
}

// program makes dir/bin/gatehouse, which is this test binary as gatehouse.
func program(t *testing.T, dir string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "bin", "gatehouse")
	script := "#!/bin/sh\nexport " + asGatehouse + "=1\nexec " + shellQuote(self) + ` "$@"` + "\n"
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// A process is a command in the background with all that it wrote.
type process struct {
	cmd    *exec.Cmd
	exited chan error

	mu  sync.Mutex
	out bytes.Buffer
}

// Write takes the process's output.
func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.Write(b)
}

func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

// background starts a shell line in dir; it is interrupted, and waited for, when the test ends.
func background(t *testing.T, dir, line string, env ...string) *process {
	t.Helper()
	p := &process{exited: make(chan error, 1)}
	p.cmd = exec.Command("sh", "-c", "exec "+line)
	p.cmd.Dir, p.cmd.Env = dir, append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = p, p
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.exited <- p.cmd.Wait() }()
	t.Cleanup(func() {
		if p.cmd.ProcessState == nil {
			_ = p.interrupt()
		}
		if t.Failed() {
			t.Logf("output of %s:\n%s", line, p.output())
		}
	})
	return p
}

// interrupt sends SIGINT, as Ctrl-C does, and returns how the process ended.
func (p *process) interrupt() error {
	_ = p.cmd.Process.Signal(syscall.SIGINT)
	select {
	case err := <-p.exited:
		return err
	case <-time.After(2 * edgetest.Patience):
		_ = p.cmd.Process.Kill()
		return <-p.exited
	}
}
