package report

import (
	"slices"
	"time"
)

// Ours is the peer whose CPU per request is divided by the others': see [Comparison.Ratio].
const Ours = "gatehouse"

// A Comparison is what `make bench` found: the same scenarios with several servers,
// one at a time, in interleaved rounds. It is plain data; whoever only reads it may
// do so concurrently.
type Comparison struct {
	Schema      int       `json:"schema"` // 1
	Date        time.Time `json:"date"`
	Machine     string    `json:"machine"` // CPU model, cores, kernel
	Commit      string    `json:"commit"`
	Command     string    `json:"command"` // that repeats it
	Rounds      int       `json:"rounds"`  // that were finished
	Seconds     int       `json:"seconds"` // of load for each sample
	Connections int       `json:"connections"`
	// Planned is how many rounds there should have been, where the run was interrupted
	// before; else zero.
	Planned int    `json:"rounds_planned,omitempty"`
	Method  []Fact `json:"method,omitempty"` // how it was measured, in words
	// LoadAverage is that of 1, 5 and 15 minutes before the first round.
	LoadAverage []float64 `json:"load_average,omitempty"`
	// Busy says for each round how much of all processors' time others took just before
	// it, in percent, while nothing of ours ran.
	Busy    []float64 `json:"busy_percent,omitempty"`
	Notes   []string  `json:"notes,omitempty"`
	Peers   []Peer    `json:"peers"` // in the order in which they are shown
	Rows    []Row     `json:"rows"`  // scenarios are shown in the order of their first row
	Targets []Target  `json:"targets,omitempty"`
	// LeftOut are targets that whoever chose the scenarios and peers did not ask for:
	// nothing is said about them.
	LeftOut []Target `json:"targets_left_out,omitempty"`
}

// A Fact is a thing and what is to be known of it.
type Fact struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// A Peer is a server that takes part.
type Peer struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// A Row is one scenario with one peer. A peer without a row took no part in that scenario.
type Row struct {
	Scenario string   `json:"scenario"`
	Title    string   `json:"title"` // Scenario in words
	Peer     string   `json:"peer"`
	Samples  []Sample `json:"samples"` // one for each round, in their order, so that rounds can be compared; a zero Sample: that round failed
	Median   Sample   `json:"median"`  // of Samples, each number for itself
}

// A Sample is what one round found. A CPU of zero says that it was not measured.
type Sample struct {
	Requests int64   `json:"requests"`
	CPU      float64 `json:"cpu_us"` // per request, User and Sys together
	User     float64 `json:"user_us"`
	Sys      float64 `json:"sys_us"`
	Rate     float64 `json:"rate"` // requests per second
	P50      float64 `json:"p50_us"`
	P99      float64 `json:"p99_us"`
	RSS      float64 `json:"rss_mb"`
	Errors   int64   `json:"errors"`
}

// Ratio divides our CPU per request by that of peer within each round, and returns
// the median, the least and the greatest of these quotients. Dividing within a round
// takes out what slowed the whole machine down during it. Rounds that either side did
// not measure are left out; ok is false if none remains.
func (c *Comparison) Ratio(scenario, peer string) (median, least, greatest float64, ok bool) {
	ours, theirs := c.row(scenario, Ours), c.row(scenario, peer)
	if ours == nil || theirs == nil {
		return 0, 0, 0, false
	}
	var ratios []float64
	for i := range min(len(ours.Samples), len(theirs.Samples)) {
		if a, b := ours.Samples[i].CPU, theirs.Samples[i].CPU; a > 0 && b > 0 {
			ratios = append(ratios, a/b)
		}
	}
	return rangeOf(ratios)
}

// rangeOf returns the median, the least and the greatest of a list; ok is false if it is
// empty.
func rangeOf(list []float64) (median, least, greatest float64, ok bool) {
	if len(list) == 0 {
		return 0, 0, 0, false
	}
	return middle(list), slices.Min(list), slices.Max(list), true
}

// MedianOf returns the median of each number for itself, of the samples in which
// something was measured: what belongs in Row.Median. Of an even count it is the mean
// of the two in the middle. Errors are summed: none of them may go out of sight.
func MedianOf(samples []Sample) Sample {
	var errors int64
	var measured []Sample
	for _, s := range samples {
		errors += s.Errors
		if s != (Sample{}) {
			measured = append(measured, s)
		}
	}
	if len(measured) == 0 {
		return Sample{Errors: errors}
	}
	of := func(number func(Sample) float64) float64 {
		var all []float64
		for _, s := range measured {
			all = append(all, number(s))
		}
		return middle(all)
	}
	return Sample{
		Requests: int64(of(func(s Sample) float64 { return float64(s.Requests) })),
		CPU:      of(func(s Sample) float64 { return s.CPU }),
		User:     of(func(s Sample) float64 { return s.User }),
		Sys:      of(func(s Sample) float64 { return s.Sys }),
		Rate:     of(func(s Sample) float64 { return s.Rate }),
		P50:      of(func(s Sample) float64 { return s.P50 }),
		P99:      of(func(s Sample) float64 { return s.P99 }),
		RSS:      of(func(s Sample) float64 { return s.RSS }),
		Errors:   errors,
	}
}

// middle returns the median of a list that is not empty; the list stays as it is.
func middle(list []float64) float64 {
	sorted := slices.Sorted(slices.Values(list))
	n := len(sorted)
	if n%2 == 1 {
		return sorted[n/2]
	}
	return (sorted[n/2-1] + sorted[n/2]) / 2
}

// row returns nil if that peer took no part in that scenario.
func (c *Comparison) row(scenario, peer string) *Row {
	for i := range c.Rows {
		if r := &c.Rows[i]; r.Scenario == scenario && r.Peer == peer {
			return r
		}
	}
	return nil
}
