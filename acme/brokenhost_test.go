package acme

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/internal/edgetest"
)

// A mortal is what is shared, as one process sees it that can be killed: from then on it does nothing any more.
type mortal struct {
	*memory
	dead atomic.Bool
}

func (m *mortal) Read(ctx context.Context, keys ...string) ([][]byte, error) {
	if m.dead.Load() {
		return nil, errAway
	}
	return m.memory.Read(ctx, keys...)
}

func (m *mortal) Write(ctx context.Context, key string, value []byte, life time.Duration) error {
	if m.dead.Load() {
		return errAway
	}
	return m.memory.Write(ctx, key, value, life)
}

func (m *mortal) Release(ctx context.Context, key, owner string) error {
	if m.dead.Load() {
		return errAway
	}
	return m.memory.Release(ctx, key, owner)
}

// A brokenFleet is nodes that want a certificate of a host that no issuer can validate.
type brokenFleet struct {
	t         *testing.T
	ca        *countingCA
	shared    *memory
	challenge string
	wants     []Change
	nodes     []*brokenNode
}

type brokenNode struct {
	*Manager
	data   string
	shared *mortal
	stop   func()
}

const brokenHost = "broken.test"

func (f *brokenFleet) start(n *brokenNode) {
	f.t.Helper()
	n.shared = &mortal{memory: f.shared}
	n.Manager = newManager(f.t, Options{
		Data: n.data, Issuer: IssuerACME, ACME: ACME{Directory: countingDirectory, Challenge: f.challenge}, Shared: n.shared, Keys: keyring(f.t, oneKey),
		HTTPPort: noPort, TLSPort: noPort,
	})
	f.ca.serve(n.Manager)
	n.Update(f.wants)
	n.stop = run(f.t, n.Manager)
}

// pass lets time pass while clients come to all nodes.
func (f *brokenFleet) pass(d time.Duration) {
	f.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); {
		for _, n := range f.nodes {
			if served(f.t, n.Manager, brokenHost) == nil {
				f.t.Fatal("the internal certificate is not served")
			}
			if _, ok := n.Challenge(brokenHost, challengePath+strings.Repeat("x", tokenLeast)); ok {
				f.t.Error("a challenge that nobody has made is answered")
			}
		}
		time.Sleep(min(30*time.Second, time.Until(end))) // of the bubble's time
	}
}

func brokenFleetOf(t *testing.T, dirs []string, challenge string, wants []Change) *brokenFleet {
	f := &brokenFleet{t: t, shared: newMemory(), challenge: challenge, wants: wants}
	f.ca = newCountingCA(t, func() time.Duration { return time.Duration(1+rand.IntN(90)) * time.Second })
	for _, dir := range dirs {
		n := &brokenNode{data: dir}
		f.nodes = append(f.nodes, n)
		f.start(n)
	}
	return f
}

// mostWithinAnHour is the largest number of failed validations of a name within any hour.
func (ca *countingCA) mostWithinAnHour(name string) (most int) {
	failed := ca.failures(name)
	for i := range failed {
		n := 0
		for _, at := range failed[i:] {
			if at.Sub(failed[i]) < time.Hour {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}

// eachChallenge is a broken host by each challenge, by itself and in a set.
func eachChallenge(t *testing.T, test func(t *testing.T, dirs []string, challenge string, wants []Change)) {
	for name, tc := range map[string]struct {
		challenge string
		wants     []Change
	}{
		"http-01":     {"", []Change{{Name: brokenHost}}}, // what a self-check chooses that learns nothing
		"tls-alpn-01": {challengeALPN, []Change{{Name: brokenHost}}},
		"set":         {"", oneOf(brokenHost, brokenHost, "www."+brokenHost, "blog."+brokenHost)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, []string{t.TempDir(), t.TempDir(), t.TempDir()}, tc.challenge, tc.wants)
		})
	}
}

// A host that cannot be validated costs a fleet that stays up five failed validations in a day, at 0, 10, 40, 160 and 520 minutes, with clients
// coming to all nodes all the time.
func TestBrokenHostFailsFiveTimesADay(t *testing.T) {
	eachChallenge(t, func(t *testing.T, dirs []string, challenge string, wants []Change) {
		synctest.Test(t, func(t *testing.T) {
			begin := time.Now()
			f := brokenFleetOf(t, dirs, challenge, wants)
			f.pass(20 * time.Hour)
			for _, c := range wants {
				failed := f.ca.failures(c.Name)
				if len(failed) != len(backoffs) || f.ca.mostWithinAnHour(c.Name) > 3 {
					t.Fatalf("%s: %d failed validations, %d within an hour", c.Name, len(failed), f.ca.mostWithinAnHour(c.Name))
				}
				for i, at := range failed {
					var want time.Duration
					for _, wait := range backoffs[:i] {
						want += wait
					}
					slack := want/5 + time.Duration(i+1)*2*time.Minute // ±20 %, and how long the issuer takes
					if after := at.Sub(begin); after < want-slack || after > want+slack {
						t.Errorf("%s: failure %d after %v, want %v", c.Name, i, after, want)
					}
				}
			}
		})
	})
}

// It costs no more than three within any hour with nodes that are restarted or killed every few minutes, many of them in the middle of an attempt,
// and with Redis away now and then; and it is tried on.
func TestBrokenHostFailsThriceAnHourWhateverHappensToNodes(t *testing.T) {
	eachChallenge(t, func(t *testing.T, dirs []string, challenge string, wants []Change) {
		synctest.Test(t, func(t *testing.T) {
			f := brokenFleetOf(t, dirs, challenge, wants)
			kills, restarts := 0, 0
			for end := time.Now().Add(3 * time.Hour); time.Now().Before(end); {
				f.pass(time.Duration(1+rand.IntN(120)) * time.Second)
				n := f.nodes[rand.IntN(len(f.nodes))]
				switch rand.IntN(3) {
				case 0:
					n.shared.dead.Store(true)
					kills++
				case 1:
					f.shared.setAway(true)
					f.pass(time.Duration(1+rand.IntN(40)) * time.Second)
					f.shared.setAway(false)
				}
				n.stop()
				f.start(n)
				restarts++
			}
			for _, c := range wants {
				n, most := len(f.ca.failures(c.Name)), f.ca.mostWithinAnHour(c.Name)
				t.Logf("%s: %d restarts, %d of them kills: %d failed validations in three hours, %d within an hour at most", c.Name, restarts, kills, n, most)
				if most > 3 || n < 3 {
					t.Errorf("%s: %d failed validations within an hour, %d in all", c.Name, most, n)
				}
			}
		})
	})
}

// A node that has lost the lease in the middle of an attempt takes nothing back of what the one that has it now has noted.
func TestLostLeaseForgetsNobodysAttempt(t *testing.T) {
	dir, keys := t.TempDir(), keyring(t, oneKey)
	synctest.Test(t, func(t *testing.T) {
		shared := newMemory()
		m := countingNode(t, newCountingCA(t, func() time.Duration { return time.Minute }), dir, shared, keys)
		done := make(chan struct{})
		go func() { defer close(done); m.issuer.process(t.Context(), brokenHost) }()
		time.Sleep(leaseBeat / 2) // of the bubble's time
		f, err := m.issuer.vault.failure(t.Context(), brokenHost)
		if err != nil || len(f.Tries) != 1 {
			t.Fatalf("it was not noted: %+v, %v", f, err)
		}
		if f.Tries = append(f.Tries, time.Now()); m.issuer.vault.writeFailure(t.Context(), brokenHost, &f) != nil {
			t.Fatal("it cannot be noted")
		}
		shared.mu.Lock()
		shared.leases[lockKey(brokenHost)] = memoryLease{"another", time.Now().Add(time.Hour)}
		shared.mu.Unlock()
		<-done
		if f, err := m.issuer.vault.failure(t.Context(), brokenHost); err != nil || len(f.Tries) != 2 {
			t.Errorf("what is noted: %+v, %v", f, err)
		}
		if wait := time.Until(m.issuer.plan.at(brokenHost)); wait < time.Minute {
			t.Errorf("it is tried again in %v", wait)
		}
	})
}

// A certificate that is revoked is ordered anew whatever its age, but no sooner than what has failed allows; by hand it is at once.
func TestRevokedCertificateWaitsAsOthersDo(t *testing.T) {
	m := plannedIssuer(t, knows("a.test"))
	m.Update([]Change{{Name: "a.test"}})
	cert, _, err := m.authority.mint("a.test")
	if err != nil {
		t.Fatal(err)
	}
	text, err := pairPEM(cert)
	if err != nil {
		t.Fatal(err)
	}
	l, err := (&record{PEM: string(text), Directory: m.issuer.accounts[0].conf.Directory}).leaf(SourceACME, "a.test")
	if err != nil {
		t.Fatal(err)
	}
	m.issuer.place("a.test", l)
	if err := m.issuer.vault.putFailure(t.Context(), "a.test", &failure{Count: 1, Next: time.Now().Add(30 * time.Minute), Err: "it has failed"}); err != nil {
		t.Fatal(err)
	}
	m.issuer.revoked(l)
	m.issuer.process(t.Context(), "a.test")
	st := statusOf(t, m, "a.test")
	if wait := time.Until(st.NextTry); st.LastError != "it has failed" || wait < 29*time.Minute || wait > 30*time.Minute {
		t.Errorf("status is %+v", st)
	}
	if err := m.Renew("a.test"); err != nil {
		t.Fatal(err)
	}
	m.issuer.process(t.Context(), "a.test") // the connection is refused
	if st := statusOf(t, m, "a.test"); !strings.Contains(st.LastError, errIssuerAway.Error()) {
		t.Errorf("by hand: %+v", st)
	}
}

// So it is with a set: by hand all of it is ordered at once, else those that have failed again and again are left out of what replaces it. One that another
// certificate of the set has taken the place of is no reason for an order.
func TestRevokedCertificateOfASetIsReplacedWithoutWhatFails(t *testing.T) {
	m := plannedIssuer(t, knows("a.test", "b.test"))
	m.Update(oneOf("a.test", "a.test", "b.test"))
	ca := edgetest.NewCA(t)
	issued := func(names ...string) *leaf {
		t.Helper()
		pair := ca.Issue(t, names...)
		l, err := (&record{PEM: string(pair.KeyPEM) + string(pair.CertPEM) + string(ca.PEM), Names: names}).leaf(SourceACME, "a.test")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	i, o := m.issuer, m.issuer.wanted["a.test"]
	first, second := issued("a.test", "b.test"), issued("a.test")
	second.generation = 1
	i.place("a.test", first)
	i.place("a.test", second)
	if i.store.issued("b.test") != first {
		t.Fatal("what is there of a name that is left out is not served any more")
	}
	if i.revoked(first); o.force {
		t.Error("the set is ordered anew for one that it does not have any more")
	}
	if i.revoked(second); !o.force || o.hand {
		t.Error("what was revoked is not ordered anew")
	}
	past := func(minutes ...time.Duration) (times []time.Time) {
		for _, n := range minutes {
			times = append(times, time.Now().Add(-n*time.Minute))
		}
		return times
	}
	whole := []string{"a.test", "b.test"}
	for name, tc := range map[string]struct {
		force, hand bool
		held        *leaf
		f           failure
		names       []string
		wait        time.Duration // roughly
	}{
		"the third time":           {f: failure{Count: 3, Next: time.Now(), Failed: whole[1:], Blamed: past(42, 30, 1)}, names: whole[:1]},
		"cut off thrice":           {f: failure{Tries: past(42, 30, 1)}, names: whole, wait: 28 * time.Minute},
		"cut off without it":       {f: failure{Count: 3, Next: time.Now(), Failed: whole[1:], Blamed: past(42), Tries: past(40, 30, 1)}, names: whole[:1], wait: 30 * time.Minute},
		"twice, and cut off":       {f: failure{Count: 2, Next: time.Now(), Failed: whole[1:], Blamed: past(42, 1), Tries: past(30)}, names: whole, wait: 28 * time.Minute},
		"the others have theirs":   {held: second, f: failure{Count: 3, Next: time.Now().Add(time.Hour), Failed: whole[1:], Rest: true}, names: whole, wait: time.Hour},
		"which is revoked":         {force: true, held: second, f: failure{Count: 3, Next: time.Now().Add(time.Hour), Failed: whole[1:], Rest: true}, names: whole[:1]},
		"revoked, and all fail":    {force: true, held: second, f: failure{Count: 3, Next: time.Now().Add(time.Hour), Failed: whole}, names: whole, wait: time.Hour},
		"by hand":                  {force: true, hand: true, held: second, f: failure{Count: 3, Next: time.Now().Add(time.Hour), Failed: whole[1:], Tries: past(3, 2, 1)}, names: whole},
		"what has failed has left": {f: failure{Count: 3, Next: time.Now().Add(time.Hour), Failed: []string{"c.test"}, Blamed: past(42, 30, 1)}, names: whole},
	} {
		try := &try{key: "a.test", order: &order{leaf: tc.held}, all: whole, names: whole, force: tc.force, hand: tc.hand}
		wait, why := i.choose(try, &tc.f)
		if !slices.Equal(try.names, tc.names) || wait < tc.wait-time.Second || wait > tc.wait+time.Second || wait > 0 && why == nil {
			t.Errorf("%s: %v after %v, %v", name, try.names, wait, why)
		}
	}
}

// An attempt is noted for all names of a set; once it is known which of them failed, it does not count for the others.
func TestAttemptCountsForTheNamesThatItFailedFor(t *testing.T) {
	m := plannedIssuer(t, knows("a.test", "b.test"))
	m.Update(oneOf("a.test", "a.test", "b.test"))
	o := m.issuer.wanted["a.test"]
	whole := &try{key: "a.test", order: o, all: o.names, names: o.names}
	var f failure
	read := func() failure {
		t.Helper()
		f, err := m.issuer.vault.failure(t.Context(), "a.test")
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	for _, step := range []struct {
		err           error
		tries, blamed int
	}{
		{&namesError{[]string{"b.test"}, errAway}, 0, 1},
		{errAway, 1, 1}, // it may have been either
		{&notTriedError{error: errAway}, 1, 1},
		{&namesError{[]string{"b.test"}, errAway}, 1, 2},
	} {
		f = read()
		if err := m.issuer.noteTry(t.Context(), "a.test", &f); err != nil {
			t.Fatal(err)
		}
		if g := read(); len(g.Tries) != len(f.Tries) || len(f.Tries) == 0 {
			t.Errorf("noted beforehand: %+v", g)
		}
		m.issuer.conclude(t.Context(), whole, nil, f, step.err)
		if g := read(); len(g.Tries) != step.tries || len(g.Blamed) != step.blamed {
			t.Errorf("%v: %+v", step.err, g)
		}
	}
}
