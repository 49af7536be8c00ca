package waf

import (
	"runtime"
	"testing"
	"time"
)

// A gate takes at most 25 MB: its tables, what it remembers of values, and what the automatons of patterns grow by, after
// thousands of requests of which no value comes twice.
func TestMemoryOfTheGate(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector has memory of its own")
	}
	e, err := New(Options{Gate: GateOff})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	heap := func() float64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc) / 1e6
	}
	all := workloads()
	before := heap()
	start := time.Now()
	rules := e.current.Load()
	p, err := newPrescreen(rules, e.log, nil)
	if err != nil {
		t.Fatal(err)
	}
	rules.screening.made.Store(p)
	took := time.Since(start)
	e.gate = GateOn
	made := heap() - before
	counter := uint64(0)
	for share := range uint32(4) {
		p := &Profile{Mode: Block, Paranoia: 1 + int(share), Share: share}
		for range 8 {
			for _, w := range all {
				for i := range min(len(w.blanks), 40) {
					r := w.blanks[i].fill(&counter)
					tx := e.Begin(p, "memory")
					show(tx, r)
					tx.Close()
				}
			}
		}
	}
	used := heap() - before
	t.Logf("%.1f MB when it is made, which took %v; %.1f MB after %d values", made, took.Round(time.Millisecond), used, counter)
	if made > 16 || used > 25 {
		t.Errorf("%.1f MB when it is made, %.1f MB after use: want at most 16 and 25", made, used)
	}
	runtime.KeepAlive(all)
}
