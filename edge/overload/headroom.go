package overload

import (
	"context"
	"os"
	"runtime/debug"
	"time"
)

const (
	// headroomEvery is the time between two looks at what is held.
	headroomEvery = time.Second
	// leastPercent keeps collections apart where the rest of the heap is small beside what is held: each marks that, too.
	leastPercent = 10
	// percentStep is the change from which the runtime is told: telling it stops the world for a moment.
	percentStep = 5
)

// KeepHeadroom has the collector's headroom be that of a heap without what is held for long: with GOGC at its default a
// heap grows to twice of what is in use, and a full cache would be had twice. held says how many bytes that is. It returns nil when
// ctx ends. Where the environment has GOGC, the user has decided, and it does nothing.
func KeepHeadroom(ctx context.Context, held func() int64) error {
	if os.Getenv("GOGC") != "" {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(headroomEvery)
	defer tick.Stop()
	figures, percent := newReader(), 100
	defer debug.SetGCPercent(100)
	for {
		if wanted := percentFor(figures.read().live, held()); wanted-percent >= percentStep || percent-wanted >= percentStep {
			percent = wanted
			debug.SetGCPercent(percent)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// percentFor is the GOGC by which a heap of live bytes has the headroom of one without the held ones.
func percentFor(live, held int64) int {
	if live <= 0 || held <= 0 {
		return 100
	}
	return int(min(max(100*(live-held)/live, leastPercent), 100))
}
