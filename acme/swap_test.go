package acme

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/internal/edgetest"
)

// Nodes that differ in the names of a set do not order it in turns without end: three times within seventy minutes, and why is said.
func TestNodesThatDifferInTheNamesOfASetOrderItThrice(t *testing.T) {
	dirs, keys := []string{t.TempDir(), t.TempDir()}, keyring(t, oneKey)
	synctest.Test(t, func(t *testing.T) {
		ca, shared := newCountingCA(t, asSoon), newMemory()
		ca.issuer = edgetest.NewCA(t)
		var nodes []*Manager
		for n, other := range []string{"old.shop.test", "new.shop.test"} {
			m := countingNode(t, ca, dirs[n], shared, keys)
			m.Update(oneOf("shop.test", "shop.test", other))
			nodes = append(nodes, m)
		}
		var at []time.Time
		for range 210 {
			for _, m := range nodes {
				before := ca.orders
				if !m.fleet.bring(t.Context(), "shop.test") {
					t.Fatal("what is shared could not be read")
				}
				if m.issuer.process(t.Context(), "shop.test"); ca.orders > before {
					at = append(at, time.Now())
				}
			}
			time.Sleep(time.Minute) // of the bubble's time
		}
		for i := mostTries + 1; i < len(at); i++ {
			if within := at[i].Sub(at[i-mostTries]); within < triesWindow {
				t.Errorf("%d orders within %v", mostTries+1, within)
			}
		}
		if len(at) < 2*mostTries+1 || len(at) > 4*mostTries {
			t.Errorf("%d orders in three and a half hours", len(at))
		}
		said := statusOf(t, nodes[0], "old.shop.test").Problem + statusOf(t, nodes[1], "new.shop.test").Problem
		if !strings.Contains(said, "have all nodes the same names for the vhost?") {
			t.Errorf("it says %q", said)
		}
	})
}

// Names that join one after the other are ordered as they come.
func TestNamesThatJoinASetDoNotWait(t *testing.T) {
	dir, keys := t.TempDir(), keyring(t, oneKey)
	synctest.Test(t, func(t *testing.T) {
		ca := newCountingCA(t, asSoon)
		ca.issuer = edgetest.NewCA(t)
		m := countingNode(t, ca, dir, newMemory(), keys)
		for n := range 3 * mostTries {
			name := fmt.Sprintf("h%d.shop.test", n)
			m.Update(oneOf("shop.test", name))
			m.issuer.process(t.Context(), "shop.test")
			if l := m.store.issued(name); l == nil || !slices.Contains(l.names, name) {
				t.Errorf("%s has no certificate: %v", name, m.issuer.wanted["shop.test"].err)
			}
		}
	})
}
