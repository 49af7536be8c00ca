package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// A predecessor is the process whose sockets this one got. The two speak through
// three pipes: on the first we say that we serve; the second, the lease, ends when
// the predecessor has stopped working in the data folder; the third is where our
// error output belongs once we serve. Until then descriptor 2 leads to the
// predecessor, which needs our words if we fail. A fourth pipe, if it was offered, brings the predecessor's cache.
type predecessor struct {
	offer         offer
	ready, lease  *os.File
	cache         *os.File // nil: it has none to give
	stderr        int
	privateIsKept bool // we took the private socket over
}

// A readyMessage is what a successor says when it serves: one line of JSON.
type readyMessage struct {
	Version string `json:"version"`
	// Private: the private API's socket is ours now; else the predecessor removes it.
	Private bool `json:"private"`
}

func newPredecessor(o offer, fd int) (*predecessor, error) {
	p := &predecessor{offer: o, stderr: fd + 2}
	var readyErr, leaseErr error
	p.ready, readyErr = pipeEnd(fd, "ready")
	p.lease, leaseErr = pipeEnd(fd+1, "lease")
	syscall.CloseOnExec(p.stderr)
	var cacheErr error
	if o.Cache {
		p.cache, cacheErr = pipeEnd(fd+3, "cache")
	}
	// If the predecessor is killed now, its sockets are ours all the same, and a
	// log line that nobody reads must not end us.
	signal.Ignore(syscall.SIGPIPE)
	return p, errors.Join(readyErr, leaseErr, cacheErr)
}

// tellReady says that this process serves, and takes its own error output.
func (p *predecessor) tellReady(version string) error {
	message, err := json.Marshal(readyMessage{Version: version, Private: p.privateIsKept})
	if err != nil {
		return err
	}
	_, err = p.ready.Write(append(message, '\n'))
	err = errors.Join(err, p.ready.Close())
	if err != nil {
		err = fmt.Errorf("tell the process before: %w", err) // it is gone: its sockets are ours all the same
	}
	return errors.Join(err, p.takeStderr())
}

func (p *predecessor) takeStderr() error {
	if err := unix.Dup3(p.stderr, int(os.Stderr.Fd()), 0); err != nil {
		return fmt.Errorf("take the error output over: %w", err)
	}
	signal.Reset(syscall.SIGPIPE)
	return syscall.Close(p.stderr)
}

// awaitLease returns when the data folder is ours, or ctx has ended.
func (p *predecessor) awaitLease(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = p.lease.Close() }) // ends the read
	defer stop()
	_, err := io.Copy(io.Discard, p.lease)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return errors.Join(err, p.lease.Close())
}

// predecessor is the process that this one takes over from, or nil.
func (n *node) predecessor() *predecessor {
	if n.in == nil {
		return nil
	}
	return n.in.predecessor
}

// tellServing tells whoever waits for it that this process serves.
func (n *node) tellServing() {
	before := n.predecessor()
	if before == nil {
		n.notify("READY=1")
		return
	}
	if err := before.tellReady(readVersion().Version); err != nil {
		n.log.Warn("taking over", "err", err)
	}
	n.socket.Keep(false)
	n.notify(fmt.Sprintf("MAINPID=%d\nREADY=1", os.Getpid()))
}

// workInData does the work that only one process of a data folder may do, once
// the process before has stopped doing it.
func (n *node) workInData(ctx context.Context) error {
	if before := n.predecessor(); before != nil {
		if err := before.awaitLease(ctx); err != nil {
			return err
		}
		if err := n.follower.Save(); err != nil { // the other's last words may be older
			n.log.Warn("last good routes cannot be written", "err", err)
		}
		if n.sharedBlocks == nil {
			if err := n.blocks.Reload(); err != nil {
				n.log.Warn("networks that were blocked during the upgrade are not known", "err", err)
			}
			if err := n.backends.Reload(); err != nil {
				n.log.Warn("backends that were drained during the upgrade are not known", "err", err)
			}
		}
	}
	n.life.serve()
	return n.certs.Run(ctx)
}
