package wire

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pair returns a client's end and ours. Both live in the test's bubble.
func pair(t *testing.T, limits Limits) (client net.Conn, ours *Conn) {
	t.Helper()
	client, s := pipe(t, Options{Limits: limits})
	return client, newConn(s, nil).(*Conn)
}

// drip sends text again and again, with a pause, until the other end is gone.
func drip(client net.Conn, text string, pause time.Duration) {
	for {
		if _, err := client.Write([]byte(text)); err != nil {
			return
		}
		time.Sleep(pause)
	}
}

// A head that comes a byte at a time ends 10 s after its first byte, however
// lively it is.
func TestSlowHeadEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, ours := pair(t, Limits{})
		var sender sync.WaitGroup
		defer sender.Wait()
		defer client.Close()
		sender.Go(func() {
			time.Sleep(time.Minute) // idle: that is another clock
			drip(client, "a", 3*time.Second)
		})
		begin := time.Now()
		h, err := nextHead(t, ours)
		if err != nil || h.Refused == nil || h.Refused.Status != 408 {
			t.Fatal(err, h)
		}
		if took := time.Since(begin) - time.Minute; took != 10*time.Second {
			t.Errorf("after %v", took)
		}
		if since := h.Begun.Sub(begin); since != time.Minute {
			t.Errorf("it is said to begin after %v, want its first byte's time", since)
		}
	})
}

// A connection without a request ends after its idle time, without a word.
func TestIdleConnectionEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, ours := pair(t, Limits{})
		begin := time.Now()
		if _, err := ours.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
		if took := time.Since(begin); took != 75*time.Second {
			t.Errorf("after %v", took)
		}
	})
}

// upload has a client send a body as send does, and returns how it ended and
// when.
func upload(t *testing.T, send func(client net.Conn), limits Limits) (n int64, took time.Duration, err error) {
	t.Helper()
	client, ours := pair(t, limits)
	var sender sync.WaitGroup
	defer sender.Wait()
	defer client.Close()
	sender.Go(func() {
		_, _ = client.Write([]byte("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000000\r\n\r\n"))
		send(client)
	})
	if h, err := nextHead(t, ours); err != nil || h.Refused != nil {
		t.Fatal(err, h)
	}
	begin := time.Now()
	n, err = io.Copy(io.Discard, ours.Body())
	return n, time.Since(begin), err
}

func isStatus(err error, status int) bool {
	var r *Refusal
	return errors.As(err, &r) && r.Status == status
}

// A body may be slow, but not slower than the minimum rate, and not silent.
func TestBodyKeepsTheMinimumRate(t *testing.T) {
	for name, tc := range map[string]struct {
		piece string
		pause time.Duration
		whole bool
		took  time.Duration
	}{
		"silent":     {"", time.Hour, false, 30 * time.Second},
		"1 B/s":      {"a", time.Second, false, 30 * time.Second},
		"100 B/s":    {string(make([]byte, 100)), time.Second, false, 30 * time.Second},
		"1.25 KiB/s": {string(make([]byte, 1280)), time.Second, true, 0},
		"lumps":      {string(make([]byte, 31<<10)), 29 * time.Second, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, took, err := upload(t, func(client net.Conn) {
					if tc.piece != "" {
						drip(client, tc.piece, tc.pause)
					}
				}, Limits{})
				if tc.whole && (err != nil || n != 1000000) {
					t.Errorf("cut after %d bytes and %v: %v", n, took, err)
				}
				if !tc.whole && (!isStatus(err, 408) || took < tc.took || took > tc.took+time.Second) {
					t.Errorf("%d bytes, %v after %v", n, err, took)
				}
			})
		})
	}
}

// The time in which nobody reads does not count against the client: a backend
// that takes an upload slowly must not cut it.
func TestSlowBackendDoesNotCutAnUpload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, ours := pair(t, Limits{})
		go func() {
			_, _ = client.Write([]byte("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100\r\n\r\n"))
			_, _ = client.Write(make([]byte, 100))
		}()
		if _, err := nextHead(t, ours); err != nil {
			t.Fatal(err)
		}
		for range 100 {
			if _, err := ours.Body().Read(make([]byte, 1)); err != nil && err != io.EOF {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
	})
}

// A tunnel may be silent for ever, and begins with what came behind the head.
func TestTunnelMayBeSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, ours := pair(t, Limits{})
		go func() {
			_, _ = client.Write([]byte("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nfirst"))
			time.Sleep(100 * time.Hour)
			_, _ = client.Write([]byte("last"))
			client.Close()
		}()
		if h, err := nextHead(t, ours); err != nil || h.Upgrade == "" {
			t.Fatal(err, h)
		}
		ours.Tunnel()
		if got, err := io.ReadAll(ours); err != nil || string(got) != "firstlast" {
			t.Errorf("%q, %v", got, err)
		}
	})
}

// AbortRead wakes a blocked reader of the body, and Hurry bounds one.
func TestAbortAndHurry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, interrupt := range map[string]func(*Conn){
			"abort": func(c *Conn) {
				time.AfterFunc(time.Second, func() {
					if err := c.AbortRead(); err != nil {
						t.Error(err)
					}
				})
			},
			"hurry": func(c *Conn) { c.Hurry(time.Now().Add(time.Second)) },
		} {
			client, ours := pair(t, Limits{})
			go func() { _, _ = client.Write([]byte("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\n\r\n")) }()
			if _, err := nextHead(t, ours); err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			interrupt(ours)
			if _, err := ours.Body().Read(make([]byte, 1)); err == nil || time.Since(begin) != time.Second {
				t.Errorf("%s: %v after %v", name, err, time.Since(begin))
			}
		}
	})
}

// An interim answer that the client does not take must not hold up those who end
// its request.
func TestAbortDoesNotWaitForAnInterimAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, ours := pair(t, Limits{})
		go func() { _, _ = client.Write([]byte(get + "\r\n")) }()
		if _, err := nextHead(t, ours); err != nil {
			t.Fatal(err)
		}
		var informing sync.WaitGroup
		defer informing.Wait()
		defer client.Close()
		informing.Go(func() { _ = ours.Inform(103, nil) }) // nobody reads
		synctest.Wait()
		begin := time.Now()
		if err := ours.AbortRead(); err != nil || time.Since(begin) != 0 {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		ours.Hurry(time.Time{})
	})
}

// A tunnel that is closed while its client sends is closed at once: only an answer
// that the kernel's reset would cut is worth waiting for.
func TestTunnelDoesNotLinger(t *testing.T) {
	h := newHouse(t, Options{}, nil)
	client := h.dial(t, "127.0.0.1")
	ours := h.next(t).(*Conn)
	send(t, client, "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
	if _, err := nextHead(t, ours); err != nil {
		t.Fatal(err)
	}
	ours.Answering(false)
	ours.Tunnel()
	send(t, client, "frames that nobody reads")
	until(t, "they have come", ours.raw.unread)
	begin := time.Now()
	ours.Close()
	if took := time.Since(begin); took > lingerTime/2 {
		t.Errorf("closed after %v", took)
	}
}
