package upstream

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestBudgetAllowsThreeAtATimeWithoutAnyTraffic(t *testing.T) {
	var b Budget
	now := time.Unix(1000, 0)
	for range 100 { // one after the other
		if !b.Take(now) {
			t.Fatal("refused although none is under way")
		}
		b.Release()
	}
	for i := range 5 {
		if got, want := b.Take(now), i < 3; got != want {
			t.Errorf("number %d at a time: %v", i+1, got)
		}
	}
	b.Release()
	if !b.Take(now) {
		t.Error("refused although only two are under way")
	}
}

func TestBudgetAllowsATenthOfTheRequests(t *testing.T) {
	var b Budget
	start := time.Unix(1000, 0)
	for i := range 1000 { // over ten seconds
		b.Count(start.Add(time.Duration(i) * 10 * time.Millisecond))
	}
	now := start.Add(9999 * time.Millisecond)
	taken := 0
	for range 1000 {
		if b.Take(now) {
			taken++
		}
	}
	if taken != 100 {
		t.Errorf("%d retries to 1000 requests, want 100", taken)
	}
	for range taken {
		b.Release()
	}
	now = now.Add(11 * time.Second) // all of that is forgotten
	for range 20 {
		b.Count(now)
	}
	taken = 0
	for range 100 {
		if b.Take(now) {
			taken++
		}
	}
	if taken != 3 { // a tenth of twenty are two; three are always allowed
		t.Errorf("%d retries to 20 requests, want 3", taken)
	}
}

func TestBudgetIsSharedByManyAtOnce(t *testing.T) {
	var b Budget
	var taken atomic.Int64
	now := time.Unix(1000, 0)
	b.Count(now)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if b.Take(now) {
				taken.Add(1)
			}
		})
	}
	wg.Wait()
	if n := taken.Load(); n != 3 {
		t.Errorf("%d at a time, want 3", n)
	}
	for range 1000 {
		wg.Go(func() { b.Count(now) })
	}
	wg.Wait()
	if n := b.requests.sum(now); n != 1001 {
		t.Errorf("%d requests counted", n)
	}
}
