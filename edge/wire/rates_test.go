package wire

import (
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/internal/edgetest"
)

func TestRatesAllowSoManyAtOnceAndThenSoManyASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRates(5)
		client := netip.MustParseAddr("192.0.2.1")
		burst := func() (n int) {
			for range 20 {
				if r.take(client, time.Now()) {
					n++
				}
			}
			return n
		}
		for _, c := range []struct {
			after time.Duration
			want  int
		}{{0, 5}, {0, 0}, {200 * time.Millisecond, 1}, {400 * time.Millisecond, 2}, {time.Minute, 5}} {
			time.Sleep(c.after)
			if n := burst(); n != c.want {
				t.Errorf("after %v: %d taken, want %d", c.after, n, c.want)
			}
		}
		if !r.take(netip.MustParseAddr("192.0.2.2"), time.Now()) {
			t.Error("one client's handshakes count for another")
		}
	})
}

func TestRateOfOneASecond(t *testing.T) {
	r, client, now := newRates(1), netip.MustParseAddr("192.0.2.1"), time.Now()
	if !r.take(client, now) || r.take(client, now.Add(900*time.Millisecond)) || !r.take(client, now.Add(time.Second)) {
		t.Error("not one a second")
	}
}

// Made-up clients (whole IPv6 networks are cheap) neither fill the memory nor free the
// one that owes.
func TestAttackManyClientsDoNotFillTheRates(t *testing.T) {
	r, now := newRates(10), time.Now()
	guilty := netip.MustParseAddr("2001:db8::")
	for range 10 {
		r.take(guilty, now)
	}
	for i := range 4 * shardCount * ratesPerShard {
		var a [16]byte
		binary.BigEndian.PutUint64(a[:], 0x2002<<48|uint64(i))
		if !r.take(netip.AddrFrom16(a), now) {
			t.Fatal("a client is refused at its first handshake")
		}
	}
	if n := r.len(); n > shardCount*ratesPerShard {
		t.Errorf("%d clients are remembered", n)
	}
	if r.take(guilty, now) {
		t.Error("a client that owed was forgotten before those that owed less")
	}
}

func TestTooManyHandshakesAreReset(t *testing.T) {
	leaf := edgetest.NewCA(t).Issue(t, "a.test")
	config := &tls.Config{Certificates: []tls.Certificate{leaf.TLS}}
	failed := make(chan error, 10)
	h := newHouse(t, Options{HandshakesPerIP: 2, HandshakeFailed: func(err error) { failed <- err }}, config)
	shake := func(from string) error {
		raw := h.dial(t, from)
		ours := h.next(t).(*TLSConn)
		done := make(chan error, 1)
		go func() { done <- ours.Handshake() }()
		client := tls.Client(raw, &tls.Config{ServerName: "a.test", InsecureSkipVerify: true}) //nolint:gosec // not what is tested
		err := client.Handshake()
		<-done
		ours.Close()
		return err
	}
	for _, c := range []struct {
		from string
		ok   bool
	}{{"127.0.0.1", true}, {"127.0.0.1", true}, {"127.0.0.1", false}, {"127.0.0.2", true}} {
		if err := shake(c.from); (err == nil) != c.ok {
			t.Errorf("from %s: %v", c.from, err)
		}
	}
	if n := h.refusals(refusedHello); n != 1 {
		t.Errorf("%d refusals are counted", n)
	}
	if len(failed) != 0 {
		t.Errorf("a refused handshake counts as failed: %v", <-failed)
	}
}

// The rate is decided before a byte of the hello is looked at.
func TestTooManyHandshakesAreResetBeforeTheHello(t *testing.T) {
	h := newHouse(t, Options{HandshakesPerIP: 1}, &tls.Config{})
	for i := range 2 {
		raw := h.dial(t, "127.0.0.1")
		ours := h.next(t).(*TLSConn)
		done := make(chan error, 1)
		go func() { done <- ours.Handshake() }()
		if i == 1 { // which sends nothing
			if err := <-done; err != errHellos {
				t.Errorf("%v", err)
			}
			if _, err := raw.Read(make([]byte, 1)); err == nil || err == io.EOF {
				t.Errorf("the client sees %v, want a reset", err)
			}
			return
		}
		raw.Close()
		<-done
	}
}

func TestHandshakesOfTrustedPeersAreNotCountedButThoseOfWhomTheyName(t *testing.T) {
	h := newHouse(t, Options{HandshakesPerIP: 1, Trusted: []netip.Prefix{loopback}, ProxyProtocol: true}, &tls.Config{})
	for _, c := range []struct {
		header  string
		refused bool
	}{
		{"", false},
		{"", false},
		{"PROXY TCP4 192.0.2.7 192.0.2.1 1000 443\r\n", false},
		{"PROXY TCP4 192.0.2.7 192.0.2.1 1001 443\r\n", true},
		{"PROXY TCP6 2001:db8::1 2001:db8::2 1000 443\r\n", false},
		{"PROXY TCP6 2001:db8::1:1 2001:db8::2 1001 443\r\n", true}, // the same /64
	} {
		raw := h.dial(t, "127.0.0.1")
		ours := h.next(t).(*TLSConn)
		done := make(chan error, 1)
		go func() { done <- ours.Handshake() }()
		if _, err := io.WriteString(raw, c.header); err != nil {
			t.Fatal(err)
		}
		if err := raw.(*net.TCPConn).CloseWrite(); err != nil && !c.refused {
			t.Fatal(err)
		}
		if err := <-done; (err == errHellos) != c.refused {
			t.Errorf("%q: %v", c.header, err)
		}
		ours.Close()
	}
}

func BenchmarkRates(b *testing.B) {
	r, now := newRates(1000), time.Now()
	b.ReportAllocs()
	var a [16]byte
	for i := 0; b.Loop(); i++ {
		binary.BigEndian.PutUint64(a[:], 0x2002<<48|uint64(i))
		r.take(netip.AddrFrom16(a), now)
	}
}
