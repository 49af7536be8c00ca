package wire

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv(starvedEnv) != "" {
		serveStarved()
		return
	}
	goleak.VerifyTestMain(m)
}

var loopback = netip.MustParsePrefix("127.0.0.0/8")

// patience is how long a test waits for what has to come.
const patience = 20 * time.Second

// pipe returns a client's end and ours, which is in a Door's counts. Both live in
// the test's bubble, if there is one.
func pipe(t *testing.T, o Options) (client net.Conn, ours *socket) {
	t.Helper()
	client, raw := net.Pipe()
	ours = NewDoor(o).admit(raw)
	t.Cleanup(func() { client.Close(); ours.Close() })
	return client, ours
}

// A house is a door with a listener, and what came through it.
type house struct {
	*Door
	ln      *Listener
	came    chan net.Conn
	mu      sync.Mutex
	refused map[string]int
}

// newHouse listens on a free port of the loopback network.
func newHouse(t *testing.T, o Options, config *tls.Config) *house {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &house{came: make(chan net.Conn, 100), refused: map[string]int{}}
	o.Refused = func(reason string) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.refused[reason]++
	}
	h.Door = NewDoor(o)
	h.ln = h.Listen(inner, config)
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			conn, err := h.ln.Accept()
			if err != nil {
				if !errors.Is(err, net.ErrClosed) {
					t.Error(err)
				}
				return
			}
			h.came <- conn
		}
	})
	t.Cleanup(func() {
		h.ln.Close()
		accepting.Wait()
		for len(h.came) > 0 {
			(<-h.came).Close()
		}
	})
	return h
}

func (h *house) refusals(reason string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.refused[reason]
}

// dial connects from an address of the loopback network.
func (h *house) dial(t *testing.T, from string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: patience}
	conn, err := d.DialContext(t.Context(), "tcp", h.ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// wantRefused connects and waits for the reset, which may come before connecting
// is over.
func (h *house) wantRefused(t *testing.T, from string) {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: patience}
	conn, err := d.DialContext(t.Context(), "tcp", h.ln.Addr().String())
	if errors.Is(err, syscall.ECONNRESET) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	wantReset(t, conn)
}

// next is the connection that came.
func (h *house) next(t *testing.T) net.Conn {
	t.Helper()
	select {
	case conn := <-h.came:
		t.Cleanup(func() { conn.Close() })
		return conn
	case <-time.After(patience):
		t.Fatal("no connection came")
		return nil
	}
}

// asBytes has a plain connection deliver what the client sends, as a tunnel does.
func asBytes(conn net.Conn) *Conn {
	c := conn.(*Conn)
	c.Tunnel()
	return c
}

// wantReset waits until the connection is reset.
func wantReset(t *testing.T, conn net.Conn) {
	t.Helper()
	if n, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%d bytes, %v instead of a reset", n, err)
	}
}

// until polls a condition.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}
