package report

import (
	"time"

	"gatehouse/loadtest"
)

// Progress is a run under way in one line, without a line end and in the formats of the
// other reports. Until the first second is measured it has no figures but the time left.
func Progress(p loadtest.Progress) string {
	left := seconds(p.Left.Round(time.Second).Seconds()) + " left"
	if p.Left == 0 {
		left = "waiting for the last answers"
	}
	switch {
	case p.Warming:
		return "warming up, " + left
	case p.Last.Seconds <= 0: // nothing has been measured yet
		return "measuring, " + left
	}
	return perSecond(per(p.Last.Requests, p.Last.Seconds)) + "  p50 " + measured(p.Last.P50) + "  p99 " + measured(p.Last.P99) +
		"  " + plural(p.Errors, "error") + "  " + left
}

// Measured is an objective's value as the other reports write it: 870 µs, 0.1 %, 1,200/s.
func Measured(o loadtest.Objective, r *loadtest.Result) string { return found(o, r) }
