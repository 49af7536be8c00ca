package acme

import (
	"os"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
)

// What somebody wrote where a certificate is shared counts for nothing unless it opens and is of the rank that it is said to be: what is issued takes its
// place, and what a node holds, too.
func TestForgedRankHoldsUpNoCertificate(t *testing.T) {
	ca := edgetest.NewCA(t)
	old, issued := ca.IssueWith(t, edgetest.LeafOptions{NotAfter: time.Now().Add(time.Hour)}, "a.test"), ca.Issue(t, "a.test")
	recordOf := func(l *edgetest.Leaf) *record {
		return &record{Directory: countingDirectory, PEM: string(l.KeyPEM) + string(l.CertPEM)}
	}
	const most = 1<<53 - 1
	for name, forge := range map[string]func(there Ranked) Ranked{
		"garbage":                     func(Ranked) Ranked { return Ranked{[]byte("garbage"), most} },
		"no value":                    func(Ranked) Ranked { return Ranked{[]byte{}, most} },
		"an old one in a higher rank": func(there Ranked) Ranked { return Ranked{there.Value, most} },
	} {
		t.Run(name, func(t *testing.T) {
			shared := newMemory()
			log, lines := newLog()
			m := newManager(t, Options{
				Issuer: IssuerACME, ACME: ACME{Directory: countingDirectory}, Shared: shared, Keys: keyring(t, oneKey), Logger: log,
			})
			m.Update([]Change{{Name: "a.test"}})
			v, key := m.issuer.vault, certKey("a.test")
			if _, err := v.put(t.Context(), "a.test", recordOf(old), old.TLS.Leaf.NotAfter); err != nil {
				t.Fatal(err)
			}
			shared.ranked[key] = forge(shared.ranked[key])
			if stale, err := v.put(t.Context(), "a.test", recordOf(issued), issued.TLS.Leaf.NotAfter); stale || err != nil {
				t.Errorf("what was issued: stale %v, %v", stale, err)
			}
			here, err := os.ReadFile(v.file("a.test"))
			if err != nil || string(here) != string(shared.ranked[key].Value) {
				t.Errorf("the folder has something else: %v", err)
			}
			m.issuer.read("a.test")
			if shared.ranked[key] = forge(shared.ranked[key]); name == "an old one in a higher rank" {
				return
			}
			for range 2 {
				if !m.fleet.bring(t.Context(), "a.test") {
					t.Fatal("what is shared could not be read")
				}
			}
			if string(shared.ranked[key].Value) != string(here) {
				t.Error("what a node holds is not shared again")
			}
			if n := strings.Count(lines.String(), "shared certificate not usable"); n != 1 {
				t.Errorf("the log says so %d times", n)
			}
		})
	}
}

// An import goes on from the rank of what was imported, not from one that somebody wrote.
func TestForgedRankHoldsUpNoImport(t *testing.T) {
	shared := newMemory()
	m := newManager(t, Options{Shared: shared, Keys: keyring(t, oneKey)})
	key := m.imports.vault.key("a.test")
	shared.ranked[key] = Ranked{[]byte("garbage"), 1<<53 - 1}
	l := edgetest.NewCA(t).Issue(t, "a.test")
	if _, _, err := m.Import(t.Context(), l.CertPEM, l.KeyPEM); err != nil {
		t.Fatal(err)
	}
	if got := generationOf(shared.ranked[key].Rank); got != 1 {
		t.Errorf("generation %d, want 1", got)
	}
}

// What no node has written of failed orders is as nothing, and neither stops orders nor ends the process.
func TestForgedFailureHoldsUpNoOrder(t *testing.T) {
	shared := newMemory()
	log, lines := newLog()
	m := newManager(t, Options{Issuer: IssuerACME, ACME: ACME{Directory: countingDirectory}, Shared: shared, Keys: keyring(t, oneKey), Logger: log})
	m.Update([]Change{{Name: "a.test"}})
	try := &try{key: "a.test", order: &order{}, names: []string{"a.test"}, all: []string{"a.test"}}
	for name, text := range map[string]string{
		"garbage": "garbage", "nothing": "", "far": `{"next":"9998-01-01T00:00:00Z"}`, "negative": `{"count":-7}`, "countless": `{"count":9000000000000000000}`,
		"tries": `{"tries":["9998-01-01T00:00:00Z","9998-01-01T00:00:00Z","9998-01-01T00:00:00Z"]}`, "blamed": `{"blamed":["9998-01-01T00:00:00Z"]}`, "told": `{"told":"9998-01-01T00:00:00Z"}`,
	} {
		shared.values[failKey("a.test")] = []byte(text)
		for range 2 {
			f, err := m.issuer.vault.failure(t.Context(), "a.test")
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if wait, why := m.issuer.choose(try, &f); wait > 0 || f.Count != 0 || !f.Told.IsZero() {
				t.Errorf("%s: %v, since %v", name, wait, why)
			}
		}
	}
	if n := strings.Count(lines.String(), "cannot be true"); n == 0 || n > 8 {
		t.Errorf("the log says so %d times", n)
	}
	real := &failure{Count: 2, Next: time.Now().Add(28 * time.Hour), Err: "refused", Tries: []time.Time{time.Now()}}
	if err := m.issuer.vault.putFailure(t.Context(), "a.test", real); err != nil {
		t.Fatal(err)
	}
	if f, err := m.issuer.vault.failure(t.Context(), "a.test"); err != nil || f.Count != 2 {
		t.Errorf("one of a node: %+v %v", f, err)
	}
	a := m.issuer.accounts[0]
	shared.values[accountKeyOf(countingDirectory, "until")] = []byte("253370764800")
	if until := a.resting(t.Context()); !until.IsZero() {
		t.Errorf("no orders before %v", until)
	}
}

// What an issuer is said to have said of years to come keeps no node from asking it.
func TestForgedWordOfTheIssuerIsNotBelieved(t *testing.T) {
	shared := newMemory()
	m := newManager(t, Options{Issuer: IssuerACME, ACME: ACME{Directory: countingDirectory}, Shared: shared, Keys: keyring(t, oneKey)})
	for again, want := range map[time.Duration]bool{ariLatest * 6 / 5: true, 1000 * ariLatest: false} {
		m.issuer.shareWindow(t.Context(), "a.test", renewalWindow{Cert: "id", At: time.Now(), Again: time.Now().Add(again)})
		if w, fresh := m.issuer.sharedWindow(t.Context(), "a.test", "id"); fresh != want || w.At.IsZero() == want {
			t.Errorf("again after %v: %+v, fresh %v", again, w, fresh)
		}
	}
}

// A node that has the account's key puts it back where somebody wrote over it; one that has none does not know better, nor does one with other seal keys.
func TestOverwrittenAccountKeyComesBack(t *testing.T) {
	shared, key := newMemory(), accountKeyOf(countingDirectory, "account")
	node := func(sealKey string) *account {
		m := newManager(t, Options{Issuer: IssuerACME, ACME: ACME{Directory: countingDirectory}, Shared: shared, Keys: keyring(t, sealKey)})
		return m.issuer.accounts[0]
	}
	secretOf := func(a *account) (string, error) {
		text, err := a.vault.secret(t.Context(), key, a.file, newAccountKey)
		return string(text), err
	}
	a, other := node(oneKey), node(otherKey)
	was, err := secretOf(a)
	if err != nil {
		t.Fatal(err)
	}
	for _, junk := range []string{"", "garbage", string(shared.values[key][:40])} {
		shared.values[key] = []byte(junk)
		if _, err := secretOf(node(oneKey)); err == nil {
			t.Errorf("%q: a node that has none makes another", junk)
		}
		if again, err := secretOf(a); err != nil || again != was {
			t.Errorf("%q: %v", junk, err)
		}
		if there, err := secretOf(node(oneKey)); err != nil || there != was {
			t.Errorf("%q: it is not back: %v", junk, err)
		}
	}
	if _, err := secretOf(other); err == nil {
		t.Error("a node with other seal keys has an account key")
	}
	if there, err := secretOf(node(oneKey)); err != nil || there != was {
		t.Errorf("it was replaced by a node with other seal keys: %v", err)
	}
}
