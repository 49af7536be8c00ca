//go:build !race

package events

import (
	"testing"
	"time"
)

// The most allocations of an event beyond the event itself: of one that is kept, for
// memory and a line of the file, and of one that a flood leaves out. The race
// detector allocates, so this runs without it.
const (
	allocationsKept = 2
	allocationsOver = 0
)

func TestAllocationsOfAnEvent(t *testing.T) {
	l := open(t, Options{Dir: t.TempDir(), Share: 1 << 40})
	defer shut(t, l)
	now := time.Now()
	events := make([]*Event, 0, 300)
	for n := range 300 {
		events = append(events, attack(now.Add(time.Duration(n)*time.Second)))
	}
	next := 0
	record := func() { l.Record(events[next]); next++ }
	if got := testing.AllocsPerRun(200, record); got > allocationsKept {
		t.Errorf("kept: %v allocations, the budget is %d", got, allocationsKept)
	}
	over := attack(now)
	over.Time = events[next-1].Time
	for range perClient {
		l.Record(attack(over.Time))
	}
	if got := testing.AllocsPerRun(100, func() { l.Record(over) }); got > allocationsOver {
		t.Errorf("left out: %v allocations, the budget is %d", got, allocationsOver)
	}
}
