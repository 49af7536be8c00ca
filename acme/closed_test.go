package acme

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A counted is what is shared, and how often it was asked for something.
type counted struct {
	*memory
	reads, writes, leases int
}

func (c *counted) Read(ctx context.Context, keys ...string) ([][]byte, error) {
	c.reads++
	return c.memory.Read(ctx, keys...)
}

func (c *counted) ReadRanked(ctx context.Context, keys ...string) ([]Ranked, error) {
	c.reads++
	return c.memory.ReadRanked(ctx, keys...)
}

func (c *counted) Write(ctx context.Context, key string, value []byte, life time.Duration) error {
	c.writes++
	return c.memory.Write(ctx, key, value, life)
}

func (c *counted) Announce(ctx context.Context, event string) error {
	c.writes++
	return c.memory.Announce(ctx, event)
}

func (c *counted) Remove(ctx context.Context, keys ...string) error {
	c.writes++
	return c.memory.Remove(ctx, keys...)
}

func (c *counted) Take(ctx context.Context, key string, most int, window time.Duration) (time.Duration, error) {
	c.writes++
	return c.memory.Take(ctx, key, most, window)
}

func (c *counted) Lease(ctx context.Context, key, owner string, life time.Duration) (bool, error) {
	c.leases++
	return c.memory.Lease(ctx, key, owner, life)
}

// While no issuer takes orders, names cost Redis nothing where the node knows so by itself, and no write where the others do; each waits for when one does,
// and the operator hears of each that fails.
func TestNameCostsNothingWhileNoIssuerTakesOrders(t *testing.T) {
	for name, tc := range map[string]struct {
		rest  bool
		calls bool // to read and to lease
	}{"no route": {}, "they rest": {rest: true, calls: true}} {
		dir, keys := t.TempDir(), keyring(t, oneKey)
		synctest.Test(t, func(t *testing.T) {
			ca, shared := newCountingCA(t, asSoon), &counted{memory: newMemory()}
			m := countingNode(t, ca, dir, shared, keys)
			m.issuer.quota.most = 100
			a := m.issuer.accounts[0]
			if err := a.prepare(t.Context()); err != nil {
				t.Fatal(err)
			}
			if tc.rest {
				shared.values[accountKeyOf(countingDirectory, "until")] = []byte("946699200") // 2000-01-01T04:00:00Z, in four hours
			} else {
				a.leave(errIssuerAway, time.Hour)
			}
			shared.reads, shared.writes, shared.leases = 0, 0, 0
			m.issuer.process(t.Context(), brokenHost)
			if (shared.reads+shared.leases > 0) != tc.calls || shared.writes > 0 {
				t.Errorf("%s: %d reads, %d writes, %d leases", name, shared.reads, shared.writes, shared.leases)
			}
			wait, err := time.Until(m.issuer.plan.at(brokenHost)), m.issuer.wanted[brokenHost].err
			if wait < 59*time.Minute || wait > 4*time.Hour || err == nil {
				t.Errorf("%s: it waits %v for %v", name, wait, err)
			}
			time.Sleep(wait) // of the bubble's time
			m.issuer.process(t.Context(), brokenHost)
			if len(ca.failures(brokenHost)) != 1 {
				t.Errorf("%s: it is not ordered then", name)
			}

			var told heard
			m.notices.tell = told.tell
			if f, _ := m.issuer.vault.failure(t.Context(), brokenHost); f.Count != 1 {
				t.Fatalf("%s: %+v", name, f)
			}
			if err := m.issuer.vault.putFailure(t.Context(), brokenHost, nil); err != nil {
				t.Fatal(err)
			}
			a.leave(errIssuerAway, time.Hour)
			for range 2 {
				m.issuer.process(t.Context(), brokenHost)
			}
			if got := strings.Join(told.take(), ", "); got != "failed "+brokenHost {
				t.Errorf("%s: told of %q", name, got)
			}
		})
	}
}
