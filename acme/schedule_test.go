package acme

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestScheduleHandsOutInOrderOfTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSchedule[string]()
		start := time.Now()
		s.set("late", start.Add(time.Hour))
		s.set("moved", start.Add(2*time.Hour))
		s.set("dropped", start)
		s.set("moved", start.Add(time.Minute))
		s.drop("dropped")
		for _, want := range []struct {
			key string
			at  time.Duration
		}{{"moved", time.Minute}, {"late", time.Hour}} {
			key, ok := s.next(context.Background())
			if !ok || key != want.key || time.Since(start) != want.at {
				t.Errorf("got %s after %v, want %s after %v", key, time.Since(start), want.key, want.at)
			}
		}
		if !s.at("late").IsZero() {
			t.Error("a key that was handed out is still in")
		}
	})
}

func TestScheduleWakesWaitersForEarlierKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSchedule[int]()
		ctx, cancel := context.WithCancel(context.Background())
		var mu sync.Mutex
		var got []int
		var workers sync.WaitGroup
		for range 3 {
			workers.Go(func() {
				for {
					key, ok := s.next(ctx)
					if !ok {
						return
					}
					mu.Lock()
					got = append(got, key)
					mu.Unlock()
				}
			})
		}
		synctest.Wait()
		for i := range 100 {
			s.set(i, time.Now())
		}
		synctest.Wait()
		slices.Sort(got)
		if len(slices.Compact(got)) != 100 {
			t.Errorf("%d keys were handed out at once", len(got))
		}
		cancel()
		workers.Wait()
	})
}
