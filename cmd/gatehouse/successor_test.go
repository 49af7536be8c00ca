package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
)

// program writes a shell script that stands for a new binary.
func program(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "gatehouse")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func startProgram(t *testing.T, ctx context.Context, text string, wait time.Duration) (*heir, *edgetest.Output, error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	words := &edgetest.Output{}
	s := &successor{
		binary: program(t, text), wait: wait, stderr: words,
		offer:   offer{Protocol: offerProtocol, Sockets: []offeredSocket{{Name: "http"}}},
		sockets: []syscall.Conn{ln.(*net.TCPListener)},
	}
	h, err := s.start(ctx)
	if blocks := isBlocking(t, ln.(*net.TCPListener)); blocks {
		t.Error("the hand-over made the socket block")
	}
	return h, words, err
}

func isBlocking(t *testing.T, ln *net.TCPListener) (blocking bool) {
	t.Helper()
	raw, err := ln.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = raw.Control(func(fd uintptr) {
		flags, _, errno := syscall.Syscall(syscall.SYS_FCNTL, fd, syscall.F_GETFL, 0)
		if errno != 0 {
			t.Error(errno)
		}
		blocking = flags&syscall.O_NONBLOCK == 0
	})
	if err != nil {
		t.Fatal(err)
	}
	return blocking
}

func TestSuccessorThatHangsIsEnded(t *testing.T) {
	_, words, err := startProgram(t, t.Context(), "echo waiting >&2; exec sleep 300", 300*time.Millisecond)
	if err == nil || !strings.Contains(err.Error(), "did not serve within 300ms and was ended: waiting") {
		t.Errorf("%v", err)
	}
	if words.String() != "waiting\n" {
		t.Errorf("what it said was not passed on: %q", words)
	}
}

func TestSuccessorIsEndedWithItsNode(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	_, _, err := startProgram(t, ctx, "exec sleep 300", time.Minute)
	if err == nil || !strings.Contains(err.Error(), "is to stop") {
		t.Errorf("%v", err)
	}
}

func TestSuccessorThatSaysNonsenseIsEnded(t *testing.T) {
	_, _, err := startProgram(t, t.Context(), "echo hello >&4; exec sleep 300", time.Minute)
	if err == nil || !strings.Contains(err.Error(), "is not understood") {
		t.Errorf("%v", err)
	}
}

// The descriptors are where the new process looks for them: the socket, the ready
// pipe, the lease and the error output; and the lease ends when it is closed.
func TestSuccessorGetsItsDescriptors(t *testing.T) {
	gone := filepath.Join(t.TempDir(), "lease-is-over")
	h, _, err := startProgram(t, t.Context(), `
case "$GATEHOUSE_HANDOVER" in *'"protocol":1,"sockets":[{"name":"http"}]'*) ;; *) exit 1 ;; esac
readlink /proc/self/fd/3 | grep -q socket || exit 1
echo '{"version":"v2","private":true}' >&4
cat <&5; : >`+gone, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if h.Version != "v2" || !h.Private || h.process.Pid <= 0 {
		t.Errorf("%+v", h)
	}
	if _, err := os.Stat(gone); !errors.Is(err, os.ErrNotExist) {
		t.Error("the lease is over already")
	}
	if err := h.lease.Close(); err != nil {
		t.Error(err)
	}
	edgetest.WaitFor(t, "the lease to end", func() bool { _, err := os.Stat(gone); return err == nil })
}

func TestTailLeavesTheLogsSuccessesOut(t *testing.T) {
	var all bytes.Buffer
	words := &tail{to: &all}
	text := strings.Repeat("x", tailBytes) + "\ntime=1 level=INFO msg=serving\ntime=2 level=ERROR msg=no\nlisten.http: in use\n"
	if _, err := io.WriteString(words, text); err != nil {
		t.Fatal(err)
	}
	got := words.text()
	if !strings.HasSuffix(got, "x\ntime=2 level=ERROR msg=no\nlisten.http: in use") || len(got) > tailBytes {
		t.Errorf("%q", got)
	}
	if all.String() != text {
		t.Error("not all was passed on")
	}
}

func TestOneUpgradeAtATimeAndNoneBeforeOrAfter(t *testing.T) {
	refused := func(l *life, why string) {
		t.Helper()
		if _, err := l.beginUpgrade(); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%v, want %q", err, why)
		}
	}
	var l life
	refused(&l, "still taking over")
	l.serve()
	if _, err := l.beginUpgrade(); err != nil {
		t.Fatal(err)
	}
	refused(&l, "under way")
	if !l.endUpgrade(nil) {
		t.Error("a failed upgrade ended the node")
	}
	ctx, err := l.beginUpgrade()
	if err != nil {
		t.Fatal("after a failed upgrade:", err)
	}
	ended := make(chan *heir)
	go func() { ended <- l.end() }()
	<-ctx.Done() // the node's end breaks the upgrade off
	if l.endUpgrade(&heir{}) {
		t.Error("handed over although the node ends")
	}
	if h := <-ended; h != nil {
		t.Error("a node that was told to end says that it was handed over")
	}
	refused(&l, "draining")

	l = life{}
	l.serve()
	if _, err := l.beginUpgrade(); err != nil {
		t.Fatal(err)
	}
	h := &heir{process: &os.Process{Pid: 7}}
	if !l.endUpgrade(h) || l.end() != h {
		t.Error("not handed over")
	}
	refused(&l, "process 7 has taken over")
}
