package health

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// joined is a node that shares what others do, and checks backends that are sick, until stop is called.
func joined(t *testing.T, shared Shared, name string) (p *Prober, stop func()) {
	t.Helper()
	p = NewProber(ProberOptions{
		Probe: func(context.Context, Target) error { return errSick },
		Found: func(Target, *Finding) {},
	})
	p.Add(target("http://a"))
	p.Add(target("http://z"))
	r := Open(Options{Shared: shared, Node: name, Prober: p})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- r.Run(ctx) }()
	return p, func() {
		cancel()
		<-ended
	}
}

// Changes of one vhost's checks, which reach now one node first and now the other, do not have the nodes take turns: none would count to the end.
func TestChangesOfTargetsLetChecksConclude(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shared := &memory{}
		a, stopA := joined(t, shared, "a")
		stopA = sync.OnceFunc(stopA)
		defer stopA()
		time.Sleep(leaseBeat / 2)
		b, stopB := joined(t, shared, "b")
		defer stopB()
		last := target("http://z")
		// change changes another target: now it is b's beat that comes next, and the next time a's.
		change := func(i int, nodes ...*Prober) {
			next := target(fmt.Sprint("http://", i))
			time.Sleep(leaseBeat * 6 / 10)
			for _, p := range nodes {
				p.Add(next)
				p.Remove(last)
				time.Sleep(leaseBeat / 5)
			}
			last = next
			time.Sleep(leaseBeat * 25 / 10)
		}
		time.Sleep(leaseBeat)
		for i := range 8 {
			if change(i, a, b); !a.Leading() || b.Leading() {
				t.Fatalf("after %d changes a checks: %v, b: %v", i+1, a.Leading(), b.Leading())
			}
		}
		if a.Down() == 0 || b.Down() == 0 {
			t.Errorf("%d and %d backends are down", a.Down(), b.Down())
		}
		stopA()
		for i := range 3 {
			change(100+i, b)
		}
		if !b.Leading() {
			t.Error("nobody checks after the one who did has left, while targets change")
		}
	})
}

// Who has other targets now gives the lease of those before back: a node that still has them need not wait for its end.
func TestTheLeaseOfFormerTargetsIsGivenBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shared := &memory{}
		p, stop := joined(t, shared, "a")
		defer stop()
		time.Sleep(leaseBeat * 3 / 2)
		leased := func(digest string) bool {
			out, err := shared.Leased(t.Context(), digest)
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
		former := p.Digest()
		if !leased(former) {
			t.Fatal("nobody has the lease")
		}
		p.Add(target("http://new"))
		time.Sleep(leaseBeat) // a lease lives for several
		if leased(former) || !leased(p.Digest()) || !p.Leading() {
			t.Errorf("after a change the former lease is held: %v, that of the present targets: %v", leased(former), leased(p.Digest()))
		}
	})
}

// What was found of a target does not outlive it.
func TestFindingsOfRemovedTargetsGo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shared := &memory{}
		p, stop := joined(t, shared, "a")
		defer stop()
		time.Sleep(12 * time.Second)
		if len(shared.findings()) != 2 {
			t.Fatalf("down: %v", shared.findings())
		}
		untold := target("http://untold").place().String()
		if err := shared.Tell(t.Context(), map[string]*Finding{untold: {Told: time.Now()}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(findingLife - time.Minute)
		if len(shared.findings()) != 3 {
			t.Errorf("within an hour: %v", shared.findings())
		}
		time.Sleep(2 * time.Minute)
		if _, there := shared.findings()[untold]; there || len(shared.findings()) != 2 {
			t.Errorf("after an hour: %v", shared.findings())
		}
		p.Remove(target("http://a"))
		p.Remove(target("http://z"))
		time.Sleep(2 * leaseBeat)
		if len(shared.findings()) != 0 {
			t.Errorf("without targets: %v", shared.findings())
		}
	})
}

// Who begins to check does not check all at once.
func TestFirstChecksAreSpreadWhenANodeBeginsToLead(t *testing.T) {
	t.Parallel()
	probe(t, func(t *testing.T, p *probing) {
		const many = 60
		for i := range many {
			p.Add(target(fmt.Sprint("http://", i)))
		}
		checked := func() (n int) {
			for i := range many {
				n += len(p.checks(fmt.Sprint("http://", i)))
			}
			return n
		}
		time.Sleep(time.Minute)
		p.Lead(true)
		time.Sleep(time.Second)
		synctest.Wait()
		if n := checked(); n == 0 || n > many/2 {
			t.Errorf("%d checks of %d in a third of the interval", n, many)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if n := checked(); n != many {
			t.Errorf("%d checks of %d in an interval", n, many)
		}
	})
}
