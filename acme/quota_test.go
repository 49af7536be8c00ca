package acme

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A refusing is what is shared, in which nothing can be noted of orders that failed.
type refusing struct{ *memory }

func (r refusing) Write(ctx context.Context, key string, value []byte, life time.Duration) error {
	if strings.HasSuffix(key, ":fail") {
		return errAway
	}
	return r.memory.Write(ctx, key, value, life)
}

// What counts for a tenant are orders that an issuer was asked for: not those that never came so far.
func TestOrderThatIsNeverMadeIsNoneOfTheTenants(t *testing.T) {
	for name, tc := range map[string]struct {
		isShared, refuses, routed bool
		want                      int
	}{
		"no route":             {isShared: true},
		"no route, alone":      {},
		"not noted":            {isShared: true, refuses: true, routed: true},
		"made, and it failed":  {isShared: true, routed: true, want: 1},
		"so by a node alone":   {routed: true, want: 1},
		"no route, nor a note": {isShared: true, refuses: true},
	} {
		dir, keys := t.TempDir(), keyring(t, oneKey)
		synctest.Test(t, func(t *testing.T) {
			ca, there := newCountingCA(t, asSoon), newMemory()
			var shared Shared
			switch {
			case tc.refuses:
				shared = refusing{there}
			case tc.isShared:
				shared = there
			default:
				keys = nil
			}
			m := countingNode(t, ca, dir, shared, keys)
			q := m.issuer.quota
			if q.most = 1; !tc.routed {
				m.issuer.accounts[0].gate.base.DialTLSContext = noRoute
			}
			m.issuer.process(t.Context(), brokenHost)
			got := q.taken[""]
			if tc.isShared {
				got = there.counts[quotaKey("")].n
			}
			if err := m.issuer.wanted[brokenHost].err; got != tc.want || err == nil {
				t.Errorf("%s: %d orders count, want %d: %v", name, got, tc.want, err)
			}
		})
	}
}
