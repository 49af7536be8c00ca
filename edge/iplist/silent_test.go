package iplist

import (
	"context"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/routes"
)

// However many lists of a document have silent servers, its first request waits for all of them together as long as for one.
func TestSilentListsAreWaitedForTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end := make(chan struct{})
		defer close(end)
		l := newLists(t, Options{Dial: func(context.Context, string, string) (net.Conn, error) {
			<-end
			return nil, net.ErrClosed
		}})
		begun := time.Now()
		r := l.Open("", &routes.Addresses{Deny: []string{"https://a.test/1", "https://a.test/2", "https://b.test/1", "192.0.2.1"}})
		if took := time.Since(begun); took != firstWait {
			t.Errorf("waited %v, want %v", took, firstWait)
		}
		if problemOf(r) == nil || judge(r, "192.0.2.1") != Denied {
			t.Error("nothing is wrong, or what stands in the document does not act")
		}
	})
}

// A server that takes a connection and says nothing, or that is not reached, has no connection and no goroutine once nobody waits for
// its list any more.
func TestASilentServerOfAListKeepsNoConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var dials, open atomic.Int64
		l := newLists(t, Options{Dial: func(ctx context.Context, _, address string) (net.Conn, error) {
			dials.Add(1)
			open.Add(1)
			if address == "away.test:443" {
				<-ctx.Done()
				open.Add(-1)
				return nil, ctx.Err()
			}
			conn, server := net.Pipe()
			go func() {
				_, _ = io.Copy(io.Discard, server)
				open.Add(-1)
			}()
			return conn, nil
		}})
		r := l.Open("", &routes.Addresses{Deny: []string{"https://silent.test/1", "https://away.test/1"}})
		synctest.Wait()
		if dials.Load() != 2 || open.Load() != 0 {
			t.Errorf("after Open %d of %d connections are open", open.Load(), dials.Load())
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := l.Run(ctx); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if dials.Load() < 4 || open.Load() != 0 {
			t.Errorf("after Run %d of %d connections are open", open.Load(), dials.Load())
		}
		l.Close(r)
	})
}
