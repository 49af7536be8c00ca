package e2e

import (
	"testing"
	"time"

	"gatehouse/internal/edgetest"
)

// Each time limit of a client's connection is what gatehouse.yaml says: all are 1 s
// here, and 10 s or more unless they are set.
func TestTimeLimitsOfConnectionsAct(t *testing.T) {
	t.Parallel()
	const set, unset = time.Second, 10 * time.Second
	b := edgetest.NewBackend(t)
	n := launch(t, "limits: {handshake_timeout: 1s, header_timeout: 1s, idle_timeout: 1s, stall_timeout: 1s, connection_age: 1s}",
		map[string]string{"site.yaml": vhost("www.shop.test", b.URL, quick)})
	const get = "GET / HTTP/1.1\r\nHost: www.shop.test\r\n\r\n"
	late := func(c *edgetest.RawConn) {
		if got := c.Receive("POST"); got.Status != 408 || !got.Close {
			t.Errorf("status %d, close %v", got.Status, got.Close)
		}
	}
	for name, use := range map[string]func(c *edgetest.RawConn){
		"handshake_timeout": func(c *edgetest.RawConn) { c.Send(clientHello(t)[:100]) },
		"header_timeout":    func(c *edgetest.RawConn) { c.Send(get[:20]); late(c) },
		"idle_timeout":      func(c *edgetest.RawConn) { c.Do("GET", get) },
		"stall_timeout": func(c *edgetest.RawConn) {
			c.Send("POST /sink HTTP/1.1\r\nHost: www.shop.test\r\nContent-Length: 10\r\n\r\nhel")
			late(c)
		},
		"connection_age": func(c *edgetest.RawConn) {
			for !c.Do("GET", get).Close {
				<-time.After(50 * time.Millisecond) // as a client that is not idle
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := n.http
			if name == "handshake_timeout" {
				address = n.https
			}
			c := edgetest.Dial(t, address)
			begin := time.Now()
			use(c)
			c.WantClosed()
			if took := time.Since(begin); took < set-100*time.Millisecond || took >= unset {
				t.Errorf("the connection ended after %v", took)
			}
		})
	}
}
