package report

import (
	"math"
	"strconv"
)

// An axis says where on a drawing a value lies.
type axis struct {
	lo, hi   float64 // values
	from, to float64 // their places
	log      bool
}

// place keeps values that lie outside at the edge.
func (a axis) place(v float64) float64 {
	lo, hi := a.lo, a.hi
	v = min(max(v, lo), hi)
	if a.log {
		lo, hi, v = math.Log10(lo), math.Log10(hi), math.Log10(v)
	}
	if hi <= lo {
		return a.from
	}
	return a.from + (v-lo)/(hi-lo)*(a.to-a.from)
}

// A tick is a labelled place of an axis.
type tick struct {
	At    float64
	Label string
}

// linearTicks returns multiples of 1, 2 or 5 times a power of ten, from zero to the
// first that is not below hi: about n of them.
func linearTicks(hi float64, n int) []float64 {
	if !(hi > 0) || !finite(hi) {
		hi = 1
	}
	step := ceil125(hi / float64(n))
	var out []float64
	for i := 0; ; i++ {
		v := float64(i) * step
		out = append(out, v)
		if v >= hi*(1-1e-9) {
			return out
		}
	}
}

// logTicks returns the ends of an axis that holds lo and hi, each 1, 2 or 5 times a
// power of ten, and what to label on it: those between the ends, over more than three
// decades only the powers of ten, at most about nine.
func logTicks(lo, hi float64) (least, most float64, ticks []float64) {
	if !(lo > 0) || !finite(lo) {
		lo = 1
	}
	if !(hi > lo) || !finite(hi) {
		hi = lo * 1.01
	}
	least, most = floor125(lo), ceil125(hi)
	decades := math.Log10(most / least)
	if decades <= 3 {
		for v := least; v <= most*(1+1e-9); v = ceil125(1.5 * v) {
			ticks = append(ticks, v)
		}
		return least, most, ticks
	}
	step := math.Ceil(decades / 8)
	for e := math.Ceil(math.Log10(least) - 1e-9); e <= math.Log10(most)+1e-9; e += step {
		ticks = append(ticks, math.Pow(10, e))
	}
	return least, most, ticks
}

// ceil125 returns the least 1, 2 or 5 times a power of ten that is not below v > 0.
func ceil125(v float64) float64 {
	ten := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 5} {
		if v <= m*ten*(1+1e-9) {
			return m * ten
		}
	}
	return 10 * ten
}

// floor125 returns the greatest that is not above v > 0.
func floor125(v float64) float64 {
	ten := math.Pow(10, math.Floor(math.Log10(v)+1e-12))
	for _, m := range []float64{5, 2} {
		if v >= m*ten*(1-1e-9) {
			return m * ten
		}
	}
	return ten
}

// A unit is what the numbers along an axis are counted in.
type unit struct {
	name string
	size float64 // of one, in what the values are counted in
}

// timeUnit suits an axis of microseconds that reaches hi.
func timeUnit(hi float64) unit {
	switch {
	case hi < 2e3:
		return unit{"µs", 1}
	case hi < 2e6:
		return unit{"ms", 1e3}
	default:
		return unit{"s", 1e6}
	}
}

// clockUnit suits an axis of seconds that reaches hi.
func clockUnit(hi float64) unit {
	switch {
	case hi <= 600:
		return unit{"s", 1}
	case hi <= 6*3600:
		return unit{"min", 60}
	default:
		return unit{"h", 3600}
	}
}

// short labels a tick: 0, 0.5, 20, 5k, 2M.
func short(v float64) string {
	for _, s := range []struct {
		size float64
		name string
	}{{1e9, "G"}, {1e6, "M"}, {1e4, "k"}} {
		if math.Abs(v) < s.size {
			continue
		}
		if s.name == "k" {
			s.size = 1e3
		}
		return strconv.FormatFloat(v/s.size, 'g', 4, 64) + s.name
	}
	return strconv.FormatFloat(v, 'g', 6, 64)
}
