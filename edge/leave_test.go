package edge

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"gatehouse/edge/upstream"
)

// A leaver is a client that is there, or has left.
type leaver struct {
	clientConn
	left atomic.Bool
}

func (l *leaver) Left() bool { return l.left.Load() }

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

func TestOnlyClientsThatHaveLeftAreCut(t *testing.T) {
	w := &waiters{}
	there, gone, tunnel := &request{conn: &leaver{}}, &request{conn: &leaver{}}, &request{conn: &leaver{}, Upgrade: "websocket"}
	gone.conn.(*leaver).left.Store(true)
	tunnel.conn.(*leaver).left.Store(true)
	for _, r := range []*request{there, gone, tunnel} {
		w.add(r)
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
	late := &request{conn: &leaver{}}
	w.add(late)
	if !wasCut(t, there) || !wasCut(t, late) {
		t.Error("a round trip goes on after the end")
	}
}

func TestWaitersComeAndGoWhileTheyAreLookedAt(t *testing.T) {
	w := &waiters{}
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
			var mine []*request
			for i := range 3000 {
				r := requests.Get().(*request)
				r.renew()
				r.conn = &leaver{}
				w.add(r)
				mine = append(mine, r)
				if i%3 == 0 { // from the middle of the list, too
					at := len(mine) / 2
					w.remove(mine[at])
					w.remove(mine[at])
					requests.Put(mine[at])
					mine = append(mine[:at], mine[at+1:]...)
				}
			}
			for _, r := range mine {
				w.remove(r)
			}
		})
	}
	coming.Wait()
	close(over)
	looking.Wait()
	w.each(func(*request) { t.Error("somebody is left") })
}
