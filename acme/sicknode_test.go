package acme

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var errRoute = errors.New("no route to host")

func noRoute(context.Context, string, string) (net.Conn, error) { return nil, errRoute }

// countingNode is a node that orders from a countingCA.
func countingNode(t *testing.T, ca *countingCA, dir string, shared Shared, keys *Keyring, more ...ACME) *Manager {
	t.Helper()
	m := newManager(t, Options{
		Data: dir, Issuer: IssuerACME, ACME: ACME{Directory: countingDirectory, Challenge: challengeHTTP}, Fallbacks: more, Shared: shared, Keys: keys,
		HTTPPort: noPort, TLSPort: noPort,
	})
	ca.serve(m)
	m.Update([]Change{{Name: brokenHost}})
	t.Cleanup(func() {
		for _, a := range m.issuer.accounts {
			a.gate.close()
		}
	})
	return m
}

func asSoon() time.Duration { return time.Second }

// A node without a way to the issuer leaves it alone by itself: the others go on, and neither the name nor the issuer is held up for them.
func TestNodeWithoutARouteStopsNoOther(t *testing.T) {
	dirs, keys := []string{t.TempDir(), t.TempDir()}, keyring(t, oneKey)
	synctest.Test(t, func(t *testing.T) {
		shared, ca := newMemory(), newCountingCA(t, asSoon)
		sick, well := countingNode(t, ca, dirs[0], shared, keys), countingNode(t, ca, dirs[1], shared, keys)
		sick.issuer.accounts[0].gate.base.DialTLSContext = noRoute
		for range 2 { // the second time it is spared the asking
			sick.issuer.process(t.Context(), brokenHost)
			if wait := time.Until(sick.issuer.plan.at(brokenHost)); wait <= 0 || wait > awayWait*121/100 {
				t.Errorf("the sick node waits %v", wait)
			}
			if got := sick.issuer.wanted[brokenHost].err; !errors.Is(got, errRoute) {
				t.Errorf("the sick node says %v", got)
			}
			if until := well.issuer.accounts[0].resting(t.Context()); !until.IsZero() {
				t.Errorf("all nodes rest for %v", time.Until(until))
			}
			if f, err := well.issuer.vault.failure(t.Context(), brokenHost); err != nil || f.Count != 0 || len(f.Tries) != 0 || !f.Next.IsZero() {
				t.Errorf("what others read of the name: %+v %v", f, err)
			}
		}
		well.issuer.process(t.Context(), brokenHost)
		if len(ca.failures(brokenHost)) != 1 {
			t.Error("the other node has not ordered")
		}
	})
}

// A node with another seal key orders nothing, says which setting is wrong, and leaves no trace at what the others share.
func TestNodeWithAnotherSealKeySaysSoAndStopsNoOther(t *testing.T) {
	dirs, keys, others := []string{t.TempDir(), t.TempDir()}, keyring(t, oneKey), keyring(t, otherKey)
	synctest.Test(t, func(t *testing.T) {
		shared, ca := newMemory(), newCountingCA(t, asSoon)
		well, sick := countingNode(t, ca, dirs[0], shared, keys), countingNode(t, ca, dirs[1], shared, others)
		if err := well.issuer.accounts[0].prepare(t.Context()); err != nil {
			t.Fatal(err)
		}
		there := len(shared.values)
		for range 2 {
			sick.issuer.process(t.Context(), brokenHost)
			err := sick.issuer.wanted[brokenHost].err
			if err == nil {
				t.Fatal("it has no fault")
			}
			if says := Explain(brokenHost, err.Error(), time.Time{}); !strings.Contains(says, "seal_keys") || strings.Contains(err.Error(), errIssuerAway.Error()) {
				t.Errorf("it says %q of %v", says, err)
			}
		}
		if len(shared.values) != there {
			t.Errorf("it has written: %q", shared.values)
		}
		well.issuer.process(t.Context(), brokenHost)
		if len(ca.failures(brokenHost)) != 1 {
			t.Error("the other node has not ordered")
		}
	})
}
