package wire

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/internal/edgetest"
)

// readSlowly reads piece bytes per every, until the other end closes. It sends how
// many it has read when it has ended.
func readSlowly(client net.Conn, piece int64, every time.Duration) <-chan int64 {
	ended := make(chan int64, 1)
	go func() {
		read := int64(0)
		for {
			n, err := io.CopyN(io.Discard, client, piece)
			if read += n; err != nil {
				ended <- read
				return
			}
			time.Sleep(every)
		}
	}()
	return ended
}

// write writes size bytes in one go and reports when it ended, and how.
func write(ours net.Conn, size int) (took time.Duration, err error) {
	begin := time.Now()
	_, err = ours.Write(make([]byte, size))
	return time.Since(begin), err
}

func TestSlowReaders(t *testing.T) {
	const size = 2 << 20
	for _, c := range []struct {
		name      string
		piece     int64
		every     time.Duration
		cutAfter  time.Duration // 0: never
		cutBefore time.Duration
	}{
		{name: "stopped", piece: size / 2, every: time.Hour, cutAfter: 30 * time.Second, cutBefore: 34 * time.Second},
		{name: "never began", piece: 1, every: time.Hour, cutAfter: 30 * time.Second, cutBefore: 34 * time.Second},
		{name: "100 B/s", piece: 100, every: time.Second, cutAfter: 30 * time.Second, cutBefore: 60 * time.Second},
		{name: "1 byte every 29 s", piece: 1, every: 29 * time.Second, cutAfter: 30 * time.Second, cutBefore: 60 * time.Second},
		{name: "2 KiB/s", piece: 2 << 10, every: time.Second},
		{name: "lumps of 64 KiB every 29 s", piece: 64 << 10, every: 29 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, ours := pipe(t, Options{})
				ended := readSlowly(client, c.piece, c.every)
				took, err := write(ours, size)
				ours.Close()
				read := <-ended
				switch {
				case c.cutAfter == 0:
					if err != nil || read != size {
						t.Errorf("cut after %v: %v", took, err)
					}
				case !errors.Is(err, errStalled) || took < c.cutAfter || took > c.cutBefore:
					t.Errorf("%v after %v", err, took)
				}
				if ours.door.Open() != 0 {
					t.Errorf("%d open", ours.door.Open())
				}
			})
		})
	}
}

// A cut writer stays cut.
func TestStalledWriteResetsTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, ours := pipe(t, Options{})
		if _, err := write(ours, 1); !errors.Is(err, errStalled) {
			t.Fatal(err)
		}
		if ours.door.Open() != 0 {
			t.Error("it is still counted")
		}
		if _, err := ours.Write([]byte("x")); err == nil {
			t.Error("a write after the cut succeeded")
		}
		if _, err := client.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("the client sees %v", err)
		}
	})
}

// A client that is sent little takes little: only the time that it makes us wait
// counts.
func TestNothingToWriteIsNoStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, ours := pipe(t, Options{})
		ended := readSlowly(client, 1, 0)
		for range 100 {
			if _, err := write(ours, 1); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		ours.Close()
		<-ended
	})
}

func TestTunnelMayWaitInAWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, ours := pipe(t, Options{})
		begun := make(chan (<-chan int64))
		go func() {
			time.Sleep(10 * time.Second)
			ours.unhurried() // in the middle of a write
			time.Sleep(time.Hour)
			begun <- readSlowly(client, 1, 0)
		}()
		if took, err := write(ours, 1); err != nil || took < time.Hour {
			t.Errorf("%v after %v", err, took)
		}
		ours.Close()
		<-<-begun
	})
}

// Without a least rate a reader may be as slow as it likes, but not stop.
func TestWithoutARateOnlySilenceIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, ours := pipe(t, Options{Limits: Limits{MinRate: -1}})
		go func() {
			for range 10 {
				_, _ = client.Read(make([]byte, 1))
				time.Sleep(20 * time.Second)
			}
		}()
		took, err := write(ours, 100)
		if !errors.Is(err, errStalled) || took < 200*time.Second || took > 250*time.Second {
			t.Errorf("%v after %v", err, took)
		}
	})
}

// The pace does not get in the way of a deadline that was asked for, nor the
// other way round.
func TestWriteDeadlineHoldsBesideThePace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, ours := pipe(t, Options{})
		_ = ours.SetWriteDeadline(time.Now().Add(7 * time.Second))
		if took, err := write(ours, 1); !errors.Is(err, os.ErrDeadlineExceeded) || took != 7*time.Second {
			t.Errorf("%v after %v", err, took)
		}
		_ = ours.SetWriteDeadline(time.Time{})
		ended := readSlowly(client, 1, 0)
		if _, err := write(ours, 1); err != nil {
			t.Errorf("after the deadline was taken off: %v", err)
		}
		ours.Close()
		<-ended

		_, ours = pipe(t, Options{})
		go func() {
			time.Sleep(3 * time.Second)
			_ = ours.SetWriteDeadline(time.Unix(1, 0)) // wakes a blocked write
		}()
		if took, err := write(ours, 1); !errors.Is(err, os.ErrDeadlineExceeded) || took != 3*time.Second {
			t.Errorf("%v after %v", err, took)
		}
	})
}

// crypto/tls takes a timeout of a write as the end. A reader that pauses must not
// bring one about.
func TestPausesOfAReaderDoNotRuinTLS(t *testing.T) {
	leaf := edgetest.NewCA(t).Issue(t, "shop.test")
	synctest.Test(t, func(t *testing.T) {
		client, s := pipe(t, Options{})
		secured := tls.Server(s, &tls.Config{Certificates: []tls.Certificate{leaf.TLS}})
		ours := newConn(s, secured)
		want := bytes.Repeat([]byte("gatehouse"), 50<<10)
		done := make(chan error, 1)
		go func() {
			_, err := ours.Write(want)
			_ = ours.Close() // the reader may be in a pause for all of its alert's time
			done <- err
		}()
		reader := tls.Client(client, &tls.Config{InsecureSkipVerify: true})
		var got bytes.Buffer
		for {
			if _, err := io.CopyN(&got, reader, 64<<10); err != nil {
				break
			}
			time.Sleep(25 * time.Second) // several samples
		}
		client.Close()
		if err := <-done; err != nil || !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%v after %d of %d bytes", err, got.Len(), len(want))
		}
	})
}

// overTCP is a connection with small buffers at both ends.
func overTCP(t *testing.T, o Options) (h *house, client net.Conn, ours *socket) {
	t.Helper()
	h = newHouse(t, o, nil)
	client = h.dial(t, "127.0.0.1")
	if err := client.(*net.TCPConn).SetReadBuffer(64 << 10); err != nil {
		t.Fatal(err)
	}
	ours = h.next(t).(*Conn).raw
	if err := ours.tcp.SetWriteBuffer(64 << 10); err != nil {
		t.Fatal(err)
	}
	return h, client, ours
}

func TestStoppedReaderIsCutOverTCP(t *testing.T) {
	t.Parallel()
	h, client, ours := overTCP(t, Options{Limits: Limits{Stall: time.Second}})
	took, err := write(ours, 8<<20)
	if !errors.Is(err, errStalled) || took < time.Second {
		t.Errorf("%v after %v", err, took)
	}
	if h.Open() != 0 {
		t.Errorf("%d open", h.Open())
	}
	if _, err := io.Copy(io.Discard, client); err == nil {
		t.Error("the client sees a proper end of a cut answer")
	}
}

func TestSlowReaderIsNotCutOverTCP(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		piece int64
		every time.Duration
	}{
		"steady": {piece: 16 << 10, every: 20 * time.Millisecond},
		"lumps":  {piece: 512 << 10, every: 800 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, client, ours := overTCP(t, Options{Limits: Limits{Stall: 3 * time.Second, MinRate: 16 << 10}})
			ended := readSlowly(client, c.piece, c.every)
			const size = 4 << 20
			took, err := write(ours, size)
			ours.Close()
			if n := <-ended; err != nil || n != size {
				t.Errorf("cut after %v and %d bytes: %v", took, n, err)
			}
		})
	}
}

func TestReaderBelowTheRateIsCutOverTCP(t *testing.T) {
	t.Parallel()
	_, client, ours := overTCP(t, Options{Limits: Limits{Stall: time.Second, MinRate: 1 << 20}})
	ended := readSlowly(client, 1<<10, 20*time.Millisecond) // 50 KiB/s
	if took, err := write(ours, 8<<20); !errors.Is(err, errStalled) {
		t.Errorf("%v after %v", err, took)
	}
	<-ended
}

func TestLeftSeesTheClientGo(t *testing.T) {
	h := newHouse(t, Options{}, nil)
	client := h.dial(t, "127.0.0.1")
	ours := h.next(t).(*Conn)
	if ours.Left() {
		t.Error("left at once")
	}
	client.Close()
	until(t, "the client left", ours.Left)
	ours.Close()
	if !ours.Left() {
		t.Error("a closed connection has its client")
	}
}

func BenchmarkSocketWrite(b *testing.B) {
	run := func(b *testing.B, wrap func(net.Conn) net.Conn) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		defer ln.Close()
		client, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		defer client.Close()
		go func() { _, _ = io.Copy(io.Discard, client) }()
		ours, err := ln.Accept()
		if err != nil {
			b.Fatal(err)
		}
		LimitUnsent(ours)
		ours = wrap(ours)
		defer ours.Close()
		piece := make([]byte, 1<<10)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := ours.Write(piece); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("bare", func(b *testing.B) { run(b, func(c net.Conn) net.Conn { return c }) })
	b.Run("socket", func(b *testing.B) {
		run(b, func(c net.Conn) net.Conn { return NewDoor(Options{}).admit(c) })
	})
}

// idle is a connection whose system calls cost nothing.
type idle struct{ net.Conn }

func (idle) Write(p []byte) (int, error)      { return len(p), nil }
func (idle) SetWriteDeadline(time.Time) error { return nil }

// What pacing adds to a write that does not wait.
func BenchmarkPacing(b *testing.B) {
	s := newSocket(idle{}, NewDoor(Options{}))
	piece := make([]byte, 1<<10)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Write(piece); err != nil {
			b.Fatal(err)
		}
	}
}
