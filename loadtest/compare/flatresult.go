package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// mostGrowth is the promise: so many percent more CPU per request, at most.
const mostGrowth = 10

// A flatResult is what `make bench-flat` found.
type flatResult struct {
	Schema      int          `json:"schema"` // 1
	Date        time.Time    `json:"date"`
	Machine     string       `json:"machine"`
	Commit      string       `json:"commit"`
	Rounds      int          `json:"rounds"`
	Seconds     int          `json:"seconds"`
	Connections int          `json:"connections"`
	Series      []flatSeries `json:"series"`
}

// A flatSeries is one load on both sides of a pair, CPU per request in microseconds.
type flatSeries struct {
	Load   string    `json:"load"`
	What   string    `json:"what"` // grows from Few to Many
	Few    int       `json:"few"`
	Many   int       `json:"many"`
	FewUS  []float64 `json:"few_us"` // one for each round
	ManyUS []float64 `json:"many_us"`
	// Change is that of the medians, in percent; Changes is the spread of what each
	// round says alone.
	Change  float64 `json:"change_percent"`
	Changes spread  `json:"changes_percent"`
}

// A spread is how far numbers lie apart.
type spread struct {
	Min    float64 `json:"min"`
	Q1     float64 `json:"q1"`
	Median float64 `json:"median"`
	Q3     float64 `json:"q3"`
	Max    float64 `json:"max"`
}

func (s *flatSeries) add(many bool, us float64) {
	if many {
		s.ManyUS = append(s.ManyUS, us)
	} else {
		s.FewUS = append(s.FewUS, us)
	}
}

// finish computes what follows from the rounds.
func (r *flatResult) finish() {
	for i := range r.Series {
		s := &r.Series[i]
		var changes []float64
		for round := range s.FewUS {
			changes = append(changes, percent(s.FewUS[round], s.ManyUS[round]))
		}
		s.Changes = spreadOf(changes)
		s.Change = percent(spreadOf(s.FewUS).Median, spreadOf(s.ManyUS).Median)
	}
}

func percent(from, to float64) float64 { return (to/from - 1) * 100 }

// spreadOf describes numbers, of which there is at least one.
func spreadOf(numbers []float64) spread {
	sorted := slices.Sorted(slices.Values(numbers))
	at := func(share float64) float64 {
		place := share * float64(len(sorted)-1)
		low := int(place)
		high := min(low+1, len(sorted)-1)
		return sorted[low] + (sorted[high]-sorted[low])*(place-float64(low))
	}
	return spread{Min: at(0), Q1: at(0.25), Median: at(0.5), Q3: at(0.75), Max: at(1)}
}

func (r *flatResult) print(w io.Writer) error {
	_, err := fmt.Fprintf(w, "%s, commit %s, %s\n%d rounds of %d s, %d connections; CPU time of a request in µs: median (min, quartiles, max)\n\n",
		r.Date.Format(time.DateTime), r.Commit, r.Machine, r.Rounds, r.Seconds, r.Connections)
	for _, s := range r.Series {
		word := "met"
		if s.Change > mostGrowth {
			word = "missed"
		}
		few, many := spreadOf(s.FewUS), spreadOf(s.ManyUS)
		_, e := fmt.Fprintf(w, "%s, %s\n  %6d  %s\n  %6d  %s\n  change of the median %+.1f %%, at most %d %%: %s; by rounds %s %%\n\n",
			s.Load, s.What, s.Few, few, s.Many, many, s.Change, mostGrowth, word, s.Changes)
		err = errors.Join(err, e)
	}
	return err
}

func (s spread) String() string {
	return fmt.Sprintf("%.1f (%.1f, %.1f – %.1f, %.1f)", s.Median, s.Min, s.Q1, s.Q3, s.Max)
}

// verdict is the error of a missed promise, with check.
func (r *flatResult) verdict(check bool) error {
	var faults []error
	for _, s := range r.Series {
		if check && s.Change > mostGrowth {
			faults = append(faults, fmt.Errorf("%s: from %d to %d %s a request costs %.1f %% more, and may %d %%", s.Load, s.Few, s.Many, s.What, s.Change, mostGrowth))
		}
	}
	return errors.Join(faults...)
}
