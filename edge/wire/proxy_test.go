package wire

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pires/go-proxyproto"

	"gatehouse/internal/edgetest"
)

// v2 builds a header of version 2 from command, family and what follows the length.
func v2(command, family byte, block string) string {
	head := append([]byte(nil), signatureV2...)
	head = append(head, command, family)
	return string(binary.BigEndian.AppendUint16(head, uint16(len(block)))) + block
}

const (
	block4 = "\xc0\x00\x02\x01\xc0\x00\x02\x09\x00\x50\x01\xbb" // 192.0.2.1:80 → 192.0.2.9:443
	block6 = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01" +
		"\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x50\x01\xbb"
	blockMapped = "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xc0\x00\x02\x01" +
		"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xc0\x00\x02\x09\x00\x50\x01\xbb"
)

var (
	client4 = "192.0.2.1:80"
	client6 = "[2001:db8::1]:80"
)

// Headers that are right, and what the client's address is then; "" for the peer's.
var goodHeaders = map[string]struct{ header, client string }{
	"v1 TCP4":              {"PROXY TCP4 192.0.2.1 192.0.2.9 80 443\r\n", client4},
	"v1 TCP6":              {"PROXY TCP6 2001:db8::1 2001:db8::2 80 443\r\n", client6},
	"v1 TCP6 mapped":       {"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:192.0.2.9 80 443\r\n", client4},
	"v1 UNKNOWN":           {"PROXY UNKNOWN\r\n", ""},
	"v1 UNKNOWN, longest":  {"PROXY UNKNOWN " + strings.Repeat("x", 107-14-2) + "\r\n", ""},
	"v2 TCP4":              {v2(0x21, 0x11, block4), client4},
	"v2 TCP6":              {v2(0x21, 0x21, block6), client6},
	"v2 TCP6 mapped":       {v2(0x21, 0x21, blockMapped), client4},
	"v2 with TLVs":         {v2(0x21, 0x11, block4+"\x04\x00\x02xx\x01\x00\x02h2"), client4},
	"v2 longest":           {v2(0x21, 0x11, block4+"\x04\x0f\xe1"+strings.Repeat("x", 4096-16-12-3)), client4},
	"v2 LOCAL":             {v2(0x20, 0x00, ""), ""},
	"v2 LOCAL with block":  {v2(0x20, 0x11, block4), ""},
	"v2 LOCAL, odd length": {v2(0x20, 0x11, "xyz"), ""},
	"v2 UNSPEC":            {v2(0x21, 0x00, "xyz"), ""},
	"v2 unix":              {v2(0x21, 0x31, strings.Repeat("\x00", 216)), ""},
	"none":                 {"", ""},
}

// Headers that are wrong, the library's leniencies among them.
var badHeaders = map[string]string{
	"v1 LF alone":             "PROXY TCP4 192.0.2.1 192.0.2.9 80 443\n",
	"v1 CR inside":            "PROXY TCP4 192.0.2.1\r192.0.2.9 80 443\r\n",
	"v1 UNKNOWN, CR inside":   "PROXY UNKNOWN \rx\r\n",
	"v1 too long":             "PROXY UNKNOWN " + strings.Repeat("x", 107-14-1) + "\r\n",
	"v1 no end":               "PROXY " + strings.Repeat("x", 200),
	"v1 two spaces":           "PROXY  TCP4 192.0.2.1 192.0.2.9 80 443\r\n",
	"v1 trailing space":       "PROXY TCP4 192.0.2.1 192.0.2.9 80 443 \r\n",
	"v1 lower case":           "PROXY tcp4 192.0.2.1 192.0.2.9 80 443\r\n",
	"v1 family 6, address 4":  "PROXY TCP6 192.0.2.1 192.0.2.9 80 443\r\n",
	"v1 family 4, address 6":  "PROXY TCP4 2001:db8::1 2001:db8::2 80 443\r\n",
	"v1 leading zero":         "PROXY TCP4 192.0.2.01 192.0.2.9 80 443\r\n",
	"v1 zone":                 "PROXY TCP6 fe80::1%lo fe80::2 80 443\r\n",
	"v1 port out of range":    "PROXY TCP4 192.0.2.1 192.0.2.9 65536 443\r\n",
	"v1 port, leading zero":   "PROXY TCP4 192.0.2.1 192.0.2.9 080 443\r\n",
	"v1 port, sign":           "PROXY TCP4 192.0.2.1 192.0.2.9 +80 443\r\n",
	"v1 port missing":         "PROXY TCP4 192.0.2.1 192.0.2.9 80\r\n",
	"v1 a request":            "PROXY / HTTP/1.1\r\n\r\n",
	"v2 version 1":            v2(0x11, 0x11, block4),
	"v2 command 2":            v2(0x22, 0x11, block4),
	"v2 block too short":      v2(0x21, 0x11, block4[:11]),
	"v2 family 6, block of 4": v2(0x21, 0x21, block4),
	"v2 datagram":             v2(0x21, 0x12, block4),
	"v2 unix datagram":        v2(0x21, 0x32, strings.Repeat("\x00", 216)),
	"v2 undefined family":     v2(0x21, 0x41, block4),
	"v2 undefined transport":  v2(0x21, 0x13, block4),
	"v2 too long":             v2(0x21, 0x11, block4+"\x04\x0f\xe2"+strings.Repeat("x", 4096-16-12-2)),
	"v2 TLV cut":              v2(0x21, 0x11, block4+"\x01\x00"),
	"v2 TLV beyond the end":   v2(0x21, 0x11, block4+"\x01\x00\x05h2"),
}

var believing = Options{Trusted: []netip.Prefix{loopback}, ProxyProtocol: true}

func send(t *testing.T, conn net.Conn, s string) {
	t.Helper()
	if _, err := io.WriteString(conn, s); err != nil {
		t.Fatal(err)
	}
}

func TestPROXYHeaderNamesTheClient(t *testing.T) {
	h := newHouse(t, believing, nil)
	const request = "POST / HTTP/1.1\r\n\r\nbody"
	for name, c := range goodHeaders {
		for _, way := range []string{"at once", "byte by byte", "apart"} {
			proxy := h.dial(t, "127.0.0.1")
			switch way {
			case "at once":
				send(t, proxy, c.header+request)
			case "apart":
				send(t, proxy, c.header)
			}
			ours := asBytes(h.next(t))
			switch way {
			case "byte by byte":
				go func() {
					for i := range len(c.header) + len(request) {
						_, _ = io.WriteString(proxy, (c.header + request)[i:i+1])
					}
				}()
			case "apart":
				go func() { _, _ = io.WriteString(proxy, request) }()
			}
			got := make([]byte, len(request))
			if _, err := io.ReadFull(ours, got); err != nil || string(got) != request {
				t.Errorf("%s, %s: read %q, %v", name, way, got, err)
			}
			client, local := proxy.LocalAddr().String(), proxy.RemoteAddr().String()
			if c.client != "" {
				client, local = c.client, strings.NewReplacer("1:80", "9:443", "::1]:80", "::2]:443").Replace(c.client)
			}
			if ours.RemoteAddr().String() != client || c.client == "" && ours.LocalAddr().String() != local {
				t.Errorf("%s, %s: from %v to %v", name, way, ours.RemoteAddr(), ours.LocalAddr())
			}
			if c.client != "" && ours.LocalAddr().(*net.TCPAddr).Port != 443 {
				t.Errorf("%s, %s: to %v", name, way, ours.LocalAddr())
			}
			proxy.Close()
			if n, err := ours.Read(got); n != 0 || !errors.Is(err, io.EOF) {
				t.Errorf("%s, %s: at the end %d bytes, %v", name, way, n, err)
			}
			ours.Close()
		}
	}
	if len(h.refused) != 0 {
		t.Errorf("refused: %v", h.refused)
	}
}

func TestMalformedPROXYHeaderIsReset(t *testing.T) {
	h := newHouse(t, believing, nil)
	n := 0
	for name, header := range badHeaders {
		proxy := h.dial(t, "127.0.0.1")
		send(t, proxy, header+"GET / HTTP/1.1\r\n\r\n")
		ours := asBytes(h.next(t))
		got, err := ours.Read(make([]byte, 10))
		if got != 0 || !errors.Is(err, errHeader) {
			t.Errorf("%s: %d bytes, %v", name, got, err)
		}
		if _, again := ours.Read(make([]byte, 10)); again == nil {
			t.Errorf("%s: a second read succeeds", name)
		}
		wantReset(t, proxy)
		if n++; h.refusals("proxy_header") != n {
			t.Errorf("%s: counted %d times instead of %d", name, h.refusals("proxy_header"), n)
		}
	}
	if h.Open() != 0 {
		t.Errorf("%d open", h.Open())
	}
}

// What only looks like a header's beginning is the client's.
func TestBytesThatAreNoPROXYHeaderAreTheClients(t *testing.T) {
	h := newHouse(t, believing, nil)
	for _, s := range []string{"P", "PRO", "PROXYING / HTTP/1.1\r\n\r\n", "\r\n\r\nGET / HTTP/1.1\r\n\r\n", "\r\n", "\x16\x03\x01", "PROPFIND / HTTP/1.1\r\n\r\n"} {
		proxy := h.dial(t, "127.0.0.1")
		send(t, proxy, s)
		_ = proxy.(*net.TCPConn).CloseWrite()
		if got, err := io.ReadAll(asBytes(h.next(t))); err != nil || string(got) != s {
			t.Errorf("%q: read %q, %v", s, got, err)
		}
	}
}

// Whoever is no trusted proxy must not name himself.
func TestPROXYHeaderOfOthersIsBytes(t *testing.T) {
	const header = "PROXY TCP4 192.0.2.1 192.0.2.9 80 443\r\n"
	for name, o := range map[string]Options{
		"untrusted": {Trusted: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, ProxyProtocol: true},
		"off":       {Trusted: []netip.Prefix{loopback}},
	} {
		h := newHouse(t, o, nil)
		client := h.dial(t, "127.0.0.1")
		send(t, client, header)
		ours := asBytes(h.next(t))
		got := make([]byte, len(header))
		if _, err := io.ReadFull(ours, got); err != nil || string(got) != header {
			t.Errorf("%s: read %q, %v", name, got, err)
		}
		if ours.RemoteAddr().String() != client.LocalAddr().String() {
			t.Errorf("%s: from %v", name, ours.RemoteAddr())
		}
	}
}

func TestPROXYHeaderComesBeforeTLS(t *testing.T) {
	ca := edgetest.NewCA(t)
	leaf := ca.Issue(t, "shop.test")
	var seen string // by the handshake
	h := newHouse(t, believing, &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		seen = hello.Conn.RemoteAddr().String()
		return &leaf.TLS, nil
	}})
	for _, header := range []string{"PROXY TCP4 192.0.2.1 192.0.2.9 80 443\r\n", v2(0x21, 0x11, block4), ""} {
		proxy := h.dial(t, "127.0.0.1")
		send(t, proxy, header)
		done := make(chan error, 1)
		go func() {
			client := tls.Client(proxy, &tls.Config{RootCAs: ca.Pool(), ServerName: "shop.test"})
			_, err := client.Write([]byte("hello"))
			done <- err
		}()
		ours := h.next(t).(*TLSConn)
		if err := ours.Handshake(); err != nil {
			t.Fatal(err)
		}
		ours.Tunnel()
		got := make([]byte, 5)
		if _, err := io.ReadFull(ours, got); err != nil || string(got) != "hello" {
			t.Errorf("%q: read %q, %v", header, got, err)
		}
		want := client4
		if header == "" {
			want = proxy.LocalAddr().String()
		}
		if ours.RemoteAddr().String() != want || seen != want {
			t.Errorf("%q: from %v, in the handshake %v", header, ours.RemoteAddr(), seen)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	proxy := h.dial(t, "127.0.0.1")
	send(t, proxy, badHeaders["v1 LF alone"])
	if err := h.next(t).(*TLSConn).Handshake(); !errors.Is(err, errHeader) {
		t.Errorf("malformed: %v", err)
	}
	wantReset(t, proxy)
}

// A header that trickles ends HandshakeTimeout after its first byte; a proxy that
// sends nothing has the time that the reader allows.
func TestSlowPROXYHeaderIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, ours := pipe(t, Options{Limits: Limits{Handshake: 5 * time.Second}})
		ours.early.Store(true)
		_ = ours.SetReadDeadline(time.Now().Add(time.Minute))
		var sender sync.WaitGroup
		defer sender.Wait()
		sender.Go(func() {
			time.Sleep(20 * time.Second)
			for _, b := range []byte("PROXY TCP4 ") {
				if _, err := client.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		})
		begin := time.Now()
		_, err := ours.Read(make([]byte, 1))
		if took := time.Since(begin); !errors.Is(err, os.ErrDeadlineExceeded) || took != 25*time.Second {
			t.Errorf("%v after %v", err, took)
		}
		if ours.door.Open() != 0 {
			t.Error("still open")
		}
	})
	synctest.Test(t, func(t *testing.T) {
		client, ours := pipe(t, Options{Limits: Limits{Handshake: 5 * time.Second}})
		ours.early.Store(true)
		_ = ours.SetReadDeadline(time.Now().Add(time.Minute))
		begin := time.Now()
		_, err := ours.Read(make([]byte, 1))
		if took := time.Since(begin); !errors.Is(err, os.ErrDeadlineExceeded) || took != time.Minute {
			t.Errorf("%v after %v", err, took)
		}
		// That was no header's fault: the reader may try again, and later deadlines hold.
		_ = ours.SetReadDeadline(time.Now().Add(time.Minute))
		go func() {
			_, _ = client.Write([]byte("PROXY UNKNOWN\r\n"))
			time.Sleep(30 * time.Second)
			_, _ = client.Write([]byte("x"))
		}()
		if n, err := ours.Read(make([]byte, 1)); n != 1 || err != nil {
			t.Errorf("%d bytes, %v: the header's deadline outlived it", n, err)
		}
	})
}

// The header is no second helping of time.
func TestHandshakeTimeoutIncludesThePROXYHeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, s := pipe(t, Options{})
		s.early.Store(true)
		ours := s.door.Listen(nil, &tls.Config{}).wrap(s).(*TLSConn)
		go func() {
			time.Sleep(6 * time.Second)
			_, _ = client.Write([]byte("PROXY UNKNOWN\r\n"))
		}()
		begin := time.Now()
		err := ours.Handshake()
		if took := time.Since(begin); !errors.Is(err, os.ErrDeadlineExceeded) || took != 10*time.Second {
			t.Errorf("%v after %v", err, took)
		}
	})
}

// portion is a connection that hands out its bytes in reads of a given size.
type portion struct {
	net.Conn
	data *bytes.Reader
	size int
}

func (p *portion) Read(b []byte) (int, error)      { return p.data.Read(b[:min(len(b), p.size)]) }
func (p *portion) SetReadDeadline(time.Time) error { return nil }
func (p *portion) RemoteAddr() net.Addr            { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }
func (p *portion) Close() error                    { return nil }

// FuzzProxyHeader: whatever is accepted announces addresses that a header of ours
// announces too, and what follows it is there to the byte.
func FuzzProxyHeader(f *testing.F) {
	for _, c := range goodHeaders {
		f.Add([]byte(c.header+"GET / HTTP/1.1\r\n\r\n"), 1000)
		f.Add([]byte(c.header), 1)
	}
	for _, header := range badHeaders {
		f.Add([]byte(header), 7)
	}
	f.Fuzz(func(t *testing.T, data []byte, size int) {
		s := NewDoor(believing).admit(&portion{data: bytes.NewReader(data), size: max(size, 1)})
		got, err := io.ReadAll(s)
		if err != nil {
			if len(got) != 0 || s.door.Open() != 0 {
				t.Fatalf("refused (%v), but %d bytes were read and %d are open", err, len(got), s.door.Open())
			}
			return
		}
		header := data[:len(data)-len(got)]
		if !bytes.Equal(data[len(header):], got) {
			t.Fatalf("read %q of %q", got, data)
		}
		wantHeader(t, data, header, s.named.Load())
	})
}

// wantHeader compares what was taken as a header with what the format says.
func wantHeader(t *testing.T, data, taken []byte, named *header) {
	t.Helper()
	switch {
	case bytes.HasPrefix(data, signatureV2):
		if want := 16 + int(binary.BigEndian.Uint16(data[14:])); len(taken) != want {
			t.Fatalf("took %d bytes of a header of %d", len(taken), want)
		}
	case bytes.HasPrefix(data, signatureV1):
		if want := bytes.Index(data, []byte("\r\n")) + 2; len(taken) != want || want > 107 {
			t.Fatalf("took %d bytes of a line of %d", len(taken), want)
		}
	case len(taken) != 0:
		t.Fatalf("took %q", taken)
	}
	if named == nil {
		return
	}
	again := proxyproto.HeaderProxyFromAddrs(2, named.source, named.destination)
	b, err := again.Format()
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := parseHeader(b)
	if err != nil {
		t.Fatal(err)
	}
	if parsed.source.String() != named.source.String() || parsed.destination.String() != named.destination.String() {
		t.Fatalf("%v to %v became %v to %v", named.source, named.destination, parsed.source, parsed.destination)
	}
}

// A load balancer that is missing in trusted_proxies is what an operator looks
// for when every request is a 400, or every handshake fails.
func TestPROXYHeaderOfAnUntrustedPeerIsSaid(t *testing.T) {
	ca := edgetest.NewCA(t)
	config := &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, "a.test").TLS}}
	const line = "PROXY header from a peer that is not in trusted_proxies"
	for name, tc := range map[string]struct {
		first  string
		config *tls.Config
		off    bool
		said   bool
	}{
		"v1":                  {first: "PROXY TCP4 192.0.2.1 192.0.2.9 80 443\r\n" + get + "\r\n", said: true},
		"v2":                  {first: v2(0x21, 0x11, block4) + get + "\r\n", said: true},
		"v1 before TLS":       {first: "PROXY TCP4 192.0.2.1 192.0.2.9 80 443\r\n", config: config, said: true},
		"v2 before TLS":       {first: v2(0x21, 0x11, block4), config: config, said: true},
		"switched off":        {first: "PROXY TCP4 192.0.2.1 192.0.2.9 80 443\r\n" + get + "\r\n", off: true},
		"a method PROXY":      {first: "PROXY / HTTP/1.1\r\nX A: b\r\n\r\n"},
		"another bad line":    {first: "GET /\r\n\r\n"},
		"no TLS, and no HTTP": {first: "garbage garbage\r\n", config: config},
	} {
		t.Run(name, func(t *testing.T) {
			var out edgetest.Output
			var failed atomic.Int32
			h := newHouse(t, Options{
				ProxyProtocol: !tc.off, Trusted: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
				Log:             slog.New(slog.NewTextHandler(&out, nil)),
				HandshakeFailed: func(error) { failed.Add(1) },
			}, tc.config)
			for range 2 { // the second line would come within the minute
				client := h.dial(t, "127.0.0.1")
				send(t, client, tc.first)
				switch ours := h.next(t).(type) {
				case *TLSConn:
					if ours.Handshake() == nil {
						t.Fatal("a handshake of nothing")
					}
				case *Conn:
					if head, err := nextHead(t, ours); err != nil || head.Refused == nil {
						t.Fatal(err, head)
					}
				}
			}
			if got := strings.Count(out.String(), line); got != map[bool]int{true: 1}[tc.said] {
				t.Errorf("said %d times:\n%s", got, out.String())
			}
			if tc.said && !strings.Contains(out.String(), "peer=127.0.0.1:") {
				t.Errorf("the peer is missing:\n%s", out.String())
			}
			if want := map[bool]int32{true: 2}[tc.config != nil]; failed.Load() != want {
				t.Errorf("%d handshakes failed, want %d", failed.Load(), want)
			}
		})
	}
}
