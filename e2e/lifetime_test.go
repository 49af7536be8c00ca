package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
)

// Each test here is named after what was broken once.

// What outlasts the grace of a drain is cut, and counted as it is: one access line,
// written before the log is closed.
func TestRequestThatTheDrainCutsLosesItsAccessLine(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	n := launch(t, "limits: {drain_grace: 1s, drain_accept: 0s}", map[string]string{"site.yaml": vhost("www.shop.test", b.URL, "waf: {mode: off}")})
	c := edgetest.Dial(t, n.http)
	c.Send("GET /slow?for=10m HTTP/1.1\r\nHost: www.shop.test\r\n\r\n")
	edgetest.WaitFor(t, "the request to arrive", func() bool { return b.Deliveries("/slow") == 1 })
	n.stop()
	log := n.stderr.String()
	if !strings.Contains(log, "requests are cut") || !strings.Contains(log, "requests=1") {
		t.Errorf("the log does not tell of the cut request:\n%s", tail(log, 2000))
	}
	if strings.Contains(log, "the log is closed") {
		t.Errorf("an access line came too late:\n%s", tail(log, 2000))
	}
	if lines := strings.Count(n.stdout.String(), `"/slow?for=10m"`); lines != 1 || !strings.Contains(n.stdout.String(), `"status":503`) {
		t.Errorf("%d access lines:\n%s", lines, n.stdout)
	}
}

// Load balancers need the whole time to see that the node is going, whether or not
// somebody asks it for something meanwhile.
func TestIdleNodeRefusesConnectionsBeforeItsTime(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	const accept = 4 * time.Second
	n := launch(t, "limits: {drain_accept: 4s}", map[string]string{"site.yaml": vhost("www.shop.test", b.URL, "waf: {mode: off}")})
	begin := time.Now()
	n.signal(syscall.SIGTERM)
	time.Sleep(accept * 3 / 4) // the time is what is tested
	conn, err := net.DialTimeout("tcp", n.http, edgetest.Patience)
	if err != nil {
		t.Fatalf("refused %v after the signal: %v", time.Since(begin), err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(edgetest.Patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: www.shop.test\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn) // the answer ends the connection
	if head, _, _ := strings.Cut(string(answer), "\r\n\r\n"); err != nil || !strings.HasPrefix(head, "HTTP/1.1 200") || !strings.Contains(strings.ToLower(head), "connection: close") {
		t.Errorf("%q, %v", head, err)
	}
	edgetest.WaitFor(t, "connections to be refused", func() bool {
		conn, err := net.Dial("tcp", n.http)
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	if took := time.Since(begin); took < accept {
		t.Errorf("refused %v after the signal", took)
	}
	n.wait()
}

// Whoever has asked once and is idle must not keep everybody else out.
func TestIdleConnectionsKeepNewClientsOut(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	n := launch(t, "limits: {connections: 20, connections_per_ip: 0}", map[string]string{"site.yaml": vhost("www.shop.test", b.URL, "waf: {mode: off}")})
	const request = "GET / HTTP/1.1\r\nHost: www.shop.test\r\n\r\n"
	var idle []*edgetest.RawConn
	for i := range 20 {
		c := edgetest.Dial(t, n.http)
		if got := c.Do("GET", request); got.Status != 200 || got.Close {
			t.Fatalf("client %d: status %d, close %v", i, got.Status, got.Close)
		}
		idle = append(idle, c)
	}
	begin := time.Now()
	failures := make(chan error, 12)
	for range 12 {
		go func() {
			status, _, err := (&visitor{address: n.http, host: "www.shop.test", limit: edgetest.Patience}).get("/")
			if err == nil && status != 200 {
				err = fmt.Errorf("status %d", status)
			}
			failures <- err
		}()
	}
	for range 12 {
		if err := <-failures; err != nil {
			t.Error(err)
		}
	}
	if took := time.Since(begin); took > 2*time.Second+slack { // they have to be idle for one
		t.Errorf("the new clients were answered after %v", took)
	}
	for _, c := range idle { // whoever had to go was told so with an end
		if err := c.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if k, err := c.Read(make([]byte, 1)); k != 0 || err != io.EOF && !isTimeout(err) {
			t.Errorf("an idle client sees %d bytes, %v", k, err)
		}
	}
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}
