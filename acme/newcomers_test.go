package acme

import (
	"testing"
	"testing/synctest"
	"time"
)

const laterName = "later.shop.test"

// A certificate may be imported before there is a vhost: it follows a change of the seal keys, and is shared again where it was lost, as all others are.
func TestImportOutsideTheTableStaysShared(t *testing.T) {
	for name, lose := range map[string]func(*memory){
		"change of key": func(*memory) {},
		"emptied":       func(m *memory) { clear(m.ranked) },
	} {
		data := t.TempDir()
		oldKeys, newKeys, newKey := keyring(t, oneKey), keyring(t, otherKey, oneKey), keyring(t, otherKey)
		synctest.Test(t, func(t *testing.T) {
			shared := newMemory()
			importFor(t, newManager(t, Options{Data: data, Shared: shared, Keys: oldKeys}), 60*day, laterName)
			lose(shared)
			m := newManager(t, Options{Data: data, Shared: shared, Keys: newKeys})
			stop := run(t, m)
			time.Sleep(5 * time.Second) // of the bubble's time
			synctest.Wait()
			stop()
			if _, old, err := newKey.open(m.imports.vault.key(laterName), shared.ranked[m.imports.vault.key(laterName)].Value); err != nil || old {
				t.Errorf("%s: the present key does not open it: %v", name, err)
			}
		})
	}
}

// A node that is new has never heard of what was imported before: it looks when the vhost comes, and orders nothing.
func TestVhostOfAnImportThatIsOldIsNotOrdered(t *testing.T) {
	for what, pattern := range map[string]string{"its own": laterName, "a wildcard's": "*.shop.test"} {
		for _, looked := range []bool{false, true} {
			dir, other, keys := t.TempDir(), t.TempDir(), keyring(t, oneKey)
			synctest.Test(t, func(t *testing.T) {
				shared, ca := newMemory(), newCountingCA(t, asSoon)
				importFor(t, newManager(t, Options{Data: other, Shared: shared, Keys: keys}), 60*day, pattern)
				m := countingNode(t, ca, dir, shared, keys)
				if looked && !m.fleet.look(t.Context()) {
					t.Fatal("what is shared could not be read")
				}
				m.Update([]Change{{Name: laterName}})
				for range 2 {
					m.issuer.process(t.Context(), laterName)
				}
				st := statusOf(t, m, laterName)
				if ca.orders != 0 || st.Source != SourceImported || time.Until(st.NextTry) < time.Minute {
					t.Errorf("%s, looked %v: %d orders, %+v", what, looked, ca.orders, st)
				}
			})
		}
	}
}

// Where nothing is ordered it is served as soon as the vhost is there, or what is shared again.
func TestVhostOfAnImportThatIsOldIsServed(t *testing.T) {
	dir, other, keys := t.TempDir(), t.TempDir(), keyring(t, oneKey)
	synctest.Test(t, func(t *testing.T) {
		shared := newMemory()
		importFor(t, newManager(t, Options{Data: other, Shared: shared, Keys: keys}), 60*day, laterName)
		m := newManager(t, Options{Data: dir, Shared: shared, Keys: keys})
		stop := run(t, m)
		pass := func(d time.Duration) {
			time.Sleep(d) // of the bubble's time
			synctest.Wait()
		}
		pass(time.Minute)
		shared.setAway(true)
		m.Update([]Change{{Name: laterName}})
		pass(time.Second)
		if m.Trusted(laterName) {
			t.Fatal("it is served already")
		}
		shared.setAway(false)
		pass(5 * time.Second)
		if !m.Trusted(laterName) || len(m.fleet.newcomers.left()) > 0 {
			t.Error("it is not served, or still looked for")
		}
		stop()
	})
}
