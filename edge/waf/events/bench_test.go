package events

import (
	"testing"
	"time"
)

// BenchmarkRecord is what a blocked request pays: an event of four matches into memory
// and the queue of the files, and one that is left out in a flood.
func BenchmarkRecord(b *testing.B) {
	for _, bench := range []struct {
		name string
		step time.Duration
	}{{"kept", time.Second}, {"flood", 0}} {
		b.Run(bench.name, func(b *testing.B) {
			l := open(b, Options{Dir: b.TempDir(), Share: 1 << 40})
			defer shut(b, l)
			now := time.Now()
			b.ReportAllocs()
			for b.Loop() {
				now = now.Add(bench.step)
				l.Record(attack(now))
			}
		})
	}
}

// attack is an event of four matches.
func attack(now time.Time) *Event {
	e := refused("shop", 1)
	e.Time = now
	rule := e.Rules[0]
	e.Rules = append(make([]Rule, 0, 4), rule, rule, rule, rule)
	return e
}
