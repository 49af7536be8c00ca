package edge

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
)

// After a hand-over the sockets are another process', but a request may be on its
// way on a connection that we have.
func TestHandoverStopsAcceptingAndServesConnectionsThatItHas(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, shopSite(b.URL, "waf: {mode: off}"))
	idle := edgetest.Dial(t, n.http)
	request := head("GET", "www.shop.test", "/") + "\r\n"
	if got := idle.Do("GET", request); got.Status != 200 || got.Close {
		t.Fatalf("status %d, close %v", got.Status, got.Close)
	}
	ended := make(chan error, 1)
	go func() { ended <- n.Handover(t.Context()) }()
	edgetest.WaitFor(t, "accepting to end", func() bool {
		conn, err := net.Dial("tcp", n.http)
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	if got := idle.Do("GET", request); got.Status != 200 || !got.Close {
		t.Errorf("a kept connection: status %d, close %v", got.Status, got.Close)
	}
	idle.WantClosed()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// An upgraded connection stays until the grace is over, and no longer.
func TestHandoverEndsWithItsGrace(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, shopSite(b.URL, "waf: {mode: off}"),
		func(o *Options) { o.Limits.DrainAccept, o.Limits.DrainGrace = 100*time.Millisecond, 4*time.Second })
	ws := edgetest.Dial(t, n.http)
	ws.UpgradeWebSocket("www.shop.test", "/ws")
	begin := time.Now()
	ended := make(chan error, 1)
	go func() { ended <- n.Handover(t.Context()) }()
	for time.Since(begin) < tunnelGrace+time.Second { // longer than Shutdown would wait
		ws.WebSocketEcho("hello")
	}
	ws.WantClosed()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// Upgraded connections are the last that Shutdown closes: they live as long as a
// request is under way, and are closed within their grace after it.
func TestShutdownClosesTunnelsAfterTheLastRequest(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, shopSite(b.URL, "waf: {mode: off}"), func(o *Options) { o.Limits.DrainAccept = 100 * time.Millisecond })
	ws, slow := edgetest.Dial(t, n.http), edgetest.Dial(t, n.http)
	ws.UpgradeWebSocket("www.shop.test", "/ws")
	slow.Send(head("GET", "www.shop.test", "/slow?for=2s") + "\r\n")
	edgetest.WaitFor(t, "the request to arrive", func() bool { return b.Deliveries("/slow") == 1 })
	ended := make(chan error, 1)
	go func() { ended <- n.Shutdown(t.Context()) }()
	answered := make(chan *edgetest.RawAnswer, 1)
	go func() {
		defer close(answered)
		if got, err := slow.TryReceive("GET"); err == nil {
			answered <- got
		}
	}()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for waiting := true; waiting; {
		select {
		case <-tick.C:
			ws.WebSocketEcho("hello")
		case got, ok := <-answered:
			if !ok || got.Status != 200 {
				t.Errorf("the request under way was answered %+v", got)
			}
			waiting = false
		}
	}
	begin := time.Now()
	ws.WantClosed()
	if took := time.Since(begin); took > tunnelGrace+5*time.Second { // 5 s: what a loaded machine may add
		t.Errorf("the tunnel was closed %v after the last answer", took)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestDrainCutsWhatOutlastsItsGrace(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, shopSite(b.URL, "waf: {mode: off}"),
		func(o *Options) {
			o.Limits.DrainAccept, o.Limits.DrainGrace = 50*time.Millisecond, 100*time.Millisecond
		})
	slow := edgetest.Dial(t, n.http)
	slow.Send(head("GET", "www.shop.test", "/slow?for=2s") + "\r\n")
	edgetest.WaitFor(t, "the request to arrive", func() bool { return b.Deliveries("/slow") == 1 })
	if err := n.Shutdown(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want to hear that a request was cut", err)
	}
}
