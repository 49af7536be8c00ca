package overload

import (
	"context"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestHeadroomIsThatOfTheHeapWithoutWhatIsHeld(t *testing.T) {
	for _, c := range []struct {
		live, held int64
		want       int
	}{
		{100, 0, 100}, {100, 10, 90}, {300, 200, 33}, {300, 299, 10}, {300, 400, 10}, {0, 0, 100}, {100, -1, 100}, {1 << 40, 1 << 39, 50},
	} {
		if got := percentFor(c.live, c.held); got != c.want {
			t.Errorf("%d held of %d: %d, want %d", c.held, c.live, got, c.want)
		}
	}
}

// percent is GOGC as it is in force.
func percent() int {
	now := debug.SetGCPercent(100)
	debug.SetGCPercent(now)
	return now
}

func TestKeepHeadroomActsAndLeavesNothingBehind(t *testing.T) {
	t.Setenv("GOGC", "")
	runtime.GC() // what is live is known after a collection
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var held atomic.Int64
		held.Store(1 << 40) // all of the heap, and more
		done := make(chan error)
		go func() { done <- KeepHeadroom(ctx, held.Load) }()
		synctest.Wait()
		if got := percent(); got != leastPercent {
			t.Errorf("%d percent, want %d", got, leastPercent)
		}
		held.Store(0)
		time.Sleep(2 * headroomEvery)
		synctest.Wait()
		if got := percent(); got != 100 {
			t.Errorf("%d percent after all was let go", got)
		}
		cancel()
		if err := <-done; err != nil || percent() != 100 {
			t.Errorf("%v, %d percent at the end", err, percent())
		}
	})
}

func TestKeepHeadroomLeavesTheUsersChoice(t *testing.T) {
	t.Setenv("GOGC", "50")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	before := percent()
	if err := KeepHeadroom(ctx, func() int64 { t.Error("asked"); return 0 }); err != nil || percent() != before {
		t.Errorf("%v, %d percent", err, percent())
	}
}
