package balance

import (
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var policies = []Policy{P2C, Random, RoundRobin, ""}

// picks counts which backend is picked in n tries.
func picks(t *testing.T, p *Pool[string], n int, tried ...*Member[string]) map[string]int {
	t.Helper()
	count := map[string]int{}
	for range n {
		m, ok := p.Pick(tried)
		if !ok {
			t.Fatal("nothing was picked")
		}
		count[m.Backend]++
	}
	return count
}

func TestAnEmptyPoolPicksNothing(t *testing.T) {
	for _, policy := range policies {
		if m, ok := New[string](policy, nil).Pick(nil); ok || m != nil {
			t.Errorf("%q picked %v from nothing", policy, m)
		}
	}
	var zero Pool[string]
	if _, ok := zero.Pick(nil); ok {
		t.Error("the zero pool picked something")
	}
}

func TestATriedMemberIsNeverPickedAgain(t *testing.T) {
	for _, policy := range policies {
		p := New(policy, []string{"a", "b", "c"})
		for range 200 {
			var tried []*Member[string]
			seen := map[string]bool{}
			for range 3 {
				m, ok := p.Pick(tried)
				if !ok || seen[m.Backend] {
					t.Fatalf("%q: after %d tries: picked %v, ok %v", policy, len(tried), m, ok)
				}
				seen[m.Backend] = true
				tried = append(tried, m)
			}
			if m, ok := p.Pick(tried); ok {
				t.Fatalf("%q picked %v though all were tried", policy, m.Backend)
			}
		}
	}
}

func TestLoadIsSpreadEvenly(t *testing.T) {
	for _, policy := range policies {
		for name, n := range picks(t, New(policy, []string{"a", "b", "c", "d"}), 8000) {
			if math.Abs(float64(n)-2000) > 400 { // about ten standard deviations
				t.Errorf("%q: %s got %d of 8000", policy, name, n)
			}
		}
	}
}

func TestRoundRobinGoesInOrder(t *testing.T) {
	p := New(RoundRobin, []string{"a", "b", "c"})
	got := ""
	for range 7 {
		m, _ := p.Pick(nil)
		got += m.Backend
	}
	if got != "abcabca" {
		t.Errorf("order %s", got)
	}
}

func TestP2CPassesOverTheBusyOne(t *testing.T) {
	p := New(P2C, []string{"busy", "b"})
	p.Members()[0].Begin()
	if n := picks(t, p, 100)["busy"]; n != 0 {
		t.Errorf("the busy one of two was picked %d times", n)
	}
	p.Members()[0].Done(false)
	if n := picks(t, p, 1000)["busy"]; n < 300 {
		t.Errorf("after its request ended it was picked %d times of 1000", n)
	}
}

func TestAnUnreachableBackendIsNotPreferredForFiveSeconds(t *testing.T) {
	for _, policy := range policies {
		synctest.Test(t, func(t *testing.T) {
			p := New(policy, []string{"dead", "b", "c"})
			dead := p.Members()[0]
			dead.Begin()
			dead.Done(true)
			for range 2 {
				count := picks(t, p, 3000)
				if count["dead"] != 0 {
					t.Errorf("%q: the dead one was picked %d times", policy, count["dead"])
				}
				if math.Abs(float64(count["b"])-1500) > 300 { // its share goes to all, not to its neighbour
					t.Errorf("%q: b got %d of 3000, c %d", policy, count["b"], count["c"])
				}
				time.Sleep(4900 * time.Millisecond / 2)
			}
			time.Sleep(200 * time.Millisecond)
			if picks(t, p, 1000)["dead"] == 0 {
				t.Errorf("%q: still avoided after 5 s", policy)
			}
		})
	}
}

func TestASuccessEndsTheAvoidance(t *testing.T) {
	p := New(P2C, []string{"a", "b"})
	a := p.Members()[0]
	a.Begin()
	a.Done(true)
	if !a.Avoided() {
		t.Fatal("not avoided after a failure")
	}
	a.Begin()
	a.Done(false)
	if a.Avoided() || picks(t, p, 1000)["a"] == 0 {
		t.Error("avoided after a success")
	}
}

func TestTheLastOneIsPickedEvenIfItFailed(t *testing.T) {
	for _, policy := range policies {
		p := New(policy, []string{"a", "b"})
		for _, m := range p.Members() {
			m.Begin()
			m.Done(true)
		}
		count := picks(t, p, 1000)
		if count["a"] == 0 || count["b"] == 0 {
			t.Errorf("%q: all failed, picked %v", policy, count)
		}
		if n := picks(t, p, 10, p.Members()[0])["b"]; n != 10 {
			t.Errorf("%q: the only untried one was picked %d times of 10", policy, n)
		}
	}
	single := New(P2C, []string{"only"})
	single.Members()[0].Begin()
	single.Members()[0].Done(true)
	if m, ok := single.Pick(nil); !ok || m.Backend != "only" {
		t.Error("a failed single backend was excluded")
	}
}

func TestCountersHoldUnderConcurrency(t *testing.T) {
	p := New(P2C, []string{"a", "b", "c"})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 500 {
				m, ok := p.Pick(nil)
				if !ok {
					t.Error("nothing picked")
					return
				}
				m.Begin()
				m.Done((g+i)%7 == 0)
			}
		})
	}
	wg.Wait()
	for _, m := range p.Members() {
		if n := m.InFlight(); n != 0 {
			t.Errorf("%s: %d in flight at rest", m.Backend, n)
		}
	}
}

func TestPickDoesNotAllocate(t *testing.T) {
	p := New(P2C, []string{"a", "b", "c"})
	tried := p.Members()[:1]
	if n := testing.AllocsPerRun(100, func() { p.Pick(nil); p.Pick(tried) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkPick(b *testing.B) {
	for _, policy := range policies[:3] {
		b.Run(string(policy), func(b *testing.B) {
			p := New(policy, []int{1, 2, 3, 4, 5})
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					m, _ := p.Pick(nil)
					m.Begin()
					m.Done(false)
				}
			})
		})
	}
}
