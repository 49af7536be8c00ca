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

// An issuer that breaks down after its account was ready is away, by whatever challenge: the name has not failed, and the next issuer is asked in its place.
func TestOutageOfTheIssuerIsNotTheNames(t *testing.T) {
	for what, fail := range map[string]func(*countingCA, *account){
		"refused": func(_ *countingCA, a *account) {
			a.gate.base.CloseIdleConnections()
			a.gate.base.DialTLSContext = noRoute
		},
		"500": func(ca *countingCA, _ *account) {
			ca.mu.Lock()
			defer ca.mu.Unlock()
			ca.broken = true
		},
	} {
		for _, challenge := range []string{challengeHTTP, challengeALPN} {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				ca, other := newCountingCA(t, asSoon), newCountingCA(t, asSoon)
				m := countingNode(t, ca, dir, nil, nil, ACME{Directory: "https://ca.test/other", Challenge: challenge})
				accounts := m.issuer.accounts
				other.serveAccount(accounts[1])
				accounts[0].conf.Challenge = challenge
				if err := accounts[0].prepare(t.Context()); err != nil {
					t.Fatal(err)
				}
				fail(ca, accounts[0])
				m.issuer.accounts = accounts[:1]
				m.issuer.process(t.Context(), brokenHost)
				err := m.issuer.wanted[brokenHost].err
				if f, _ := m.issuer.vault.failure(t.Context(), brokenHost); f.Count != 0 || len(f.Tries) != 0 || !errors.Is(err, errIssuerAway) {
					t.Errorf("%s, %s: it counts for the name: %+v %v", what, challenge, f, err)
				}
				time.Sleep(time.Hour) // of the bubble's time
				m.issuer.accounts = accounts
				m.issuer.process(t.Context(), brokenHost)
				if n := len(other.failures(brokenHost)); n != 1 {
					t.Errorf("%s, %s: the next issuer has looked %d times: %v", what, challenge, n, m.issuer.wanted[brokenHost].err)
				}
			})
		}
	}
}
