package acme

import (
	"context"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
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
	n.Update([]Change{{Name: brokenHost}})
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

func brokenFleetOf(t *testing.T, dirs []string, challenge string) *brokenFleet {
	f := &brokenFleet{t: t, shared: newMemory(), challenge: challenge}
	f.ca = newCountingCA(t, func() time.Duration { return time.Duration(1+rand.IntN(90)) * time.Second })
	for _, dir := range dirs {
		n := &brokenNode{data: dir}
		f.nodes = append(f.nodes, n)
		f.start(n)
	}
	return f
}

// mostWithinAnHour is the largest number of failed validations within any hour.
func (ca *countingCA) mostWithinAnHour() (most int) {
	failed := ca.failures()
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

func eachChallenge(t *testing.T, test func(t *testing.T, dirs []string, challenge string)) {
	for _, challenge := range []string{"", challengeALPN} { // the first: what a self-check chooses that learns nothing
		t.Run("challenge "+challenge, func(t *testing.T) {
			t.Parallel()
			test(t, []string{t.TempDir(), t.TempDir(), t.TempDir()}, challenge)
		})
	}
}

// A host that cannot be validated costs a fleet that stays up five failed validations in a day, at 0, 10, 40, 160 and 520 minutes, with clients
// coming to all nodes all the time.
func TestBrokenHostFailsFiveTimesADay(t *testing.T) {
	eachChallenge(t, func(t *testing.T, dirs []string, challenge string) {
		synctest.Test(t, func(t *testing.T) {
			begin := time.Now()
			f := brokenFleetOf(t, dirs, challenge)
			f.pass(20 * time.Hour)
			failed := f.ca.failures()
			if len(failed) != len(backoffs) || f.ca.mostWithinAnHour() > 3 {
				t.Fatalf("%d failed validations, %d within an hour", len(failed), f.ca.mostWithinAnHour())
			}
			for i, at := range failed {
				var want time.Duration
				for _, wait := range backoffs[:i] {
					want += wait
				}
				slack := want/5 + time.Duration(i+1)*2*time.Minute // ±20 %, and how long the issuer takes
				if after := at.Sub(begin); after < want-slack || after > want+slack {
					t.Errorf("failure %d after %v, want %v", i, after, want)
				}
			}
		})
	})
}

// It costs no more than three within any hour with nodes that are restarted or killed every few minutes, many of them in the middle of an attempt,
// and with Redis away now and then; and it is tried on.
func TestBrokenHostFailsThriceAnHourWhateverHappensToNodes(t *testing.T) {
	eachChallenge(t, func(t *testing.T, dirs []string, challenge string) {
		synctest.Test(t, func(t *testing.T) {
			f := brokenFleetOf(t, dirs, challenge)
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
			failed := f.ca.failures()
			t.Logf("%d restarts, %d of them kills: %d failed validations in three hours, %d within an hour at most", restarts, kills, len(failed), f.ca.mostWithinAnHour())
			if f.ca.mostWithinAnHour() > 3 {
				t.Errorf("%d failed validations within an hour", f.ca.mostWithinAnHour())
			}
			if len(failed) < 3 {
				t.Errorf("only %d attempts", len(failed))
			}
		})
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
