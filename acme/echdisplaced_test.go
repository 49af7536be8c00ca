package acme

import (
	"bytes"
	"testing"
	"time"
)

// A Redis is emptied, and a node that is new comes before the others look: all follow it, and what they had published decrypts on, over a restart and a
// change of the seal key, until its epoch's keys are of no use.
func TestPublishedECHKeyOutlivesAnEmptiedRedis(t *testing.T) {
	shared, dir, now := newMemory(), t.TempDir(), time.Now()
	a := openECHNode(t, shared, dir, now)
	published := a.mustLook(t, now).list
	if clear(shared.values); len(shared.values) > 0 {
		t.Fatal("it is not empty")
	}
	b := openECHNode(t, shared, t.TempDir(), now) // before the other looks
	for range 3 {
		if ring := a.mustLook(t, now); !bytes.Equal(ring.list, b.mustLook(t, now).list) || bytes.Equal(ring.list, published) || len(ring.tls) != 2 {
			t.Errorf("the nodes do not agree, or have %d keys", len(ring.tls))
		}
	}
	if !a.decrypts(published) {
		t.Fatal("the published key does not decrypt any more, on any node")
	}
	for _, keys := range [][]string{{oneKey, otherKey}, {otherKey, oneKey}, {otherKey}} {
		again, err := openECH(Options{Data: dir, ECH: ECH{PublicName: frontName, Rotate: defaultECHRotate}, Logger: a.log, Shared: shared, Keys: keyring(t, keys...)}, now)
		if err != nil {
			t.Fatal(err)
		}
		if again.mustLook(t, now); !again.decrypts(published) {
			t.Error("it does not after a restart")
		}
		a = again
	}
	for epoch := range echKept + 1 {
		now = now.Add(defaultECHRotate)
		if a.mustLook(t, now); a.decrypts(published) != (epoch < echKept) {
			t.Errorf("%d epochs later it decrypts: %v", epoch+1, epoch >= echKept)
		}
	}
	if files := a.loadDisplaced(); len(files) > 0 {
		t.Errorf("files stay: %v", files)
	}
}

// Each value that gives way to another is one more that decrypts, but not without end.
func TestDisplacedECHKeysAreFew(t *testing.T) {
	shared, now := newMemory(), time.Now()
	dir := t.TempDir()
	a := openECHNode(t, shared, dir, now)
	epoch := a.epochAt(now)
	for range 3 * mostDisplaced {
		shared.values[echPlace(epoch)] = a.keys.seal(echPlace(epoch), newKey())
		a.mustLook(t, now)
	}
	if n := len(a.ring.Load().tls); n != 1+mostDisplaced {
		t.Errorf("%d keys are tried, want %d", n, 1+mostDisplaced)
	}
	// So it is over all epochs, and over restarts, with files that an earlier version has left, too.
	for range echKept {
		now = now.Add(defaultECHRotate)
		a.mustLook(t, now)
		epoch = a.epochAt(now)
		for range mostDisplaced {
			shared.values[echPlace(epoch)] = a.keys.seal(echPlace(epoch), newKey())
			a.mustLook(t, now)
		}
		if err := a.keepDisplaced(epoch, newKey()); err != nil {
			t.Fatal(err)
		}
	}
	late := a.begin(epoch + 1).Add(-time.Minute)
	for _, e := range []*echKeys{a, openECHNode(t, shared, dir, late)} {
		if n, want := len(e.mustLook(t, late).tls), echKept+1+echAhead+mostDisplaced; n != want {
			t.Errorf("%d keys are tried, want %d", n, want)
		}
	}
}

// Something else where a key is shared gives way to what the nodes hold, or to a new one.
func TestJunkInThePlaceOfAnECHKey(t *testing.T) {
	now := time.Now()
	for _, junk := range []string{"", "garbage"} {
		shared := newMemory()
		a := openECHNode(t, shared, t.TempDir(), now)
		place := echPlace(a.epochAt(now))
		list := a.mustLook(t, now).list
		shared.values[place] = []byte(junk)
		if ring := a.mustLook(t, now); !bytes.Equal(ring.list, list) {
			t.Error("it took the place of the key")
		}
		if b := openECHNode(t, shared, t.TempDir(), now); !bytes.Equal(b.mustLook(t, now).list, list) {
			t.Error("it is still there")
		}
		clear(shared.values)
		shared.values[place] = []byte(junk)
		if c := openECHNode(t, shared, t.TempDir(), now); c.mustLook(t, now).list == nil {
			t.Error("a new node has none")
		}
	}
}
