package report

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"gatehouse/loadtest"
)

func TestTicks(t *testing.T) {
	for name, tc := range map[string]struct{ got, want string }{
		"linear":             {fmt.Sprint(linearTicks(9.3, 5)), "[0 2 4 6 8 10]"},
		"linear, exact":      {fmt.Sprint(linearTicks(50, 5)), "[0 10 20 30 40 50]"},
		"linear of nothing":  {fmt.Sprint(len(linearTicks(0, 5)), len(linearTicks(math.NaN(), 5)), len(linearTicks(math.Inf(1), 5))), "6 6 6"},
		"log":                {fmt.Sprint(logTicks(130, 4200)), "100 5000 [100 200 500 1000 2000 5000]"},
		"log of one value":   {fmt.Sprint(logTicks(7, 7)), "5 10 [5 10]"},
		"log, five decades":  {fmt.Sprint(logTicks(3, 180_000)), "2 200000 [10 100 1000 10000 100000]"},
		"log of nothing":     {fmt.Sprint(logTicks(0, 0)), "1 2 [1 2]"},
		"log of too much":    {fmt.Sprint(logTicks(math.NaN(), math.Inf(1))), "1 2 [1 2]"},
		"log, many decades":  {fmt.Sprint(logTicks(1, 1e16)), "1 1e+16 [1 100 10000 1e+06 1e+08 1e+10 1e+12 1e+14 1e+16]"},
		"percentile":         {percentile(nines(99.95)) + " " + percentile(nines(50)) + " " + percentile(nines(97.5)) + " " + percentile(5), "99.95 50 97.5 99.999"},
		"a tick":             {short(0) + " " + short(0.5) + " " + short(5000) + " " + short(20_000) + " " + short(3e6), "0 0.5 5000 20k 3M"},
		"a duration":         {duration(999.6) + ", " + duration(12_340) + ", " + duration(61e6) + ", " + duration(math.Inf(1)), "1.00 ms, 12.3 ms, 61.0 s, –"},
		"a count":            {count(-1234567) + " " + count(999), "-1,234,567 999"},
		"nearly nothing":     {percent(1, 1e9), "< 0.001 %"},
		"nearly all":         {percent(1e9-1, 1e9) + " " + percent(5, 5), "> 99.9 % 100 %"},
		"a name that is cut": {plain("abcdef", 4) + " " + plain("abcd", 4) + " " + plain("a\x1b[2Jb", 3), "abc… abcd a…"},
		"no UTF-8":           {plain("a\xff\ufffd", 20), `a\xff` + "\ufffd"},
	} {
		if tc.got != tc.want {
			t.Errorf("%s: got %s, want %s", name, tc.got, tc.want)
		}
	}
}

// TestThinnedSlotsKeepTheWorst: a slot's percentiles are the worst of its intervals, its counts their sum.
func TestThinnedSlotsKeepTheWorst(t *testing.T) {
	series := []loadtest.Interval{
		{At: 1, Seconds: 1, Requests: 10, Errors: 1, P50: 5, P90: 6, P99: 7, Max: 9},
		{At: 2, Seconds: 1, Requests: 30, Errors: 2, P50: 4, P90: 8, P99: 8, Max: 8},
		{At: 2.5, Seconds: 0.5, Requests: 5, P50: 1, P90: 1, P99: 1, Max: 1},
	}
	got := thin(series, group(len(series), 2))
	want := []slot{
		{Begin: 0, End: 2, Measured: 2, Requests: 40, Errors: 3, P50: 5, P90: 8, P99: 8, Max: 9, Low: 10, High: 30, Intervals: 2},
		{Begin: 2, End: 2.5, Measured: 0.5, Requests: 5, P50: 1, P90: 1, P99: 1, Max: 1, Low: 10, High: 10, Intervals: 1},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got[0].rate() != 20 || got[0].errorRate() != 1.5 {
		t.Errorf("rates are %v and %v, want 20 and 1.5", got[0].rate(), got[0].errorRate())
	}
	for _, limit := range []int{1, 7, 60, 200} {
		for _, n := range []int{0, 1, 59, 60, 61, 200, 201, 4001} {
			if slots := len(thin(make([]loadtest.Interval, n), group(n, limit))); slots > limit {
				t.Errorf("%d intervals make %d slots, want at most %d", n, slots, limit)
			}
		}
	}
}

// TestBandsCoverThePlane: a pointer between two points is over exactly one band.
func TestBandsCoverThePlane(t *testing.T) {
	c := chart{XText: func(from, to float64) string { return fmt.Sprint(from, " ", to) }, YText: duration}
	l := line{Name: "p50"}
	for i := range 1000 {
		l.Points = append(l.Points, point{From: float64(i), To: float64(i + 1), Y: float64(i), Gap: i > 400 && i < 600})
	}
	c.Lines = []line{l}
	bands := c.bands(axis{lo: 0, hi: 1000, from: 60, to: 460}, 460)
	edge := 60.0
	for _, b := range bands {
		if math.Abs(b.X-edge) > 0.11 || b.Centre < b.X-0.1 || b.Centre > b.X+b.Width+0.1 {
			t.Fatalf("the band at %v with centre %v begins where the last ended, %v", b.X, b.Centre, edge)
		}
		edge = b.X + b.Width
	}
	if math.Abs(edge-460) > 0.11 || len(bands) < 40 || len(bands) > 80 {
		t.Errorf("%d bands end at %v, want 40 to 80 that end at 460", len(bands), edge)
	}
	if last := bands[len(bands)-1].Text; !strings.Contains(last, "p50  999 µs") {
		t.Errorf("the last band says %q, want the greatest of its points", last)
	}
}
