package balance

import (
	"fmt"
	"math"
	"sync"
	"testing"
	"time"
)

var policies = []Policy{P2C, Random, RoundRobin, LeastConn, HashIP, HashHost, HashPathSegment, ""}

// pool makes one whose backends have these names.
func pool(policy Policy, names ...string) *Pool[string] {
	specs := make([]Spec[string], len(names))
	for i, name := range names {
		specs[i] = Spec[string]{Backend: name, Name: name}
	}
	return New(policy, specs)
}

// weighted makes one whose backends are a, b, c, ….
func weighted(policy Policy, weights ...int) *Pool[string] {
	specs := make([]Spec[string], len(weights))
	for i, w := range weights {
		name := string(rune('a' + i))
		specs[i] = Spec[string]{Backend: name, Name: name, Weight: w}
	}
	return New(policy, specs)
}

// picks counts which backend is picked in n tries, each with a hash of its own.
func picks(t *testing.T, p *Pool[string], n int, tried ...*Member[string]) map[string]int {
	t.Helper()
	count := map[string]int{}
	for i := range n {
		a, ok := p.Pick(Hash(fmt.Sprint(i)), tried)
		if !ok {
			t.Fatal("nothing was picked")
		}
		count[a.Member().Backend]++
		a.Done()
	}
	return count
}

// try makes an attempt at the i-th member, whatever the policy says.
func try(p *Pool[string], i int, o Outcome) time.Duration {
	a := p.Begin(p.Members()[i])
	defer a.Done()
	return a.Report(o)
}

func TestAnEmptyPoolPicksNothing(t *testing.T) {
	for _, policy := range policies {
		if a, ok := pool(policy).Pick(1, nil); ok || a.Member() != nil {
			t.Errorf("%q picked %v from nothing", policy, a)
		}
	}
	var zero Pool[string]
	if _, ok := zero.Pick(1, nil); ok {
		t.Error("the zero pool picked something")
	}
}

func TestATriedMemberIsNeverPickedAgain(t *testing.T) {
	for _, policy := range policies {
		for _, p := range []*Pool[string]{pool(policy, "a", "b", "c"), weighted(policy, 5, 1, 3)} {
			for i := range 200 {
				var tried []*Member[string]
				seen := map[string]bool{}
				for range 3 {
					a, ok := p.Pick(Hash(fmt.Sprint(i)), tried)
					if !ok || seen[a.Member().Backend] {
						t.Fatalf("%q: after %d tries: picked %v, ok %v", policy, len(tried), a.Member(), ok)
					}
					seen[a.Member().Backend] = true
					tried = append(tried, a.Member())
					a.Done()
				}
				if a, ok := p.Pick(0, tried); ok {
					t.Fatalf("%q picked %v though all were tried", policy, a.Member().Backend)
				}
			}
		}
	}
}

// A URL that stands in a list twice is one backend: a second try there would fail again.
func TestTheSameBackendIsNotTriedUnderItsSecondEntry(t *testing.T) {
	same := NewState()
	p := New(P2C, []Spec[string]{{Backend: "a", State: same}, {Backend: "a", State: same}})
	if _, ok := p.Pick(1, p.Members()[:1]); ok {
		t.Error("it was picked once more")
	}
}

func TestLoadIsSpreadEvenly(t *testing.T) {
	for _, policy := range policies {
		for name, n := range picks(t, pool(policy, "a", "b", "c", "d"), 8000) {
			if math.Abs(float64(n)-2000) > 400 { // about ten standard deviations
				t.Errorf("%q: %s got %d of 8000", policy, name, n)
			}
		}
	}
}

func TestWeightsAreShares(t *testing.T) {
	for _, policy := range policies {
		count := picks(t, weighted(policy, 1, 3, 6), 10_000)
		for i, want := range []int{1000, 3000, 6000} {
			if n := count[string(rune('a'+i))]; math.Abs(float64(n-want)) > 400 {
				t.Errorf("%q: weight %d got %d of 10000", policy, want/1000, n)
			}
		}
	}
}

// Weights count under load, too: who has three times the weight takes three times as much at a time.
func TestWeightsAreSharesOfWhatIsInFlight(t *testing.T) {
	for _, policy := range []Policy{P2C, LeastConn} {
		p := weighted(policy, 1, 3)
		for range 400 {
			if _, ok := p.Pick(0, nil); !ok {
				t.Fatal("nothing was picked")
			}
		}
		if n := p.Members()[0].State().InFlight(); n < 90 || n > 110 {
			t.Errorf("%q: %d of 400 are in flight at a quarter of the weights", policy, n)
		}
	}
}

func TestRoundRobinGoesInOrder(t *testing.T) {
	p := pool(RoundRobin, "a", "b", "c")
	got := ""
	for range 7 {
		a, _ := p.Pick(0, nil)
		got += a.Member().Backend
	}
	if got != "abcabca" {
		t.Errorf("order %s", got)
	}
}

// By turns, with weights, means that nobody gets his share in one go.
func TestWeightedRoundRobinMixes(t *testing.T) {
	p := weighted(RoundRobin, 5, 1)
	last, row := "", 0
	for range 600 {
		a, _ := p.Pick(0, nil)
		if name := a.Member().Backend; name != last {
			last, row = name, 0
		}
		if row++; last == "b" && row > 1 || row > 8 {
			t.Fatalf("%s came %d times in a row", last, row)
		}
	}
}

func TestTheBusyOneIsPassedOver(t *testing.T) {
	for _, policy := range []Policy{P2C, LeastConn} {
		p := pool(policy, "busy", "b")
		busy := p.Begin(p.Members()[0])
		if n := picks(t, p, 100)["busy"]; n != 0 {
			t.Errorf("%q: the busy one of two was picked %d times", policy, n)
		}
		busy.Done()
		busy.Done() // nothing more
		if n := picks(t, p, 1000)["busy"]; n < 300 {
			t.Errorf("%q: after its request ended it was picked %d times of 1000", policy, n)
		}
	}
}

// When a backend comes, it takes its share and nothing else moves; when one goes, only what it had moves.
func TestFewKeysMove(t *testing.T) {
	const keys = 20_000
	owners := func(p *Pool[string]) []string {
		out := make([]string, keys)
		for i := range out {
			a, _ := p.Pick(Hash(fmt.Sprint("key", i)), nil)
			out[i] = a.Member().Backend
			a.Done()
		}
		return out
	}
	for _, n := range []int{1, 2, 3, 7, 17} {
		names := make([]string, n+1)
		even, weights := make([]Spec[string], n+1), make([]Spec[string], n+1)
		for i := range names {
			names[i] = fmt.Sprintf("http://10.0.0.%d:8000", i)
			even[i] = Spec[string]{Backend: names[i], Name: names[i]}
			weights[i] = Spec[string]{Backend: names[i], Name: names[i], Weight: 2 + i%3}
		}
		weights[n].Weight = 1 // or its share would be larger
		for kind, specs := range map[string][]Spec[string]{"even": even, "weighted": weights} {
			before, after := owners(New(HashHost, specs[:n])), owners(New(HashHost, specs))
			moved := 0
			for i := range before {
				if before[i] == after[i] {
					continue
				}
				moved++
				if after[i] != names[n] {
					t.Fatalf("%d %s backends: a key went from %s to %s, which were there before", n, kind, before[i], after[i])
				}
			}
			if most := float64(keys) * (1/float64(n+1) + 0.05); float64(moved) > most || moved == 0 {
				t.Errorf("%d %s backends and one more: %d of %d keys moved, want %.0f at most", n, kind, moved, keys, most)
			}
		}
	}
}

// Keys go by the backends' names, not by their places in the list.
func TestTheOrderOfBackendsDoesNotMatter(t *testing.T) {
	one, other := pool(HashIP, "a", "b", "c"), pool(HashIP, "c", "a", "b")
	for i := range 200 {
		x, _ := one.Pick(Hash(fmt.Sprint(i)), nil)
		y, _ := other.Pick(Hash(fmt.Sprint(i)), nil)
		if x.Member().Backend != y.Member().Backend {
			t.Fatalf("key %d: %s, and in another order %s", i, x.Member().Backend, y.Member().Backend)
		}
	}
}

func TestADrainedMemberIsNeverPicked(t *testing.T) {
	for _, policy := range policies {
		p := pool(policy, "a", "b", "c")
		a, b, c := p.Members()[0].State(), p.Members()[1], p.Members()[2]
		a.SetDrained(true)
		if n := picks(t, p, 1000)["a"]; n != 0 {
			t.Errorf("%q: it was picked %d times", policy, n)
		}
		try(p, 1, Unreachable)
		try(p, 2, Unreachable)
		if n := picks(t, p, 1000)["a"]; n != 0 {
			t.Errorf("%q: with the others in trouble it was picked %d times", policy, n)
		}
		if _, ok := p.Pick(1, []*Member[string]{b, c}); ok {
			t.Errorf("%q: it was picked rather than nobody", policy)
		}
		if _, ok := p.PickMember(p.Members()[0]); ok {
			t.Errorf("%q: it was picked by name", policy)
		}
		a.SetDrained(false)
		if picks(t, p, 1000)["a"] == 0 {
			t.Errorf("%q: it is still not picked", policy)
		}
	}
}

func TestACheckThatFailsTakesAMemberOut(t *testing.T) {
	var check Check
	p := New(P2C, []Spec[string]{{Backend: "a", Check: &check}, {Backend: "b"}})
	check.Set(true)
	if count := picks(t, p, 100); count["a"] != 0 {
		t.Errorf("picked %v", count)
	}
	check.Set(false)
	if count := picks(t, p, 100); count["a"] == 0 {
		t.Errorf("after it: picked %v", count)
	}
}

func TestCountersHoldUnderConcurrency(t *testing.T) {
	p := pool(P2C, "a", "b", "c")
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 500 {
				a, ok := p.Pick(0, nil)
				if !ok {
					t.Error("nothing picked")
					return
				}
				a.Report([]Outcome{Answered, Failed, Unreachable, Unknown}[(g+i)%4])
				a.Done()
			}
		})
	}
	wg.Wait()
	for _, m := range p.Members() {
		if n := m.State().InFlight(); n != 0 {
			t.Errorf("%s: %d in flight at rest", m.Backend, n)
		}
	}
}

func TestPickDoesNotAllocate(t *testing.T) {
	for _, policy := range policies {
		p := pool(policy, "a", "b", "c")
		tried := p.Members()[:1]
		try(p, 2, Unreachable)
		n := testing.AllocsPerRun(100, func() {
			for _, tried := range [][]*Member[string]{nil, tried} {
				a, _ := p.Pick(7, tried)
				a.Report(Answered)
				a.Done()
			}
		})
		if n != 0 {
			t.Errorf("%q: %v allocations", policy, n)
		}
	}
}

func BenchmarkPick(b *testing.B) {
	for _, policy := range policies[:5] {
		for _, n := range []int{2, 5, 50} {
			b.Run(fmt.Sprintf("%s/%d", policy, n), func(b *testing.B) {
				specs := make([]Spec[int], n)
				for i := range specs {
					specs[i] = Spec[int]{Backend: i, Name: fmt.Sprint(i)}
				}
				p := New(policy, specs)
				b.ReportAllocs()
				for i := range b.N {
					a, _ := p.Pick(uint64(i), nil)
					a.Report(Answered)
					a.Done()
				}
			})
		}
	}
}

// Whoever has to wait for one backend is not sent to one that is out instead, unless health is ignored.
func TestPickInsteadFindsNobodyWhoIsOut(t *testing.T) {
	for _, policy := range policies {
		p := pool(policy, "a", "b", "c")
		m := p.Members()
		try(p, 2, Unreachable)
		for hash := range uint64(20) {
			a, ok := p.PickInstead(hash, nil, m[:1])
			if !ok || a.Member() != m[1] {
				t.Fatalf("%q picked %v", policy, a.Member())
			}
			a.Done()
			if a, ok := p.PickInstead(hash, nil, m[:2]); ok {
				t.Fatalf("%q picked %s, which is ejected", policy, a.Member().Backend)
			}
			if a, ok = p.Pick(hash, m[:2]); !ok {
				t.Fatalf("%q: nobody is left for a second try", policy)
			}
			a.Done()
		}
		try(p, 1, Unreachable) // more than half: that may be our own fault
		if a, ok := p.PickInstead(1, nil, m[:1]); !ok {
			t.Errorf("%q keeps to a health that is ignored", policy)
		} else {
			a.Done()
		}
		for _, one := range m {
			if n := one.State().InFlight(); n != 0 {
				t.Errorf("%q: %d attempts at %s were not ended", policy, n, one.Backend)
			}
		}
	}
}
