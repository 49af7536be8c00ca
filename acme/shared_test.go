package acme

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/internal/edgetest"
)

// A stalling is what is shared, slow for a moment: each call fails for once, after it has done what it should.
type stalling struct {
	*memory
	done      map[string]bool
	announced []string
}

func (s *stalling) stall(call string, err error) error {
	if !s.done[call] {
		s.done[call] = true
		return errAway
	}
	return err
}

func (s *stalling) WriteRanked(ctx context.Context, key string, value Ranked, life time.Duration) (bool, error) {
	written, err := s.memory.WriteRanked(ctx, key, value, life)
	return written, s.stall("rank "+key, err)
}

func (s *stalling) Write(ctx context.Context, key string, value []byte, life time.Duration) error {
	return s.stall("write "+key, s.memory.Write(ctx, key, value, life))
}

func (s *stalling) Announce(_ context.Context, event string) error {
	s.announced = append(s.announced, event)
	return s.stall("announce "+event, nil)
}

// What was issued, and what has failed, is known to the others, though what is shared did not answer in time for once.
func TestMomentOfWhatIsSharedCostsNoOrder(t *testing.T) {
	shared := &stalling{memory: newMemory(), done: map[string]bool{}}
	m := newManager(t, Options{Issuer: IssuerACME, ACME: ACME{Directory: countingDirectory}, Shared: shared, Keys: keyring(t, oneKey)})
	ca := edgetest.NewCA(t)
	pair := ca.Issue(t, "a.test")
	r := &record{Directory: countingDirectory, PEM: string(pair.KeyPEM) + string(pair.CertPEM) + string(ca.PEM)}
	l, err := r.leaf(SourceACME, "a.test")
	if err != nil {
		t.Fatal(err)
	}
	v := m.issuer.vault
	if _, err := v.put(t.Context(), "a.test", r, l.notAfter); err != nil {
		t.Fatal(err)
	}
	if found, err := v.fetch(t.Context(), m.issuer.held, "a.test"); err != nil || found[0] == nil || found[0].digest != l.digest {
		t.Errorf("what is shared: %v, %v", found, err)
	}
	if want := []string{eventCert + "a.test", eventCert + "a.test"}; !slices.Equal(shared.announced, want) {
		t.Errorf("announced: %q", shared.announced)
	}
	m.issuer.note(t.Context(), "a.test", &failure{Count: 1})
	if f, err := v.failure(t.Context(), "a.test"); err != nil || f.Count != 1 {
		t.Errorf("what has failed: %+v, %v", f, err)
	}
	if _, err := m.issuer.solver.presentAnswer(t.Context(), "a.test", "token", "body"); err != nil || shared.values[tokenKey("token")] == nil {
		t.Errorf("the answer to a challenge is not there: %v", err)
	}
}

// A halting is what is shared, which does not answer for once where it is asked for the account's key, nor where it gets one.
type halting struct {
	*stalling
}

func (h halting) Read(ctx context.Context, keys ...string) ([][]byte, error) {
	found, err := h.memory.Read(ctx, keys...)
	if strings.HasSuffix(keys[0], ":account") {
		err = h.stall("read", err)
	}
	return found, err
}

func (h halting) Create(ctx context.Context, key string, value []byte, life time.Duration) ([]byte, error) {
	if err := h.stall("create", nil); err != nil {
		return nil, err
	}
	return h.memory.Create(ctx, key, value, life)
}

// Neither does it stop the node's orders for as long as an account key would that it has no use of.
func TestMomentOfWhatIsSharedStopsNoOrders(t *testing.T) {
	dir, keys := t.TempDir(), keyring(t, oneKey)
	synctest.Test(t, func(t *testing.T) {
		ca := newCountingCA(t, asSoon)
		shared := halting{&stalling{memory: newMemory(), done: map[string]bool{}}}
		m := countingNode(t, ca, dir, shared, keys)
		m.issuer.process(t.Context(), brokenHost)
		if _, why := m.issuer.accounts[0].alone(); why != nil || len(ca.failures(brokenHost)) != 1 {
			t.Errorf("it was not ordered: %v", why)
		}
		if !shared.done["read"] || !shared.done["create"] {
			t.Error("nothing has failed")
		}
	})
}

// A node that could not read what is shared does so again soon, however long it is until the next full look, and no event.
func TestLookThatFailsIsMadeAgain(t *testing.T) {
	dir, keys := t.TempDir(), keyring(t, oneKey)
	synctest.Test(t, func(t *testing.T) {
		shared := newMemory()
		shared.setAway(true)
		m := newManager(t, Options{Data: dir, Issuer: IssuerACME, ACME: ACME{Directory: countingDirectory}, Shared: shared, Keys: keys})
		m.Update([]Change{{Name: "intranet"}}) // for which nothing is ordered
		stop := run(t, m)
		time.Sleep(5 * time.Second) // of the bubble's time
		synctest.Wait()
		if m.fleet.synced.Load() {
			t.Error("it believes that it has read what was away")
		}
		shared.setAway(false)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if !m.fleet.synced.Load() {
			t.Error("it was not read")
		}
		stop()
	})
}

// A plodding is what is shared, each read of which takes most of the time that it has.
type plodding struct{ *memory }

func (p plodding) ReadRanked(ctx context.Context, keys ...string) ([]Ranked, error) {
	select {
	case <-time.After(sharedWait * 3 / 4):
		return p.memory.ReadRanked(ctx, keys...)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// A look has as long as it needs for all of it, the writing of the folder too; what is bounded is each call.
func TestLookIsNotCutShortByASlowFolderOrRedis(t *testing.T) {
	dir, keys := t.TempDir(), keyring(t, oneKey)
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t, Options{Data: dir, Issuer: IssuerACME, ACME: ACME{Directory: countingDirectory}, Shared: plodding{newMemory()}, Keys: keys})
		m.Update([]Change{{Name: "a.test"}})
		if !m.fleet.bring(t.Context(), "a.test") {
			t.Error("two reads, each within its time, are too much for one look")
		}
	})
}

// Whoever can write what is shared, and no more, has no answer given for a token of his own, nor another's for it.
func TestForgedAnswerToAChallengeIsNotGiven(t *testing.T) {
	shared := newMemory()
	node := func() *Manager {
		return newManager(t, Options{Issuer: IssuerACME, ACME: ACME{Directory: countingDirectory}, Shared: shared, Keys: keyring(t, oneKey)})
	}
	const genuine, forged, moved = "genuine-token-of-22-letters", "forged-token-of-22-letters", "moved-token-of-22-letters"
	if _, err := node().issuer.solver.presentAnswer(t.Context(), "a.test", genuine, "body"); err != nil {
		t.Fatal(err)
	}
	shared.values[tokenKey(forged)] = []byte("a.test body")
	shared.values[tokenKey(moved)] = shared.values[tokenKey(genuine)]
	other := node()
	for token, want := range map[string]string{genuine: "body", forged: "", moved: ""} {
		if body, _ := other.Challenge("a.test", challengePath+token); string(body) != want {
			t.Errorf("%s is answered with %q, want %q", token, body, want)
		}
	}
}
