package wire

import (
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/internal/edgetest"
)

// Each test here is named after what was broken once.

// A halfPipe is one end of a connection in memory whose ends close their halves on
// their own, as TCP's do.
type halfPipe struct {
	net.Conn          // what is written
	in       net.Conn // what is read
}

func halfPipes(t *testing.T) (client, ours *halfPipe) {
	up, fromClient := net.Pipe()
	fromUs, down := net.Pipe()
	client, ours = &halfPipe{Conn: up, in: fromUs}, &halfPipe{Conn: down, in: fromClient}
	t.Cleanup(func() { client.Close(); ours.Close() })
	return client, ours
}

func (h *halfPipe) Read(p []byte) (int, error)        { return h.in.Read(p) }
func (h *halfPipe) SetReadDeadline(t time.Time) error { return h.in.SetReadDeadline(t) }
func (h *halfPipe) SetWriteDeadline(t time.Time) error {
	_ = h.Conn.SetWriteDeadline(t) // of a closed half it fails, which TCP's does not
	return nil
}
func (h *halfPipe) CloseWrite() error { return h.Conn.Close() }
func (h *halfPipe) Close() error      { return errors.Join(h.Conn.Close(), h.in.Close()) }

func (h *halfPipe) SetDeadline(t time.Time) error {
	return errors.Join(h.SetReadDeadline(t), h.SetWriteDeadline(t))
}

// A bomb is a connection whose Read panics once its bytes are out.
type bomb struct{ *tape }

func (b bomb) Read(p []byte) (int, error) {
	if b.at == len(b.in) {
		panic("a bug in a reader")
	}
	return b.tape.Read(p)
}

func (bomb) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1} }

// primed makes a bomb our end of a connection. What it logs is in the Output.
func primed(in string) (*Conn, *edgetest.Output) {
	log := &edgetest.Output{}
	d := NewDoor(Options{PerIP: -1, Connections: -1, Log: slog.New(slog.NewTextHandler(log, nil))})
	return newConn(d.admit(bomb{&tape{in: []byte(in), piece: 10}}), nil).(*Conn), log
}

func wantStack(t *testing.T, log *edgetest.Output, parts ...string) {
	t.Helper()
	for _, part := range append(parts, "a bug in a reader", "stack=", "goroutine ", "192.0.2.1") {
		if got := log.String(); !strings.Contains(got, part) {
			t.Errorf("the log does not have %q: %.300s", part, got)
		}
	}
}

func TestPanicInAHeadEndsTheProcess(t *testing.T) {
	c, log := primed("GET / HTTP/1.1\r\nHost:")
	h, err := nextHead(t, c)
	if err != nil || h.Refused == nil || h.Refused.Status != 500 || !h.Last {
		t.Errorf("%+v, %v", h, err)
	}
	wantStack(t, log, "panic while reading a head")
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("the connection goes on")
	}
}

func TestPanicBeforeAHeadEndsTheProcess(t *testing.T) {
	c, log := primed("")
	if h, err := nextHead(t, c); err == nil {
		t.Errorf("%+v", h)
	}
	wantStack(t, log, "panic while reading a request")
	if n := c.raw.door.Open(); n != 0 {
		t.Errorf("%d open", n)
	}
}

func TestPanicInATunnelEndsTheProcess(t *testing.T) {
	c, log := primed("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nab")
	if h, err := nextHead(t, c); err != nil || h.Refused != nil {
		t.Fatal(err, h)
	}
	c.Tunnel()
	if got, err := io.ReadAll(c); err == nil || string(got) != "ab" {
		t.Errorf("%q, %v", got, err)
	}
	wantStack(t, log)
}

// What follows a body and is no request may be the bytes of an old client that
// ends each body with CRLF.
const crlfBehind = "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\n\r\na\r\n"

func TestStrayCRLFBehindABodyGetsAnAnswer(t *testing.T) {
	for _, missing := range []string{"", "\n"} {
		for _, piece := range []int{1, 1 << 10} {
			_, c := play([]byte(strings.TrimSuffix(crlfBehind, missing)), piece, Limits{})
			if h, err := nextHead(t, c); err != nil || h.Refused != nil {
				t.Fatal(err, h)
			}
			if _, err := io.ReadAll(c.Body()); err != nil {
				t.Fatal(err)
			}
			if h, err := nextHead(t, c); !errors.Is(err, io.EOF) {
				t.Errorf("without %q, pieces of %d: the library is given a request: %+v, %v", missing, piece, h, err)
			}
		}
	}
}

// A connection on which a stray CRLF has come is idle like any: no answer, the
// same time, its next request is one, and the drain may close it.
func TestIdleConnectionWithAStrayCRLFIsNoRequest(t *testing.T) {
	for name, tc := range map[string]struct {
		late, busy time.Duration // when the CRLF comes; how long the answer takes
	}{"with the body": {}, "late": {late: time.Second}, "with the body of a slow answer": {busy: 50 * time.Second}} {
		for _, end := range []string{"idle", "next", "half", "close"} {
			t.Run(name+"/"+end, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { strayThen(t, end, tc.late, tc.busy) })
			})
		}
	}
}

func strayThen(t *testing.T, end string, late, busy time.Duration) {
	client, ours := pair(t, Limits{})
	go func() {
		request := crlfBehind
		if late > 0 {
			request = strings.TrimSuffix(request, "\r\n")
		}
		_, _ = io.WriteString(client, request)
		if late > 0 {
			time.Sleep(busy + late)
			_, _ = io.WriteString(client, "\r\n")
		}
	}()
	if h, err := nextHead(t, ours); err != nil || h.Refused != nil {
		t.Fatal(err, h)
	}
	if _, err := io.ReadAll(ours.Body()); err != nil {
		t.Fatal(err)
	}
	time.Sleep(busy)
	begin := time.Now()
	switch end {
	case "next":
		time.AfterFunc(40*time.Second, func() { _, _ = io.WriteString(client, "GET /next HTTP/1.1\r\nHost: a.test\r\n\r\n") })
	case "half": // the drain leaves it alone
		time.AfterFunc(40*time.Second, func() {
			_, _ = io.WriteString(client, "GET /ne")
			time.Sleep(2 * time.Second)
			_, _ = io.WriteString(client, "xt HTTP/1.1\r\nHost: a.test\r\n\r\n")
		})
		time.AfterFunc(41*time.Second, func() { ours.Close() })
	case "close":
		time.AfterFunc(40*time.Second, func() { ours.Close() })
	}
	h, err := nextHead(t, ours)
	took := time.Since(begin)
	switch end {
	case "idle":
		if err == nil || took < 75*time.Second || took > 75*time.Second+late {
			t.Errorf("%+v, %v after %v", h, err, took)
		}
	case "next", "half":
		if err != nil || h.Refused != nil || h.Target != "/next" {
			t.Errorf("%+v, %v after %v", h, err, took)
		}
	case "close":
		if err == nil || took != 40*time.Second {
			t.Errorf("%+v, %v after %v: the drain cannot close it", h, err, took)
		}
	}
}

// The drain closes idle connections, and only those: half a head is a request.
func TestCloseCutsAHeadThatIsComing(t *testing.T) {
	const request = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
	for _, cut := range []int{1, 20, len(request) - 1} {
		synctest.Test(t, func(t *testing.T) {
			client, ours := pair(t, Limits{})
			go func() {
				_, _ = io.WriteString(client, request[:cut])
				time.Sleep(2 * time.Second)
				_, _ = io.WriteString(client, request[cut:])
			}()
			time.AfterFunc(time.Second, func() { ours.Close() })
			if h, err := nextHead(t, ours); err != nil || h.Refused != nil {
				t.Fatal(cut, err, h)
			}
			time.AfterFunc(time.Second, func() { ours.Close() })
			if h, err := nextHead(t, ours); err == nil {
				t.Errorf("an idle connection stays: %+v", h)
			}
		})
	}
}

// A client whose head took too long has had its time: it is not waited for much
// longer, whether it is silent or goes on.
func TestSlowHeadIsHeldAfterItsTime(t *testing.T) {
	for _, pause := range []time.Duration{time.Hour, 100 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			client, raw := halfPipes(t)
			ours := newConn(openDoor(Limits{}).admit(raw), nil).(*Conn)
			var sender sync.WaitGroup
			defer sender.Wait()
			defer client.Close()
			sender.Go(func() { drip(client, "a", pause) })
			begin := time.Now()
			if h, err := nextHead(t, ours); err != nil || h.Refused == nil || h.Refused.Status != 408 {
				t.Fatal(err, h)
			}
			ours.Linger()
			if err := ours.Close(); err != nil {
				t.Error(err)
			}
			if took := time.Since(begin); took > 12*time.Second {
				t.Errorf("pause %v: closed after %v", pause, took)
			}
		})
	}
}

// Without a least rate an upload may be as slow as it likes, but not stop.
func TestSilentUploadWithoutARateStays(t *testing.T) {
	for name, tc := range map[string]struct {
		pause time.Duration
		cut   bool
	}{"silent": {time.Hour, true}, "a byte every 20 s": {20 * time.Second, false}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, took, err := upload(t, func(client net.Conn) {
					for range 10 {
						_, _ = client.Write([]byte("a"))
						time.Sleep(tc.pause)
					}
				}, Limits{MinRate: -1})
				least, most := 30*time.Second, 31*time.Second
				if !tc.cut { // until it stops
					least, most = 9*20*time.Second, 9*20*time.Second+31*time.Second
				}
				if !isStatus(err, 408) || took < least || took > most {
					t.Errorf("%d bytes, %v after %v", n, err, took)
				}
			})
		})
	}
}

// A download without a least rate is cut after Stall, also over TCP.
func TestStoppedReaderWithoutARateStays(t *testing.T) {
	t.Parallel()
	h, client, ours := overTCP(t, Options{Limits: Limits{Stall: time.Second, MinRate: -1}})
	if took, err := write(ours, 8<<20); !errors.Is(err, errStalled) || took < time.Second {
		t.Errorf("%v after %v", err, took)
	}
	if h.Open() != 0 {
		t.Errorf("%d open", h.Open())
	}
	if _, err := io.Copy(io.Discard, client); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client of a cut answer sees %v", err)
	}
}

// A connection that was accepted is nobody else's to serve: it may have waited for
// room when the listener closed.
func TestConnectionThatWaitsForRoomIsLostAtClose(t *testing.T) {
	h := newHouse(t, Options{Connections: 1}, nil)
	h.dial(t, "127.0.0.1")
	h.next(t).(*Conn).raw.serving()
	waits := h.dial(t, "127.0.0.1")
	send(t, waits, "GET /waited HTTP/1.1\r\nHost: a.test\r\n\r\n")
	until(t, "somebody waits for room", func() bool { return h.waiting.Load() == 1 })
	h.ln.Close()
	if head, err := nextHead(t, h.next(t).(*Conn)); err != nil || head.Target != "/waited" {
		t.Errorf("%+v, %v", head, err)
	}
}

// What goes back to the pool has nothing of a client in it, and no large buffer.
func TestPoolKeepsAClientsBytes(t *testing.T) {
	for name, in := range map[string]string{
		"small": "GET /secret HTTP/1.1\r\nHost: secret.test\r\nAuthorization: secret\r\n\r\n",
		"large": "GET /secret-" + strings.Repeat("x", 20000) + " HTTP/1.1\r\nHost: secret.test\r\nAuthorization: secret\r\n\r\n",
		"body":  "POST /secret HTTP/1.1\r\nHost: secret.test\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nsecret\r\n0\r\nX: secret\r\n\r\n",
	} {
		_, c := play([]byte(in), 1<<20, Limits{Target: 30000})
		h, err := nextHead(t, c)
		if err != nil || h.Refused != nil {
			t.Fatal(name, err, h)
		}
		if _, err := io.ReadAll(c.Body()); err != nil {
			t.Fatal(name, err)
		}
		m := c.msg
		if _, err := nextHead(t, c); !errors.Is(err, io.EOF) || c.msg != nil {
			t.Fatal(name, err, c.msg)
		}
		if len(m.buf) != firstBuffer || strings.Trim(string(m.buf), "\x00") != "" {
			t.Errorf("%s: a buffer of %d bytes with %.100q", name, len(m.buf), strings.Trim(string(m.buf), "\x00"))
		}
		if p := m.parser; m.head.Target != "" || m.head.Host != "" || m.head.Method != "" || p.target != nil || p.limits != nil {
			t.Errorf("%s: %+v, %+v", name, m.head, p)
		}
		for _, f := range m.head.Fields[:cap(m.head.Fields)] {
			if f.Name != nil || f.Value != nil {
				t.Errorf("%s: field %s: %s", name, f.Name, f.Value)
			}
		}
	}
}

// Bounds that make no sense stand for the default, and nothing overflows: whole
// lines and partial ones are judged alike.
func TestNonsenseLimitsRefuseEveryRequest(t *testing.T) {
	const huge = 1<<63 - 1
	for name, tc := range map[string]struct {
		limits Limits
		target int // bytes
		status int // 0: let in
	}{
		"negative":                 {Limits{Target: -1, Header: -1, HeaderFields: -1}, 8 << 10, 0},
		"negative, target longer":  {Limits{Target: -1, Header: -1}, 8<<10 + 1, 414},
		"huge":                     {Limits{Target: huge, Header: huge}, 100 << 10, 0},
		"huge target":              {Limits{Target: huge}, 30 << 10, 0},
		"huge target, long target": {Limits{Target: huge}, 32<<10 + 1, 414},
		"target above header":      {Limits{Target: 1 << 20, Header: 1 << 10}, 1<<10 + 1, 414},
	} {
		for _, piece := range []int{1 << 20, 50} {
			in := "GET /" + strings.Repeat("a", tc.target-1) + " HTTP/1.1\r\nHost: a.test\r\n\r\n"
			_, c := play([]byte(in), piece, tc.limits)
			h, err := nextHead(t, c)
			if err != nil || (h.Refused == nil) != (tc.status == 0) || h.Refused != nil && h.Refused.Status != tc.status {
				t.Errorf("%s, pieces of %d: %v, %v", name, piece, h.Refused, err)
			}
		}
	}
	for _, d := range []time.Duration{0, -1} { // of times, too, only the default makes sense
		l := Limits{Handshake: d, HeaderTime: d, Idle: d, Stall: d}.withDefaults()
		if l.Handshake <= 0 || l.HeaderTime <= 0 || l.Idle <= 0 || l.Stall <= 0 {
			t.Errorf("%v: %+v", d, l)
		}
	}
}

// An idle TLS connection whose client takes nothing has no room for the goodbye of
// TLS: the drain, which closes one connection after the other, must not wait for it.
func TestGoodbyeToADeafClientHoldsTheDrain(t *testing.T) {
	ca := edgetest.NewCA(t)
	leaf := ca.Issue(t, "www.shop.test")
	h := newHouse(t, Options{}, &tls.Config{Certificates: []tls.Certificate{leaf.TLS}})
	raw := h.dial(t, "127.0.0.1")
	secured := tls.Client(raw, &tls.Config{ServerName: "www.shop.test", RootCAs: ca.Pool()})
	ours := h.next(t).(*TLSConn)
	var greeting sync.WaitGroup
	greeting.Go(func() {
		if err := ours.Handshake(); err != nil {
			t.Error(err)
		}
	})
	if err := secured.Handshake(); err != nil {
		t.Fatal(err)
	}
	greeting.Wait()
	if err := fillUp(ours.raw.tcp); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := ours.Read(make([]byte, 1))
		ended <- err
	}()
	until(t, "the connection is idle", ours.idling.Load)
	begin := time.Now()
	_ = ours.Close()                                     // that the goodbye did not get through is an error
	if took := time.Since(begin); took > 3*time.Second { // crypto/tls gives it 5 s
		t.Errorf("closing took %v", took)
	}
	if err := <-ended; err == nil {
		t.Error("the read goes on")
	}
}

// fillUp writes until nothing more goes into the connection.
func fillUp(tcp *net.TCPConn) error {
	for {
		if err := tcp.SetWriteDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
			return err
		}
		if _, err := tcp.Write(make([]byte, 64<<10)); err != nil {
			return tcp.SetWriteDeadline(time.Time{})
		}
	}
}
