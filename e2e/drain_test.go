package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"gatehouse/internal/edgetest"
)

// SIGTERM drains: keep-alive clients that are in the middle of 5,000 requests
// lose none of them. A client reconnects when the answer said that the
// connection ends, as any HTTP client does, and repeats nothing.
func TestDrainLosesNoRequestOfKeepAliveClients(t *testing.T) {
	t.Parallel()
	rounds := 20
	if v := os.Getenv("DRAIN_ROUNDS"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 {
			t.Fatalf("DRAIN_ROUNDS=%q: want a number of rounds, at least 1", v)
		}
		rounds = n
	}
	b := edgetest.NewBackend(t)
	n := prepare(t, "limits: {drain_accept: 1m}", map[string]string{"site.yaml": vhost("www.shop.test", b.URL, "waf: {mode: off}")})
	for round := range rounds {
		n.start()
		drainOnce(t, n, round)
		if round < rounds-1 {
			n.kill() // all clients are done: the rest of the drain is the same each time
			continue
		}
		n.signal(syscall.SIGTERM) // it would accept for a minute, so that a slow machine has its clients done in it
		n.wait()
		if n.err != nil {
			t.Errorf("round %d: serve ended: %v", round, n.err)
		}
	}
}

func drainOnce(t *testing.T, n *node, round int) {
	const clients, total = 25, 5000
	var begun, good atomic.Int64
	half := make(chan struct{})
	failures := make(chan error, clients)
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			c := keepAlive{address: n.http}
			defer c.close()
			for {
				number := begun.Add(1)
				if number > total {
					return
				}
				if number == total/2 {
					close(half)
				}
				if err := c.get(fmt.Sprintf("/r%d", number)); err != nil {
					failures <- fmt.Errorf("request %d: %w", number, err)
					return
				}
				good.Add(1)
			}
		})
	}
	<-half
	n.signal(syscall.SIGTERM)
	all.Wait()
	close(failures)
	for err := range failures {
		t.Errorf("round %d: %v", round, err)
	}
	if good.Load() != total {
		t.Errorf("round %d: %d of %d requests were answered", round, good.Load(), total)
	}
}

// keepAlive is a client with one connection.
type keepAlive struct {
	address string
	conn    net.Conn
	r       *bufio.Reader
}

func (c *keepAlive) get(target string) error {
	if c.conn == nil {
		conn, err := net.Dial("tcp", c.address)
		if err != nil {
			return err
		}
		c.conn, c.r = conn, bufio.NewReader(conn)
	}
	if _, err := fmt.Fprintf(c.conn, "GET %s HTTP/1.1\r\nHost: www.shop.test\r\n\r\n", target); err != nil {
		return err
	}
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != 200 {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	if resp.Close {
		c.close()
	}
	return nil
}

func (c *keepAlive) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// A request that is under way when the signal comes ends as it should, and the
// node is not ready meanwhile.
func TestDrainWaitsForARequestUnderWay(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	n := launch(t, "", map[string]string{"site.yaml": vhost("www.shop.test", b.URL, "waf: {mode: off}")})
	conn := edgetest.Dial(t, n.http)
	conn.Send("GET /slow?for=2s HTTP/1.1\r\nHost: www.shop.test\r\n\r\n")
	edgetest.WaitFor(t, "the request to arrive", func() bool { return b.Deliveries("/slow") == 1 })
	n.signal(syscall.SIGTERM)
	edgetest.WaitFor(t, "the node to say that it is draining", func() bool {
		resp, err := http.Get("http://" + n.admin + "/readyz")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return resp.StatusCode == 503
	})
	if got := conn.Receive("GET"); got.Status != 200 || !got.Close {
		t.Errorf("status %d, close %v", got.Status, got.Close)
	}
	n.wait()
}

// The first signal says what the node waits for and that a second one ends it; the second
// does: without it this drain would take an hour and ten minutes.
func TestSecondSignalEndsTheDrain(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	n := launch(t, "limits: {drain_accept: 10m, drain_grace: 1h}", map[string]string{"site.yaml": vhost("www.shop.test", b.URL, "waf: {mode: off}")})
	c := edgetest.Dial(t, n.http)
	c.Send("GET /slow?for=1h HTTP/1.1\r\nHost: www.shop.test\r\n\r\n")
	edgetest.WaitFor(t, "the request to arrive", func() bool { return b.Deliveries("/slow") == 1 })
	n.signal(syscall.SIGINT)
	edgetest.WaitFor(t, "the node to say what ends it", func() bool {
		return strings.Contains(n.stderr.String(), `msg=draining accepting=10m0s then_at_most=1h0m0s hint="a second signal ends it at once"`)
	})
	n.stop()
	if log := n.stderr.String(); !strings.Contains(log, "requests are cut") {
		t.Errorf("the log does not tell of the cut request:\n%s", tail(log, 2000))
	}
}
