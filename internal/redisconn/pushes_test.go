package redisconn

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// pushed is a Conn on which a server sends, and answers one PING in between.
func pushed(t *testing.T, before, after int) *Conn {
	t.Helper()
	conn, server := net.Pipe()
	c := &Conn{addr: "test", conn: conn, write: bufio.NewWriter(conn), reader: &progress{conn: conn}}
	c.decoder.r = bufio.NewReaderSize(c.reader, 64<<10)
	c.release = func() bool { return true }
	key := strings.Repeat("k", 1<<20)
	push := fmt.Sprintf(">2\r\n$10\r\ninvalidate\r\n*1\r\n$%d\r\n%s\r\n", len(key), key)
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 64)
		if _, err := server.Read(buf); err != nil {
			return
		}
		for i := range before + after {
			if i == before {
				_, _ = server.Write([]byte("+PONG\r\n"))
			}
			_, _ = server.Write([]byte(push))
		}
		if after == 0 {
			_, _ = server.Write([]byte("+PONG\r\n"))
		}
	}()
	t.Cleanup(func() {
		_ = c.Close()
		<-done
	})
	return c
}

// What is pushed during a long exchange takes a bounded part of memory; what there is no room for may have been any key's.
func TestPushesDuringADoAreBoundedAndTheRestCountsAsMissed(t *testing.T) {
	t.Parallel()
	const count = 2 * maxPushed >> 20
	c := pushed(t, count, 3)
	if err := c.Ping(); err != nil {
		t.Fatal(err)
	}
	if len(c.pushes) != 1 {
		t.Errorf("%d pushes of a megabyte are kept", len(c.pushes))
	}
	pushes, err := c.Pushes(10*time.Second, 10*time.Second)
	if err != nil || len(pushes) != 1 {
		t.Fatalf("%d pushes, %v", len(pushes), err)
	}
	if kind, keys := pushes[0].Kind(); kind != "invalidate" || !keys.Null {
		t.Errorf("a push of %q that does not say that all is lost", kind)
	}
	// What comes after that is told as ever.
	for seen := 0; seen < 3; seen += len(pushes) {
		if pushes, err = c.Pushes(10*time.Second, time.Millisecond); err != nil || len(pushes) == 0 {
			t.Fatalf("%d pushes, %v", len(pushes), err)
		}
		if _, keys := pushes[0].Kind(); len(keys.Items) != 1 || len(keys.Items[0].Text) != 1<<20 {
			t.Error("another push")
		}
	}
}

// Where more comes without an end, Pushes returns what it has: nothing is missed.
func TestPushesDoesNotWaitForTheEndOfAFlood(t *testing.T) {
	t.Parallel()
	const count = 2 * maxPushed >> 20
	c := pushed(t, 0, count)
	if err := c.Ping(); err != nil {
		t.Fatal(err)
	}
	for seen := 0; seen < count; {
		pushes, err := c.Pushes(10*time.Second, 100*time.Millisecond)
		if err != nil || len(pushes) == 0 || len(pushes) > maxPushed>>20 {
			t.Fatalf("%d pushes after %d, %v", len(pushes), seen, err)
		}
		for i := range pushes {
			if _, keys := pushes[i].Kind(); keys.Null {
				t.Error("a push was missed")
			}
		}
		seen += len(pushes)
	}
}
