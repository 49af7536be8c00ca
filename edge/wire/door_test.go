package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestPerIPCapResetsOneMoreAndNobodyElse(t *testing.T) {
	h := newHouse(t, Options{PerIP: 2}, nil)
	h.dial(t, "127.0.0.2")
	first := h.next(t)
	h.dial(t, "127.0.0.2")
	h.next(t)
	h.wantRefused(t, "127.0.0.2")
	if n := h.refusals("per_ip"); n != 1 {
		t.Errorf("%d refused", n)
	}
	h.dial(t, "127.0.0.3") // another client
	h.next(t)

	first.Close()
	first.Close() // counts once
	if h.Open() != 2 {
		t.Errorf("%d open", h.Open())
	}
	h.dial(t, "127.0.0.2")
	h.next(t)
	h.wantRefused(t, "127.0.0.2")
}

func TestPerIPCapCountsIPv6BySlash64(t *testing.T) {
	h := newHouse(t, Options{PerIP: 1, Trusted: []netip.Prefix{loopback}, ProxyProtocol: true}, nil)
	announce := func(client string) error {
		fmt.Fprintf(h.dial(t, "127.0.0.1"), "PROXY TCP6 %s 2001:db8::1 1 2\r\nx", client)
		_, err := asBytes(h.next(t)).Read(make([]byte, 1))
		return err
	}
	if err := announce("2001:db8:0:1::1"); err != nil {
		t.Fatal(err)
	}
	if err := announce("2001:db8:0:1:ffff::2"); err == nil {
		t.Error("two of one /64 let in")
	}
	if err := announce("2001:db8:0:2::1"); err != nil {
		t.Errorf("another /64: %v", err)
	}
	// IPv4 in IPv6 clothes is the IPv4 client.
	if err := announce("::ffff:192.0.2.1"); err != nil {
		t.Errorf("another client: %v", err)
	}
	if err := announce("::ffff:192.0.2.2"); err != nil {
		t.Errorf("an IPv4 address is a client of its own: %v", err)
	}
	if err := announce("::ffff:192.0.2.1"); err == nil {
		t.Error("two of one IPv4 address let in")
	}
}

func TestPerIPCapExemptsTrustedProxies(t *testing.T) {
	h := newHouse(t, Options{PerIP: 1, Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.7/32")}}, nil)
	for range 5 {
		h.dial(t, "127.0.0.7")
		h.next(t)
	}
	h.dial(t, "127.0.0.8")
	h.next(t)
	h.wantRefused(t, "127.0.0.8")
}

func TestPerIPCapCountsTheAnnouncedClient(t *testing.T) {
	h := newHouse(t, Options{PerIP: 2, Trusted: []netip.Prefix{loopback}, ProxyProtocol: true}, nil)
	announce := func(client string) (proxy, ours net.Conn, err error) {
		proxy = h.dial(t, "127.0.0.1")
		fmt.Fprintf(proxy, "PROXY TCP4 %s 192.0.2.9 1 2\r\nx", client)
		ours = asBytes(h.next(t))
		_, err = ours.Read(make([]byte, 1))
		return proxy, ours, err
	}
	_, first, err := announce("192.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	_, second, err := announce("192.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	proxy, _, err := announce("192.0.2.1")
	if err == nil {
		t.Error("a third connection of one client let in")
	}
	wantReset(t, proxy)
	_, other, err := announce("192.0.2.2")
	if err != nil {
		t.Error(err)
	}
	if h.refusals("per_ip") != 1 || h.refusals("proxy_header") != 0 {
		t.Errorf("refused: %v", h.refused)
	}
	for _, conn := range []net.Conn{first, second, other} {
		conn.Close()
	}
	if n := h.peers.len(); n != 0 || h.Open() != 0 {
		t.Errorf("%d clients and %d connections after all have closed", n, h.Open())
	}
}

func TestConnectionBoundWaitsAndResumes(t *testing.T) {
	h := newHouse(t, Options{Connections: 2}, nil)
	var ours []net.Conn
	for range 2 {
		h.dial(t, "127.0.0.1")
		ours = append(ours, h.next(t))
		ours[len(ours)-1].(*Conn).raw.serving()
	}
	waits := h.dial(t, "127.0.0.1") // the kernel's backlog takes it
	until(t, "somebody waits for room", func() bool { return h.waiting.Load() == 1 })
	if len(h.came) != 0 || h.Open() != 2 {
		t.Errorf("%d came, %d open", len(h.came), h.Open())
	}
	ours[0].Close()
	third := h.next(t)
	if third.RemoteAddr().String() != waits.LocalAddr().String() {
		t.Errorf("%v came", third.RemoteAddr())
	}
	if h.refusals("per_ip")+h.refusals("shed") != 0 {
		t.Errorf("refused: %v", h.refused)
	}
}

func TestClosingAListenerWakesAnAcceptThatWaitsForRoom(t *testing.T) {
	h := newHouse(t, Options{Connections: 1}, nil)
	h.dial(t, "127.0.0.1")
	h.next(t).(*Conn).raw.serving()
	h.dial(t, "127.0.0.1")
	until(t, "somebody waits for room", func() bool { return h.waiting.Load() == 1 })
	h.ln.Close()
	until(t, "nobody waits", func() bool { return h.waiting.Load() == 0 })
}

func TestConnectionBoundIsSharedByListeners(t *testing.T) {
	h := newHouse(t, Options{Connections: 1}, nil)
	h.dial(t, "127.0.0.1")
	first := h.next(t)
	first.(*Conn).raw.serving()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	other := h.Listen(inner, nil)
	defer other.Close()
	came := make(chan net.Conn, 1)
	go func() {
		conn, err := other.Accept()
		if err != nil {
			t.Error(err)
		}
		came <- conn
	}()
	client, err := net.Dial("tcp", inner.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	until(t, "it waits", func() bool { return h.waiting.Load() == 1 })
	if len(came) != 0 {
		t.Error("let in beyond the bound")
	}
	first.Close()
	(<-came).Close()
}

func TestShedResetsNewConnections(t *testing.T) {
	var pressed atomic.Bool
	h := newHouse(t, Options{Shed: pressed.Load}, nil)
	h.dial(t, "127.0.0.1")
	kept := h.next(t)
	pressed.Store(true)
	h.wantRefused(t, "127.0.0.1")
	until(t, "it is counted out", func() bool { return h.Open() == 1 }) // the reset may be seen first
	if h.refusals("shed") != 1 {
		t.Errorf("refused: %v", h.refused)
	}
	if _, err := kept.Write([]byte("x")); err != nil {
		t.Errorf("an old connection: %v", err)
	}
	pressed.Store(false)
	h.dial(t, "127.0.0.1")
	h.next(t)
}

func TestConnectionsFollowTheDescriptorLimit(t *testing.T) {
	var limit syscall.Rlimit // Go raises the soft one to the hard one at start
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	left := limit.Cur - 128
	if got := NewDoor(Options{}).Most(); limit.Cur > 1000 && got != int(min(left-min(left/2, 4096), 1<<31-1)) {
		t.Errorf("%d connections of %d descriptors", got, limit.Cur)
	}
	if got := NewDoor(Options{Connections: 1 << 40}).Most(); limit.Cur > 1000 && limit.Cur < 1<<30 && got != int(left) {
		t.Errorf("as many as there can be: %d connections of %d descriptors", got, limit.Cur)
	}
	if d := NewDoor(Options{Connections: -1}); d.crowded() || d.Most() >= 0 {
		t.Error("a door without bound has one")
	}
}

// Where there is no room, silence makes it: connections without a request go
// first, then those that are idle between two; one that is being served stays.
func TestWaitingConnectionsMakeRoom(t *testing.T) {
	h := newHouse(t, Options{Connections: 4}, nil)
	ask := func() (client net.Conn, ours *Conn) {
		client = h.dial(t, "127.0.0.1")
		ours = h.next(t).(*Conn)
		send(t, client, get+"\r\n")
		if head, err := nextHead(t, ours); err != nil || head.Refused != nil {
			t.Fatal(err, head)
		}
		return client, ours
	}
	ask() // and is being served
	idle, ours := ask()
	ended := make(chan error, 1)
	go func() {
		_, err := ours.Read(make([]byte, 1))
		ended <- err
	}()
	var silent []net.Conn
	for range 2 {
		silent = append(silent, h.dial(t, "127.0.0.1"))
		h.next(t)
	}
	for range 2 {
		h.dial(t, "127.0.0.1")
		h.next(t).(*Conn).raw.serving()
	}
	for _, conn := range silent {
		wantReset(t, conn)
	}
	select {
	case err := <-ended:
		t.Errorf("the idle one went before the silent ones: %v", err)
	default:
	}
	h.dial(t, "127.0.0.1")
	h.next(t)
	if n, err := idle.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("the idle one: %d bytes, %v", n, err)
	}
	<-ended
	if h.refusals("crowded") != 3 || h.Open() != 4 {
		t.Errorf("refused %v, %d open", h.refused, h.Open())
	}
}

// A flood must not fill the log.
func TestRefusalsAreLoggedOnceAMinuteAndReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		d := NewDoor(Options{Log: slog.New(slog.NewTextHandler(&out, nil))})
		for range 90 {
			for _, reason := range []string{refusedPerIP, refusedShed} {
				ours, theirs := net.Pipe()
				d.refuse(d.admit(ours), reason, nil)
				theirs.Close()
			}
			time.Sleep(time.Second)
		}
		if n := strings.Count(out.String(), "reason=per_ip"); n != 2 {
			t.Errorf("%d lines in 90 seconds:\n%s", n, out.String())
		}
		if !strings.Contains(out.String(), "suppressed=59") {
			t.Errorf("the lines left out are not counted:\n%s", out.String())
		}
	})
}

// Counts stay right when connections come, are named and close all at once.
func TestCountsUnderContention(t *testing.T) {
	h := NewDoor(Options{PerIP: 50, Connections: -1})
	var clients sync.WaitGroup
	for i := range 200 {
		clients.Go(func() {
			ours, theirs := net.Pipe()
			defer theirs.Close()
			s := h.admit(ours)
			var closers sync.WaitGroup
			closers.Go(func() { s.Close() })
			closers.Go(func() { h.enter(s, netip.AddrFrom4([4]byte{192, 0, 2, byte(i % 3)})) })
			closers.Wait()
		})
	}
	clients.Wait()
	if h.Open() != 0 || h.peers.len() != 0 {
		t.Errorf("%d connections and %d clients are left", h.Open(), h.peers.len())
	}
}

func BenchmarkAcceptAndClose(b *testing.B) {
	run := func(b *testing.B, wrap func(net.Listener) net.Listener) {
		inner, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		ln := wrap(inner)
		defer ln.Close()
		b.ReportAllocs()
		for b.Loop() {
			client, err := net.Dial("tcp", inner.Addr().String())
			if err != nil {
				b.Fatal(err)
			}
			ours, err := ln.Accept()
			if err != nil {
				b.Fatal(err)
			}
			_ = client.(*net.TCPConn).SetLinger(0) // no port is used up by TIME_WAIT
			client.Close()
			ours.Close()
		}
	}
	b.Run("bare", func(b *testing.B) { run(b, func(ln net.Listener) net.Listener { return ln }) })
	b.Run("door", func(b *testing.B) {
		run(b, func(ln net.Listener) net.Listener { return NewDoor(Options{}).Listen(ln, nil) })
	})
}
