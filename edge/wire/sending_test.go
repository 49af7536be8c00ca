package wire

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"gatehouse/internal/edgetest"
)

// counted is a connection whose writes are counted, and fail from one of them on.
type counted struct {
	net.Conn
	writes atomic.Int64
	fails  atomic.Int64 // from this write on; 0: never
}

func (c *counted) Write(p []byte) (int, error) {
	n := c.writes.Add(1)
	if from := c.fails.Load(); from > 0 && n >= from {
		return 0, syscall.EPIPE
	}
	return c.Conn.Write(p)
}

// secured returns both ends of a TLS connection whose handshake is over, and what
// counts our writes.
func secured(t *testing.T) (client *tls.Conn, ours *TLSConn, raw *counted) {
	t.Helper()
	ca := edgetest.NewCA(t)
	theirs, end := net.Pipe()
	raw = &counted{Conn: end}
	s := NewDoor(Options{}).admit(raw)
	ours = newConn(s, tls.Server(s, &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, "a.test").TLS}})).(*TLSConn)
	client = tls.Client(theirs, &tls.Config{ServerName: "a.test", RootCAs: ca.Pool()})
	t.Cleanup(func() { theirs.Close(); ours.Close() })
	var both sync.WaitGroup
	both.Go(func() { // the session ticket, which follows the handshake, is read by a read
		if _, err := io.ReadFull(client, make([]byte, 1)); err != nil {
			t.Error(err)
		}
	})
	if err := ours.Handshake(); err != nil {
		t.Fatal(err)
	}
	if _, err := ours.Send([]byte("!")); err != nil {
		t.Fatal(err)
	}
	both.Wait()
	raw.writes.Store(0)
	return client, ours, raw
}

func TestRecordsOfAnAnswerShareWrites(t *testing.T) {
	client, ours, raw := secured(t)
	text := bytes.Repeat([]byte("0123456789abcdef"), 200<<10/16)
	got := make(chan []byte, 1)
	go func() {
		b := make([]byte, 2*len(text))
		_, err := io.ReadFull(client, b)
		if err != nil {
			t.Error(err)
		}
		got <- b
	}()
	for range 2 { // the first time crypto/tls makes small records still
		raw.writes.Store(0)
		if n, err := ours.Send(text); n != len(text) || err != nil {
			t.Fatal(n, err)
		}
	}
	if b := <-got; !bytes.Equal(b[:len(text)], text) || !bytes.Equal(b[len(text):], text) {
		t.Error("what came is not what was sent")
	}
	if n := raw.writes.Load(); n > 8 { // 13 records
		t.Errorf("%d writes for 200 KiB", n)
	}
}

func TestAFailedWriteOfHeldBackRecordsIsFinal(t *testing.T) {
	client, ours, raw := secured(t)
	go func() { _, _ = io.Copy(io.Discard, client) }() // until the cleanup
	raw.fails.Store(2)
	if _, err := ours.Send(make([]byte, 100<<10)); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("the cut answer: %v", err)
	}
	raw.fails.Store(0)
	if _, err := ours.Send([]byte("more")); err == nil {
		t.Error("bytes are missing on the connection, and it takes more")
	}
}

// What the library writes for a stand-in never reaches the client of an answer of ours.
func TestTheLibrarysAnswerIsDroppedUntilTheNextRequest(t *testing.T) {
	client, ours := pair(t, Limits{})
	var requests, answers sync.WaitGroup
	requests.Go(func() {
		_, _ = io.WriteString(client, "GET /1 HTTP/1.1\r\nHost: a.test\r\n\r\nGET /2 HTTP/1.1\r\nHost: a.test\r\n\r\n")
	})
	if err := ours.Next(); err != nil || ours.Head().Target != "/1" {
		t.Fatal(err)
	}
	var got []byte
	answers.Go(func() {
		got = make([]byte, len("oursnext"))
		_, _ = io.ReadFull(client, got)
	})
	write := func(send func([]byte) (int, error), text string) {
		if n, err := send([]byte(text)); n != len(text) || err != nil {
			t.Errorf("%q: %d, %v", text, n, err)
		}
	}
	write(ours.Send, "ours")
	ours.Sent()
	write(ours.Write, "the library's")
	if err := ours.Next(); err != nil || ours.Head().Target != "/2" {
		t.Fatal(err)
	}
	write(ours.Write, "next")
	answers.Wait()
	requests.Wait()
	if string(got) != "oursnext" {
		t.Errorf("the client got %q", got)
	}
}

func TestCloseIdleSparesWhoHasARequestOnItsWay(t *testing.T) {
	const request = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
	h := newHouse(t, Options{}, nil)
	open := func(first string) (client net.Conn, ours *Conn, ended chan error) {
		client = h.dial(t, "127.0.0.1")
		ours = h.next(t).(*Conn)
		ended = make(chan error, 1)
		if first != "" {
			if _, err := io.WriteString(client, first); err != nil {
				t.Fatal(err)
			}
			if err := ours.Next(); err != nil {
				t.Fatal(err)
			}
		}
		go func() { ended <- ours.Next() }()
		return client, ours, ended
	}
	_, fresh, freshEnded := open("")
	_, idle, idleEnded := open(request)
	coming, busy, busyEnded := open(request)
	until(t, "two wait", func() bool { return fresh.idling.Load() && idle.idling.Load() })
	if _, err := io.WriteString(coming, request[:10]); err != nil {
		t.Fatal(err)
	}
	until(t, "a head is coming", busy.begun.Load)
	h.CloseIdle()
	if err := <-idleEnded; err == nil {
		t.Error("the idle connection goes on")
	}
	if _, err := io.WriteString(coming, request[10:]); err != nil {
		t.Fatal(err)
	}
	if err := <-busyEnded; err != nil {
		t.Errorf("the request that was on its way: %v", err)
	}
	select {
	case err := <-freshEnded:
		t.Errorf("a connection that brought nothing yet was ended: %v", err)
	default:
	}
	_ = fresh.Reset()
	<-freshEnded
}

// A client that has closed its TLS connection is not told goodbye: nobody reads it. One
// that has said goodbye and waits for ours is (RFC 8446 §6.1).
func TestGoodbyeIsForWhoIsThere(t *testing.T) {
	ca := edgetest.NewCA(t)
	leaf := ca.Issue(t, "a.test")
	for name, leave := range map[string]func(*tls.Conn) error{
		"gone": (*tls.Conn).Close, "waits": (*tls.Conn).CloseWrite,
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, Options{}, &tls.Config{Certificates: []tls.Certificate{leaf.TLS}, SessionTicketsDisabled: true})
			raw := h.dial(t, "127.0.0.1")
			client := tls.Client(raw, &tls.Config{ServerName: "a.test", RootCAs: ca.Pool()})
			greeted := make(chan error, 1)
			go func() { greeted <- client.Handshake() }()
			ours := h.next(t).(*TLSConn)
			if err := errors.Join(ours.Handshake(), <-greeted); err != nil {
				t.Fatal(err)
			}
			if err := leave(client); err != nil {
				t.Fatal(err)
			}
			if err := ours.Next(); !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			if name == "gone" {
				until(t, "the end has come", ours.Left)
			}
			before := ours.raw.pace.written
			if err := ours.Close(); err != nil {
				t.Error(err)
			}
			if said := ours.raw.pace.written > before; said != (name == "waits") {
				t.Errorf("goodbye: %v", said)
			}
		})
	}
}
