package acme

import (
	"crypto/tls"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func keyring(t testing.TB, keys ...string) *Keyring {
	t.Helper()
	var all [][]byte
	for _, key := range keys {
		all = append(all, []byte(key))
	}
	k, err := NewKeyring(all...)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

const oneKey, otherKey = "0123456789abcdef0123456789abcdef", "another key of 32 bytes, for one"

// A ticketNode is the tickets of one node of a fleet.
type ticketNode struct {
	*tickets
	dir string
}

func openTicketNode(t testing.TB, shared Shared, dir string, now time.Time) *ticketNode {
	t.Helper()
	n := &ticketNode{dir: dir, tickets: &tickets{
		dir: dir, known: func(string) bool { return true }, log: slog.New(slog.DiscardHandler), count: newMetrics().tickets,
		shared: shared, keys: keyring(t, oneKey),
	}}
	if err := n.rotate(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	n.asks = true
	return n
}

// resumes reports whether what one node has sealed opens on another.
func resumes(t testing.TB, from, to *ticketNode, name string) bool {
	t.Helper()
	ticket, err := from.wrap(tls.ConnectionState{ServerName: "a.test"}, session(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	return to.open(ticket, name) != nil
}

// Four nodes, eight rotations at times that differ by some seconds, a restart and an outage: what any node has sealed opens on every other.
func TestTicketsResumeOnEveryNodeThroughRotationsRestartAndOutage(t *testing.T) {
	shared := newMemory()
	now := time.Now()
	nodes := make([]*ticketNode, 4)
	for i := range nodes {
		nodes[i] = openTicketNode(t, shared, t.TempDir(), now)
		if err := nodes[i].rotate(t.Context(), now); err != nil {
			t.Fatal(err)
		}
	}
	all := func(when string) {
		t.Helper()
		for i, from := range nodes {
			for k, to := range nodes {
				if !resumes(t, from, to, "a.test") {
					t.Errorf("%s: what node %d has sealed does not open on node %d", when, i, k)
				}
				if resumes(t, from, to, "b.test") {
					t.Errorf("%s: it opens under another name", when)
				}
			}
		}
	}
	all("at first")
	for epoch := range 8 {
		now = now.Add(ticketEpoch)
		for i := range nodes { // one after the other: the rest still has the ring before
			if err := nodes[i].rotate(t.Context(), now.Add(time.Duration(i)*time.Second)); err != nil {
				t.Fatal(err)
			}
			all("while rotating")
		}
		if epoch == 3 {
			nodes[2] = openTicketNode(t, shared, nodes[2].dir, now)
			all("after a restart")
		}
	}
	shared.setAway(true)
	for range 2 { // the key of the second epoch was not there when it went
		now = now.Add(ticketEpoch)
		for i := range nodes {
			_ = nodes[i].rotate(t.Context(), now) // it says that it could not ask
		}
		all("while what is shared is away")
	}
	nodes[1] = openTicketNode(t, shared, nodes[1].dir, now)
	all("after a restart meanwhile")
	shared.setAway(false)
	for i := range nodes {
		if err := nodes[i].rotate(t.Context(), now); err != nil {
			t.Fatal(err)
		}
		all("when it is back")
	}
	for i := range nodes {
		if err := nodes[i].rotate(t.Context(), now.Add(ticketSettle)); err != nil {
			t.Fatal(err)
		}
		all("some time after")
	}
	if ring := nodes[0].ring.Load(); ring.current != ring.epoch || ring.incomplete {
		t.Errorf("it does not go on with the key of the present: %+v", ring)
	}
	if entries, err := os.ReadDir(nodes[0].dir); err != nil || len(entries) > 4 {
		t.Errorf("old keys stay: %v %v", entries, err)
	}
}

// A node that is new while what is shared is away seals by a key of its own, and by the others' when they are back.
func TestNodeWithoutAnyKeyOfTheOthersSealsAlone(t *testing.T) {
	shared := newMemory()
	now := time.Now()
	other := openTicketNode(t, shared, t.TempDir(), now)
	if err := other.rotate(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	shared.setAway(true)
	n := openTicketNode(t, shared, t.TempDir(), now)
	if !resumes(t, n, n, "a.test") || resumes(t, n, other, "a.test") {
		t.Error("it does not seal by a key of its own")
	}
	_ = n.rotate(t.Context(), now)
	if !resumes(t, n, n, "a.test") {
		t.Error("another look at what is away has changed the key")
	}
	shared.setAway(false)
	if err := n.rotate(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	if !resumes(t, n, other, "a.test") || !resumes(t, other, n, "a.test") || n.ring.Load().alone {
		t.Error("it goes on alone")
	}
}

// What a Redis has lost comes back, all of it, from whoever has it first: a node that is new then has the same keys, and one that made its own before is
// followed by the others.
func TestTicketsResumeOnEveryNodeAfterRedisWasEmptied(t *testing.T) {
	shared, now := newMemory(), time.Now()
	a := openTicketNode(t, shared, t.TempDir(), now.Add(-ticketEpoch))
	for _, at := range []time.Time{now.Add(-ticketEpoch), now} {
		if err := a.rotate(t.Context(), at); err != nil {
			t.Fatal(err)
		}
	}
	empty := func() {
		t.Helper()
		shared.mu.Lock()
		defer shared.mu.Unlock()
		if len(shared.values) < 3 {
			t.Errorf("only %d keys are shared", len(shared.values))
		}
		clear(shared.values)
	}
	look := func(n *ticketNode, at time.Time) {
		t.Helper()
		if err := n.lookAgain(t.Context(), at); err != nil {
			t.Fatal(err)
		}
	}
	join := func() *ticketNode {
		n := openTicketNode(t, shared, t.TempDir(), now)
		if err := n.rotate(t.Context(), now); err != nil {
			t.Fatal(err)
		}
		return n
	}
	empty()
	look(a, now)
	b := join()
	if !resumes(t, a, b, "a.test") || !resumes(t, b, a, "a.test") {
		t.Error("a new node has other keys, though one looked before it came")
	}
	empty()
	c := join()
	look(a, now)
	look(b, now)
	now = now.Add(ticketSettle)
	for _, from := range []*ticketNode{a, b, c} {
		look(from, now)
		for _, to := range []*ticketNode{a, b, c} {
			if !resumes(t, from, to, "a.test") {
				t.Error("a node that was there first is not followed")
			}
		}
	}
}

// Something else where a key of tickets is shared gives way to what the nodes hold, or to a new one; what other seal keys have sealed does not.
func TestJunkInThePlaceOfATicketKey(t *testing.T) {
	now := time.Now()
	for name, junk := range map[string]string{"another type": "", "text": "garbage", "of another place": string(keyring(t, oneKey).seal("x", newKey()))} {
		t.Run(name, func(t *testing.T) {
			shared := newMemory()
			place := ticketPlace(epochAt(now))
			shared.values[place] = []byte(junk)
			a := openTicketNode(t, shared, t.TempDir(), now)
			if err := a.rotate(t.Context(), now); err != nil {
				t.Fatal(err)
			}
			good := shared.values[place]
			shared.values[place] = []byte(junk)
			if err := a.lookAgain(t.Context(), now); err != nil {
				t.Fatal(err)
			}
			b := openTicketNode(t, shared, t.TempDir(), now)
			if err := b.rotate(t.Context(), now); err != nil || !resumes(t, a, b, "a.test") || !resumes(t, b, a, "a.test") {
				t.Errorf("the nodes do not agree: %v", err)
			}
			if key, _ := a.unseal(epochAt(now), shared.values[place]); key == nil || string(good) == junk {
				t.Error("it stays")
			}
		})
	}
}

// After a change of seal keys, what was sealed by the old one opens without it, where it is shared and in the folder.
func TestSealKeyRotationKeepsTicketKeys(t *testing.T) {
	shared, dir, now := newMemory(), t.TempDir(), time.Now()
	open := func(shared Shared, dir string, keys ...string) *ticketNode {
		t.Helper()
		n := &ticketNode{dir: dir, tickets: &tickets{
			dir: dir, known: func(string) bool { return true }, log: slog.New(slog.DiscardHandler), count: newMetrics().tickets, shared: shared, keys: keyring(t, keys...), asks: true,
		}}
		if err := n.rotate(t.Context(), now); err != nil {
			t.Fatal(err)
		}
		return n
	}
	first := open(shared, dir, oneKey)
	open(shared, dir, oneKey, otherKey)
	open(shared, dir, otherKey, oneKey)
	if last := open(shared, t.TempDir(), otherKey); !resumes(t, first, last, "a.test") {
		t.Error("what is shared is lost")
	}
	if last := open(newMemory(), dir, otherKey); !resumes(t, first, last, "a.test") {
		t.Error("the folder is lost")
	}
}

// Neither what is shared nor the folder has a key that could be read.
func TestSharedTicketKeysAreSealed(t *testing.T) {
	shared := newMemory()
	n := openTicketNode(t, shared, t.TempDir(), time.Now())
	if err := n.rotate(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	stranger := openTicketNode(t, shared, t.TempDir(), time.Now())
	stranger.keys = keyring(t, otherKey)
	if err := stranger.rotate(t.Context(), time.Now()); err == nil || !strings.Contains(err.Error(), "not sealed by any of seal_keys") {
		t.Errorf("another key: %v", err)
	}
	if resumes(t, n, stranger, "a.test") {
		t.Error("tickets open without the key")
	}
	for key, value := range shared.values {
		if len(value) <= ticketKeySize {
			t.Errorf("%s is not sealed", key)
		}
	}
	files, err := filepath.Glob(filepath.Join(n.dir, "*.key"))
	if err != nil || len(files) > 0 {
		t.Errorf("plain keys in the folder: %v %v", files, err)
	}
}

func TestSealedIsOfOnePlaceAndOneKey(t *testing.T) {
	k := keyring(t, oneKey, otherKey)
	sealed := k.seal("cert:{a.test}", []byte("secret"))
	if plain, old, err := k.open("cert:{a.test}", sealed); err != nil || old || string(plain) != "secret" {
		t.Errorf("%q %v %v", plain, old, err)
	}
	if _, _, err := k.open("cert:{b.test}", sealed); err == nil {
		t.Error("it opens in another place")
	}
	turned := keyring(t, otherKey, oneKey)
	if plain, old, err := turned.open("cert:{a.test}", sealed); err != nil || !old || string(plain) != "secret" {
		t.Errorf("after the keys have changed places: %q %v %v", plain, old, err)
	}
	if _, _, err := keyring(t, otherKey).open("cert:{a.test}", sealed); err == nil {
		t.Error("it opens without its key")
	}
	for i := range sealed {
		forged := append([]byte(nil), sealed...)
		forged[i] ^= 1
		if _, _, err := k.open("cert:{a.test}", forged); err == nil {
			t.Errorf("octet %d changed", i)
		}
	}
	for n := range sealed {
		if _, _, err := k.open("cert:{a.test}", sealed[:n]); err == nil {
			t.Errorf("cut to %d", n)
		}
	}
}

func TestSealKeysAreRead(t *testing.T) {
	for text, good := range map[string]bool{
		strings.Repeat("0f", 32): true, " " + strings.Repeat("AB", 32) + "\n": true, "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=": true,
		"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY": true, "": false, "hunter2": false, strings.Repeat("0f", 31): false, strings.Repeat("0f", 33): false,
	} {
		if key, err := ParseSealKey(text); (err == nil) != good || good && len(key) != 32 {
			t.Errorf("%q: %d bytes, %v", text, len(key), err)
		}
	}
	if _, err := NewKeyring([]byte("short")); err == nil {
		t.Error("a short key is taken")
	}
}
