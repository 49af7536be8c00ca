package wire

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

var errBroken = errors.New("broken for good")

// fails is a listener whose accept fails for good.
type fails struct{ net.Listener }

func (fails) Accept() (net.Conn, error) { return nil, errBroken }
func (fails) Addr() net.Addr            { return &net.TCPAddr{} }
func (fails) Close() error              { return nil }

// starved is a listener that has no descriptor left as long as its room is full.
type starved struct {
	fails
	asked atomic.Int32
	room  chan net.Conn
}

func (s *starved) Accept() (net.Conn, error) {
	s.asked.Add(1)
	select {
	case conn := <-s.room:
		return conn, nil
	default:
		return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	}
}

// While there is no descriptor the listener asks now and then, and does not spin.
func TestShortageOfDescriptorsDoesNotSpin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := &starved{room: make(chan net.Conn, 1)}
		ln := NewDoor(Options{}).Listen(inner, nil)
		done := make(chan net.Conn)
		go func() {
			conn, _ := ln.Accept()
			done <- conn
		}()
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if n := inner.asked.Load(); n < 30 || n > 45 {
			t.Errorf("asked %d times in 30 s", n)
		}
		ours, theirs := net.Pipe()
		defer theirs.Close()
		inner.room <- ours
		begin := time.Now()
		conn := <-done
		if took := time.Since(begin); conn == nil || took > time.Second {
			t.Errorf("accepted after %v", took)
		}
		conn.Close()
	})
}

// A closed connection gives its descriptor back: accepting goes on at once.
func TestShortageOfDescriptorsEndsWhenAConnectionCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := &starved{room: make(chan net.Conn, 1)}
		ln := NewDoor(Options{}).Listen(inner, nil)
		ours, theirs := net.Pipe()
		defer theirs.Close()
		inner.room <- ours
		held, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		held.(*Conn).raw.serving()
		done := make(chan net.Conn)
		go func() {
			conn, _ := ln.Accept()
			done <- conn
		}()
		time.Sleep(20*time.Second + 300*time.Millisecond) // the pause is a second by now
		synctest.Wait()
		ours, theirs2 := net.Pipe()
		defer theirs2.Close()
		inner.room <- ours
		begin := time.Now()
		held.Close()
		conn := <-done
		if took := time.Since(begin); took != 0 {
			t.Errorf("accepted %v after the close", took)
		}
		conn.Close()
	})
}

func TestAcceptEndsWithTheListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := NewDoor(Options{}).Listen(&starved{}, nil)
		done := make(chan error)
		go func() {
			_, err := ln.Accept()
			done <- err
		}()
		time.Sleep(time.Minute)
		ln.Close()
		if err := <-done; !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		if _, err := NewDoor(Options{}).Listen(fails{}, nil).Accept(); !errors.Is(err, errBroken) {
			t.Errorf("a broken listener: %v", err)
		}
	})
}

// starvedEnv makes this test binary the process of serveStarved.
const starvedEnv = "WIRE_TEST_STARVED"

// serveStarved is a process with few descriptors. It greets every connection,
// and eats or frees descriptors as it is told by lines on its standard input.
func serveStarved() {
	limit := syscall.Rlimit{Cur: 60, Max: 60}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		panic(err)
	}
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	ln := NewDoor(Options{Connections: -1}).Listen(inner, nil)
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				panic(err) // it must never fail
			}
			go func() {
				defer conn.Close()
				_, _ = conn.Write([]byte("hello"))
				_, _ = io.Copy(io.Discard, conn)
			}()
		}
	}()
	fmt.Println(inner.Addr())
	var files []*os.File
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		switch lines.Text() {
		case "eat":
			for {
				file, err := os.Open(os.DevNull)
				if err != nil {
					break
				}
				files = append(files, file)
			}
		case "free":
			for _, file := range files {
				file.Close()
			}
			files = nil
		}
		fmt.Println("done")
	}
}

// With every descriptor in use a real listener neither dies nor forgets who waits:
// it goes on within 2 s after some are free, be they connections' or others'.
func TestShortageOfDescriptorsIsSurvived(t *testing.T) {
	t.Parallel()
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), starvedEnv+"=1")
	child.Stderr = os.Stderr
	tell, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	line := func() string {
		s, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("child: %v", err)
		}
		return strings.TrimSpace(s)
	}
	addr := line()
	order := func(what string) {
		if _, err := fmt.Fprintln(tell, what); err != nil || line() != "done" {
			t.Fatalf("%s: %v", what, err)
		}
	}
	dial := func() net.Conn {
		conn, err := net.DialTimeout("tcp", addr, patience)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	greeted := func(conn net.Conn, within time.Duration) bool {
		_ = conn.SetReadDeadline(time.Now().Add(within))
		_, err := io.ReadFull(conn, make([]byte, 5))
		return err == nil
	}

	order("eat")
	waits := dial()
	if greeted(waits, 1500*time.Millisecond) {
		t.Fatal("served without a descriptor")
	}
	order("free")
	if !greeted(waits, 2*time.Second) {
		t.Error("not served 2 s after descriptors were free")
	}

	conns := make([]net.Conn, 100) // more than there are descriptors
	for i := range conns {
		conns[i] = dial()
	}
	if !greeted(conns[0], patience) || greeted(conns[99], 300*time.Millisecond) {
		t.Error("the flood did not use up the descriptors")
	}
	last := dial()
	for _, conn := range conns {
		conn.Close()
	}
	if !greeted(last, 2*time.Second) {
		t.Error("not served 2 s after the flood had ended")
	}
	tell.Close()
	if err := child.Wait(); err != nil {
		t.Error(err)
	}
}
