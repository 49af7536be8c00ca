//go:build !race

package waf

import "testing"

// The most allocations of one inspection, with some room for what Coraza's pools and
// maps hold at the time. They are Coraza's, and far more than all the rest of a
// request has: a change that saves some lowers the number. The race detector
// allocates, so this runs without it.
const (
	allocationsGET  = 4000
	allocationsForm = 4300
	allocationsJSON = 13000
	// allocationsBegin is a tenant's tuning, without any inspection.
	allocationsBegin = 30
	// allocationsTuned is the same with three rules and two targets excluded.
	allocationsTuned = 38
)

func TestAllocationsOfAnInspection(t *testing.T) {
	e := sharedEngine(t)
	for _, c := range []struct {
		name   string
		budget float64
		sample sample
	}{{"GET", allocationsGET, usualGET()}, {"form", allocationsForm, usualForm()}, {"JSON", allocationsJSON, usualJSON()}} {
		got := testing.AllocsPerRun(20, func() {
			tx := e.Begin(&Profile{Mode: Block}, "bench")
			run(tx, c.sample)
			if tx.Verdict() != nil || tx.Err() != nil {
				t.Errorf("%s: %+v, %v", c.name, tx.Verdict(), tx.Err())
			}
			tx.Close()
		})
		t.Logf("%s: %v allocations of %v", c.name, got, c.budget)
		if got > c.budget {
			t.Errorf("%s: %v allocations, the budget is %v", c.name, got, c.budget)
		}
	}
	tuned := typical(1)
	got := testing.AllocsPerRun(100, func() { e.Begin(tuned, "bench").Close() })
	t.Logf("begin with exclusions: %v allocations of %v", got, allocationsTuned)
	if got > allocationsTuned {
		t.Errorf("begin with exclusions: %v allocations, the budget is %v", got, allocationsTuned)
	}
	p := &Profile{Paranoia: 2, AllowedMethods: []string{"GET", "POST", "PUT"}}
	if got := testing.AllocsPerRun(100, func() { e.Begin(p, "bench").Close() }); got > allocationsBegin {
		t.Errorf("begin: %v allocations, the budget is %v", got, allocationsBegin)
	}
}
