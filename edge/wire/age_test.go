package wire

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// lastAfter has a client ask every minute for as long as a day, and returns the
// age at which a request was said to be the connection's last; negative: at none.
func lastAfter(t *testing.T, limits Limits) (age time.Duration) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		client, ours := pair(t, limits)
		begin := time.Now()
		age = -1
		var sender sync.WaitGroup
		defer sender.Wait()
		defer client.Close()
		sender.Go(func() { drip(client, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", time.Minute) })
		for time.Since(begin) < 24*time.Hour {
			h, err := nextHead(t, ours)
			if err != nil || h.Refused != nil {
				t.Fatal(err, h)
			}
			if h.Last {
				age = time.Since(begin)
				break
			}
		}
	})
	return age
}

// A connection of an hour's age ends with its next answer, so that clients spread
// anew over nodes and certificates.
func TestConnectionEndsAtItsAge(t *testing.T) {
	for name, tc := range map[string]struct {
		limits Limits
		want   time.Duration
	}{
		"by default":              {Limits{Requests: -1}, time.Hour},
		"a limit":                 {Limits{Requests: -1, Age: 90 * time.Second}, 2 * time.Minute},
		"none":                    {Limits{Requests: -1, Age: -1}, -1},
		"requests were the first": {Limits{Requests: 3}, 2 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			if got := lastAfter(t, tc.limits); got != tc.want {
				t.Errorf("after %v, want %v", got, tc.want)
			}
		})
	}
}
