package edge

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"gatehouse/edge/upstream"
)

// A guest is a client that is there, or has left.
type guest struct {
	clientConn
	left atomic.Bool
}

func (l *guest) Left() bool { return l.left.Load() }

// wasCut reports whether a request's round trips are over: the next one fails at once.
func wasCut(t *testing.T, r *request) bool {
	t.Helper()
	p, err := upstream.NewPool(upstream.Options{Address: "http://127.0.0.1:1"}) // where nobody is
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.RoundTrip(context.Background(), &upstream.Request{Method: "GET", Target: "/", Host: "a.test", Lifeline: &r.outbound.line})
	return errors.Is(err, context.Canceled)
}

// outbounding is a request to a backend.
func outbounding(s *Server, upgrade string) *request {
	r := &request{conn: &guest{}, srv: s, Upgrade: upgrade}
	r.newOutbound()
	return r
}

func TestOnlyClientsThatHaveLeftAreCut(t *testing.T) {
	s := &Server{}
	w := &s.waiters
	there, gone, tunnel := outbounding(s, ""), outbounding(s, ""), outbounding(s, "websocket")
	gone.conn.(*guest).left.Store(true)
	tunnel.conn.(*guest).left.Store(true)
	for _, r := range []*request{there, gone, tunnel} {
		w.add(&r.outbound.wait)
	}
	w.look() // the first look only notes who is there
	if wasCut(t, gone) {
		t.Error("cut at the first look, a moment after it began")
	}
	w.look()
	for name, want := range map[*request]bool{there: false, gone: true, tunnel: false} {
		if got := wasCut(t, name); got != want {
			t.Errorf("cut: %v, want %v (upgrade %q)", got, want, name.Upgrade)
		}
	}
	w.closeAll()
	late := outbounding(s, "")
	w.add(&late.outbound.wait)
	if !wasCut(t, there) || !wasCut(t, late) {
		t.Error("a round trip goes on after the end")
	}
}

func TestWaitersComeAndGoWhileTheyAreLookedAt(t *testing.T) {
	s := &Server{}
	w := &s.waiters
	over := make(chan struct{})
	var looking, coming sync.WaitGroup
	looking.Go(func() {
		for {
			select {
			case <-over:
				return
			default:
				w.look()
			}
		}
	})
	for range 4 {
		coming.Go(func() {
			var mine []*outbound
			for i := range 3000 {
				b := outbounding(s, "").outbound
				w.add(&b.wait)
				mine = append(mine, b)
				if i%3 == 0 { // from the middle of the list, too
					at := len(mine) / 2
					mine[at].leave()
					mine[at].leave()
					mine[at].release()
					mine = append(mine[:at], mine[at+1:]...)
				}
			}
			for _, b := range mine {
				b.leave()
			}
		})
	}
	coming.Wait()
	close(over)
	looking.Wait()
	w.each(func(*waiting) { t.Error("somebody is left") })
}
