package loadtest

import (
	"context"
	"errors"
	"net"
	"runtime"
	"testing"
	"time"
)

// pipe is a line and the other end of it.
func pipe(t *testing.T) (*line, net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	near, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	l, err := newLine(near)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	return l, far
}

// TestTheEndWaitsForNoClient: 5,000 clients in handshakes made a run of 3 s one of 14 s,
// since closing a connection waits until who uses it has been scheduled.
func TestTheEndWaitsForNoClient(t *testing.T) {
	l, _ := pipe(t)
	inUse, release := make(chan struct{}), make(chan struct{})
	used := make(chan error, 1)
	go func() {
		used <- l.raw.Read(func(uintptr) bool { close(inUse); <-release; return true })
	}()
	<-inUse
	killed := make(chan struct{})
	go func() { l.kill(); close(killed) }()
	select {
	case <-killed:
	case <-time.After(20 * time.Second):
		t.Error("kill waits for the one that uses the connection")
	}
	close(release)
	<-killed
	if err := <-used; err != nil {
		t.Error(err)
	}
	if err := l.SetWriteDeadline(time.Now().Add(time.Hour)); err != nil { // as TLS does to say goodbye
		t.Error(err)
	}
	if _, err := l.Conn.Write([]byte("x")); err == nil {
		t.Error("what was killed can be written to")
	}
}

func TestFewHandshakesComputeAtOnce(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	g := newGate(ctx)
	for range runtime.GOMAXPROCS(0) {
		if ok, err := g.enter(0); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	if ok, err := g.enter(1); !ok || err != nil { // those that have begun have their own door
		t.Fatal(ok, err)
	}
	waiting := make(chan error)
	go func() { _, err := g.enter(0); waiting <- err }()
	select {
	case err := <-waiting:
		t.Errorf("one more got in: %v", err)
	case <-time.After(10 * time.Millisecond):
	}
	g.leave(0)
	if err := <-waiting; err != nil {
		t.Error(err)
	}
	go func() { _, err := g.enter(0); waiting <- err }()
	cancel()
	if err := <-waiting; !errors.Is(err, context.Canceled) {
		t.Errorf("at the end: %v", err)
	}
}
