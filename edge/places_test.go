package edge

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"gatehouse/internal/edgetest"
)

// Places come to those who wait in their order, and nobody who comes later goes before them.
func TestPlacesAreServedInOrder(t *testing.T) {
	t.Parallel()
	var p places
	p.bound(2)
	for i, want := range []bool{true, true, false} {
		if p.take() != want || p.full() != (i > 0) {
			t.Fatalf("of two places, the take number %d", i+1)
		}
	}
	first, _ := p.join(3)
	second, place := p.join(3)
	third, _ := p.join(3)
	if none, _ := p.join(3); none != nil {
		t.Error("a fourth may wait")
	}
	came := func(c chan struct{}) bool {
		select {
		case <-c:
			return true
		default:
			return false
		}
	}
	p.leave()
	if !came(first) || came(second) || p.take() {
		t.Error("the place did not go to the first")
	}
	if !p.giveUp(second, place) {
		t.Error("the second cannot leave")
	}
	p.leave()
	if !came(third) {
		t.Error("the place did not go to the third")
	}
	last, place := p.join(3)
	p.bound(3)
	if !came(last) || p.giveUp(last, place) {
		t.Error("one more place did not go to who waited")
	}
	for range 3 {
		p.leave()
	}
	if p.busy.Load() != 0 || p.waits.Load() != 0 || p.full() {
		t.Errorf("%d busy and %d waiting at the end", p.busy.Load(), p.waits.Load())
	}
}

func TestPlacesWithoutABoundAreCounted(t *testing.T) {
	t.Parallel()
	var p places
	for range 1000 {
		if !p.take() {
			t.Fatal("there is a bound")
		}
	}
	if p.full() || p.busy.Load() != 1000 {
		t.Errorf("%d busy", p.busy.Load())
	}
}

// No wake-up is lost and no place is given twice, however takers, leavers and those who give up meet.
func TestPlacesUnderContention(t *testing.T) {
	t.Parallel()
	const most = 3
	var p places
	p.bound(most)
	var inside atomic.Int64
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for n := range 2000 {
				if !p.take() {
					came, place := p.join(100)
					if n%7 == i%7 && p.giveUp(came, place) {
						continue
					}
					<-came
				}
				if at := inside.Add(1); at > most {
					t.Errorf("%d have a place", at)
				}
				inside.Add(-1)
				p.leave()
			}
		})
	}
	wg.Wait()
	if p.busy.Load() != 0 || p.waits.Load() != 0 {
		t.Errorf("%d busy and %d waiting at the end", p.busy.Load(), p.waits.Load())
	}
}

// Who comes back from a wait elsewhere stands before those who came meanwhile, and behind those who came back before.
func TestWhoComesBackStandsFirst(t *testing.T) {
	var p places
	p.bound(1)
	if !p.take() || !p.goAway(1) || p.goAway(1) {
		t.Fatal("not one place, or not one away")
	}
	var order []int
	var waits [4]chan struct{}
	waits[2], _ = p.join(1)
	waits[0], _ = p.rejoin()
	waits[1], _ = p.rejoin()
	waits[3], _ = p.join(9)
	p.back()
	for range waits {
		p.leave()
		for i, came := range waits {
			select {
			case <-came:
				order, waits[i] = append(order, i), nil
			default:
			}
		}
	}
	if !slices.Equal(order, []int{0, 1, 2, 3}) || p.busy.Load() != 1 || p.away.Load() != 0 {
		t.Errorf("places came in the order %v; %d busy, %d away", order, p.busy.Load(), p.away.Load())
	}
}

func TestPlacesAreOfAnOwnerWhileAnybodyHasThem(t *testing.T) {
	var s placeSets
	key := placesKey{owner: "tenant shop"}
	p := s.get(key)
	if s.get(key) != p || s.get(placesKey{owner: "tenant rival"}) == p {
		t.Error("places are not the owner's")
	}
	runtime.KeepAlive(p)
	edgetest.WaitFor(t, "places that nobody has to be forgotten", func() bool {
		runtime.GC()
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.of) == 0
	})
}

func BenchmarkPlaces(b *testing.B) {
	var p places
	p.bound(256)
	b.ReportAllocs()
	for b.Loop() {
		p.take()
		p.leave()
	}
}
