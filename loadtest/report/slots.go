package report

import "gatehouse/loadtest"

// A slot is what one place of a plot over time stands for: an interval, or so many
// in a row. Its percentiles and its maximum are the worst of them, so thinning hides
// no stall; its extremes of the rate are kept beside the mean.
type slot struct {
	Begin, End       float64 // seconds
	Measured         float64 // seconds, without gaps
	Requests, Errors int64
	P50, P90, P99    float64
	Max              float64
	Low, High        float64 // least and greatest rate of an interval
	Intervals        int
}

func (s slot) rate() float64      { return per(s.Requests, s.Measured) }
func (s slot) errorRate() float64 { return per(s.Errors, s.Measured) }
func per(n int64, s float64) float64 {
	if s <= 0 {
		return 0
	}
	return float64(n) / s
}

// group returns how many of n intervals one slot must stand for, if at most limit
// slots are wanted.
func group(n, limit int) int { return max(1, (n+limit-1)/limit) }

// thin puts neighbours together, so many into each slot; the last may hold fewer.
func thin(series []loadtest.Interval, each int) []slot {
	var out []slot
	for i, v := range series {
		rate := per(v.Requests, v.Seconds)
		if i%each == 0 {
			out = append(out, slot{Begin: v.At - v.Seconds, Low: rate, High: rate})
		}
		s := &out[len(out)-1]
		s.End = v.At
		s.Measured += v.Seconds
		s.Requests += v.Requests
		s.Errors += v.Errors
		s.P50, s.P90, s.P99, s.Max = max(s.P50, v.P50), max(s.P90, v.P90), max(s.P99, v.P99), max(s.Max, v.Max)
		s.Low, s.High = min(s.Low, rate), max(s.High, rate)
		s.Intervals++
	}
	return out
}
