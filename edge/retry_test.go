package edge

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	dto "github.com/prometheus/client_model/go"

	"gatehouse/edge/upstream"
	"gatehouse/internal/edgetest"
)

const okAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// scripted is a backend whose connections are answered by a script that gets each
// request with its number on that connection, from 1. False closes the connection.
func scripted(t *testing.T, script func(number int, req *http.Request, conn net.Conn) bool) (url string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	t.Cleanup(func() {
		ln.Close()
		stop()
		running.Wait()
	})
	running.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer context.AfterFunc(ctx, func() { conn.Close() })()
				defer conn.Close()
				br := bufio.NewReader(conn)
				for number := 1; ; number++ {
					req, err := http.ReadRequest(br)
					if err != nil {
						return
					}
					if _, err := io.Copy(io.Discard, req.Body); err != nil || !script(number, req, conn) {
						return
					}
				}
			})
		}
	})
	return "http://" + ln.Addr().String()
}

// dying answers the first request of each connection, and closes it without a
// word at the second, which it counts.
func dying(t *testing.T, deaths *atomic.Int64) string {
	return scripted(t, func(number int, _ *http.Request, conn net.Conn) bool {
		if number > 1 {
			deaths.Add(1)
			return false
		}
		_, err := io.WriteString(conn, okAnswer)
		return err == nil
	})
}

// backend gives the one pool of the shop's site.
func (n *node) backend() *upstream.Pool {
	return n.table.Match("www.shop.test").Compiled().(*site).pool.Members()[0].Backend
}

// retries reads the counter of retries.
func (n *node) retries(t *testing.T, result string) float64 {
	t.Helper()
	var m dto.Metric
	if err := n.metrics.retries.WithLabelValues(result).Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}

func TestAGETWhoseKeptConnectionDiesIsRepeatedOnce(t *testing.T) {
	var deaths atomic.Int64
	n := start(t, shopSite(dying(t, &deaths)))
	for i := range 10 { // every second one meets a kept connection
		if got := n.get(t, "www.shop.test", "/"); got.Status != 200 {
			t.Fatalf("request %d: status %d", i, got.Status)
		}
	}
	if d, taken := deaths.Load(), n.retries(t, "taken"); d == 0 || float64(d) != taken {
		t.Errorf("%d connections died, %v retries", d, taken)
	}
}

func TestOnlyOneRetryWhateverFails(t *testing.T) {
	var deliveries atomic.Int64
	closing := func() string {
		return scripted(t, func(number int, req *http.Request, conn net.Conn) bool {
			if req.URL.Path == "/warm" {
				_, err := io.WriteString(conn, okAnswer)
				return err == nil
			}
			deliveries.Add(1)
			return false
		})
	}
	n := start(t, shopSite(closing()+", "+closing()+", "+closing()))
	for range 30 { // a kept connection to each
		n.get(t, "www.shop.test", "/warm")
	}
	for i := range 3 {
		before := deliveries.Load()
		if got := n.get(t, "www.shop.test", "/"); got.Status != 502 {
			t.Errorf("status %d", got.Status)
		}
		if d := deliveries.Load() - before; d > 2 {
			t.Errorf("request %d was delivered %d times", i, d)
		}
	}
}

func TestADeadBackendsRequestsGoToAnother(t *testing.T) {
	good := edgetest.NewBackend(t)
	var deaths atomic.Int64
	n := start(t, shopSite(dying(t, &deaths)+", "+good.URL))
	for i := range 40 {
		if got := n.get(t, "www.shop.test", "/"); got.Status != 200 {
			t.Fatalf("request %d: status %d", i, got.Status)
		}
	}
	if deaths.Load() == 0 || n.retries(t, "taken") != float64(deaths.Load()) {
		t.Errorf("%d deaths, %v retries", deaths.Load(), n.retries(t, "taken"))
	}
}

func TestABackendThatClosesAFreshConnectionIsAskedOnce(t *testing.T) {
	bad, good := edgetest.NewBackend(t), edgetest.NewBackend(t)
	n := start(t, shopSite(bad.URL))
	if got := n.get(t, "www.shop.test", "/close"); got.Status != 502 || bad.Deliveries("") != 1 {
		t.Errorf("status %d after %d deliveries", got.Status, bad.Deliveries(""))
	}
	n.apply(t, shopSite(bad.URL+", "+good.URL)) // another may still do it, once
	if n.get(t, "www.shop.test", "/close"); bad.Deliveries("") != 2 || good.Deliveries("") != 1 {
		t.Errorf("%d and %d deliveries", bad.Deliveries("")-1, good.Deliveries(""))
	}
	if got := n.get(t, "www.shop.test", "/slow?for=1ms"); got.Status != 200 {
		t.Errorf("status %d", got.Status)
	}
}

// While one of two backends restarts under load, no GET fails, and of the POSTs at
// most those that were under way.
func TestARestartUnderLoadFailsNoGET(t *testing.T) {
	const clients, restarts = 6, 5
	one, other := edgetest.NewBackend(t), edgetest.NewBackend(t)
	n := start(t, shopSite(one.URL+", "+other.URL, "waf: {mode: off}"))
	stop := make(chan struct{})
	var served, lost atomic.Int64
	var wg sync.WaitGroup
	for i := range clients {
		c := edgetest.Dial(t, n.http)
		method, request := "GET", head("GET", "www.shop.test", "/")+"\r\n"
		if i == 0 {
			method, request = "POST", head("POST", "www.shop.test", "/sink", "Content-Length: 5")+"\r\norder"
		}
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				c.Send(request)
				got, err := c.TryReceive(method)
				switch {
				case err == nil && got.Status == 200:
					served.Add(1)
				case method == "POST" && err == nil && got.Status == 502:
					lost.Add(1)
				default:
					t.Errorf("%s: %+v, %v", method, got, err)
					return
				}
			}
		})
	}
	for range restarts {
		was := served.Load()
		edgetest.WaitFor(t, "a hundred requests", func() bool { return served.Load() > was+100 || t.Failed() })
		one.Stop()
		one.Start()
	}
	close(stop)
	wg.Wait()
	if lost.Load() > restarts {
		t.Errorf("%d POSTs lost in %d restarts with one client that sends any", lost.Load(), restarts)
	}
}

func TestNoUnsafeMethodIsDeliveredTwice(t *testing.T) {
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH"} {
		var deliveries atomic.Int64
		url := scripted(t, func(_ int, req *http.Request, conn net.Conn) bool {
			if req.URL.Path == "/die" {
				deliveries.Add(1)
				return false
			}
			_, err := io.WriteString(conn, okAnswer)
			return err == nil
		})
		n := start(t, shopSite(url, "waf: {mode: off}"))
		c := edgetest.Dial(t, n.http)
		send := func(target string) int {
			return c.Do(method, head(method, "www.shop.test", target, "Content-Length: 5")+"\r\norder").Status
		}
		edgetest.WaitFor(t, "a kept connection is used for "+method, func() bool {
			if got := send("/"); got != 200 {
				t.Fatalf("%s: status %d", method, got)
			}
			return n.backend().Stats().Reused > 3
		})
		if got := send("/die"); got != 502 || deliveries.Load() != 1 {
			t.Errorf("%s: status %d, delivered %d times", method, got, deliveries.Load())
		}
		if n.retries(t, "taken") != 0 {
			t.Errorf("%s was repeated", method)
		}
	}
}

// All of twelve requests lose their connections at the same moment. Three may be
// repeated at a time; the others fail with the first error, and a change of the
// vhost's settings does not fill the budget again.
func TestRetriesStopWhereTheBudgetEnds(t *testing.T) {
	const clients = 12
	var repeated atomic.Int64
	var warm, met sync.WaitGroup
	warm.Add(clients)
	met.Add(clients)
	release := make(chan struct{})
	answers := func(conn net.Conn) bool { _, err := io.WriteString(conn, okAnswer); return err == nil }
	url := scripted(t, func(number int, req *http.Request, conn net.Conn) bool {
		switch {
		case req.URL.Path == "/warm": // one connection each
			warm.Done()
			warm.Wait()
			return answers(conn)
		case number > 1:
			met.Done()
			met.Wait()
			return false
		}
		repeated.Add(1)
		<-release
		return answers(conn)
	})
	n := start(t, shopSite(url, "waf: {mode: off}"))
	all := func(target string) chan int {
		statuses := make(chan int, clients)
		for range clients {
			c := edgetest.Dial(t, n.http)
			c.Send(head("GET", "www.shop.test", target) + "\r\n")
			go func() {
				status := 0
				if got, err := c.TryReceive("GET"); err == nil {
					status = got.Status
				}
				statuses <- status
			}()
		}
		return statuses
	}
	for statuses, i := all("/warm"), 0; i < clients; i++ {
		if got := <-statuses; got != 200 {
			t.Fatalf("status %d", got)
		}
	}
	edgetest.WaitFor(t, "all connections are kept", func() bool { return n.backend().Stats().Idle == clients })
	before := n.table.Match("www.shop.test").Compiled().(*site)
	statuses := all("/")
	for range clients - 3 {
		if got := <-statuses; got != 502 {
			t.Errorf("status %d of a request that the budget leaves no retry", got)
		}
	}
	n.apply(t, shopSite(url, "waf: {mode: off}", "timeouts: {first_byte: 10s}"))
	after, err := n.siteOf(n.table.Match("www.shop.test"))
	if err != nil || after == before || after.budget != before.budget {
		t.Errorf("the budget did not outlive the change of a setting: %v", err)
	}
	close(release)
	for range 3 {
		if got := <-statuses; got != 200 {
			t.Errorf("status %d of a repeated request", got)
		}
	}
	if r := repeated.Load(); r != 3 {
		t.Errorf("%d retries arrived, want 3", r)
	}
	if taken, refused := n.retries(t, "taken"), n.retries(t, "refused"); taken != 3 || refused != clients-3 {
		t.Errorf("counted %v taken and %v refused", taken, refused)
	}
}
