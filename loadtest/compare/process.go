package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// CPUs, as taskset names them.
const (
	peerCPU = 0
	loadCPU = 1
)

// A process is one that we have started. It is the leader of a process group.
type process struct {
	name   string
	cmd    *exec.Cmd
	cancel context.CancelFunc // asks it to end
	output string             // file that holds what it says, both streams
}

// start runs a program pinned to a CPU, with further environment variables. What it
// says goes to NAME.out in the run folder.
func (b *bed) start(ctx context.Context, name string, cpu int, env []string, argv ...string) (*process, error) {
	ctx, cancel := context.WithCancel(ctx)
	p := &process{name: name, cancel: cancel, output: filepath.Join(b.dir, name+".out")}
	out, err := os.Create(p.output)
	if err != nil {
		cancel()
		return nil, err
	}
	defer out.Close() // the child has its own
	argv = append([]string{"-c", strconv.Itoa(cpu)}, argv...)
	p.cmd = exec.CommandContext(ctx, "taskset", argv...)
	p.cmd.Dir = b.dir
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.Env = append(os.Environ(), env...)
	// A group of its own: an interrupt from the terminal reaches us alone, and we end
	// it in order. Should we be killed, it is told to end.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(syscall.SIGTERM) }
	p.cmd.WaitDelay = 10 * time.Second
	if err := p.cmd.Start(); err != nil {
		cancel()
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return p, nil
}

// stop ends the process and what it has started, and waits for it.
func (p *process) stop() {
	p.cancel()
	// How a server ends that was told to says nothing.
	_ = p.cmd.Wait()
	// What outlived its leader; mostly there is nothing, which is an error here.
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
}

// wait lets the process come to its own end, which must be a good one, within a
// bound, and returns what it said.
func (p *process) wait(bound time.Duration) (string, error) {
	timer := time.AfterFunc(bound, p.cancel)
	err := p.cmd.Wait()
	if !timer.Stop() {
		err = fmt.Errorf("it took longer than %v", bound)
	}
	p.cancel()
	output, readErr := os.ReadFile(p.output)
	return string(output), errors.Join(err, readErr)
}

// listening waits until something accepts connections at the address. It fails when p
// has ended, or after a minute.
func (p *process) listening(ctx context.Context, at netip.AddrPort) error {
	return p.until(ctx, fmt.Sprint("listen at ", at), func() bool {
		c, err := net.DialTimeout("tcp", at.String(), time.Second)
		if err != nil {
			return false
		}
		c.Close()
		return true
	})
}

// serves waits until plain HTTP at the address brings a file of the host. It fails when
// p has ended, or after a minute.
func (p *process) serves(ctx context.Context, at netip.AddrPort, host string) error {
	client := http.Client{Timeout: 5 * time.Second}
	return p.until(ctx, "serve "+host, func() bool {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at.String()+"/pass/1k", nil)
		if err != nil {
			return false
		}
		request.Host = host
		response, err := client.Do(request)
		if err != nil {
			return false
		}
		response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
}

// until waits for what a process is expected to do.
func (p *process) until(ctx context.Context, what string, done func() bool) error {
	for end := time.Now().Add(time.Minute); time.Now().Before(end) && ctx.Err() == nil; pause(ctx, 50*time.Millisecond) {
		if done() {
			return nil
		}
		if !running(p.cmd.Process.Pid) {
			break
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return fmt.Errorf("%s does not %s: %s", p.name, what, p.said())
}

// running reports whether a child of ours has not ended yet.
func running(pid int) bool {
	line, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	st, err := parseStat(string(line))
	return err == nil && st.state != 'Z'
}

// said returns the end of what the process said.
func (p *process) said() string {
	output, err := os.ReadFile(p.output)
	if err != nil {
		return err.Error()
	}
	return tail(string(output))
}
