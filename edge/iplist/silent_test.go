package iplist

import (
	"context"
	"net"
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
		r := l.Open(&routes.Addresses{Deny: []string{"https://a.test/1", "https://a.test/2", "https://b.test/1", "192.0.2.1"}})
		if took := time.Since(begun); took != firstWait {
			t.Errorf("waited %v, want %v", took, firstWait)
		}
		if r.Problem() == nil || judge(r, "192.0.2.1") != Denied {
			t.Error("nothing is wrong, or what stands in the document does not act")
		}
	})
}
