package main

import (
	"fmt"
	"io"
	"time"

	"gatehouse/loadtest/report"
)

// What takes time besides the load, about.
const (
	lookTime  = time.Second            // is the machine quiet?
	startTime = 500 * time.Millisecond // of a peer, with its end
	rulesTime = 3 * time.Second        // of a start that compiles the WAF's rules
	setUp     = time.Second            // of a cell: the first request, and peace after the warm-up
	idleOpen  = 6 * time.Second        // idle connections are opened one by one
	flatStart = 4 * time.Second        // many vhosts are read
	tourTime  = 11 * time.Second       // a warm-up; see warmRuns
)

// takes returns about how long one cell of s lasts.
func (s scenario) takes(secs int) time.Duration {
	if s.kind == byIdleness {
		return setUp + idleOpen + time.Second + idleSeconds*time.Second
	}
	return setUp + time.Duration(warmup+secs)*time.Second
}

// roundTime returns how many cells a round of these peers has and about how long it takes.
func (o *options) roundTime(peers []peer) (cells int, d time.Duration) {
	d = lookTime
	for _, p := range peers {
		start := startTime
		if p.name == report.Ours {
			start = rulesTime
		}
		loads, idle := o.scenariosOf(p)
		for _, sitting := range [][]scenario{loads, idle} {
			if len(sitting) > 0 {
				d += start
			}
			for _, s := range sitting {
				cells++
				d += s.takes(o.seconds)
			}
		}
	}
	return cells, d
}

// flatRoundTime is roundTime of --flat.
func (o *options) flatRoundTime() (cells int, d time.Duration) {
	for _, load := range o.loads {
		cells += 2 * len(o.pairs) * len(load.servers)
	}
	return cells, lookTime + time.Duration(cells)*(flatStart+tourTime+time.Duration(o.seconds)*time.Second)
}

// A progress says how far a run is.
type progress struct {
	stderr io.Writer
	rounds int
	cells  int           // of a round
	about  time.Duration // a round, as estimated
	begun  time.Time
}

// round says at the start of a round (from 0) how long the rest will take: as
// estimated at first, then as the rounds before it took.
func (p *progress) round(round int, now time.Time) {
	if round == 0 {
		p.begun = now
		fmt.Fprintf(p.stderr, "%s of %s: about %s, until %s; Ctrl-C ends it and keeps the rounds that are finished\n",
			count(p.rounds, "round"), count(p.cells, "figure"), words(time.Duration(p.rounds)*p.about),
			now.Add(time.Duration(p.rounds)*p.about).Format("15:04"))
		return
	}
	left := now.Sub(p.begun) / time.Duration(round) * time.Duration(p.rounds-round)
	fmt.Fprintf(p.stderr, "round %d of %d: about %s left\n", round+1, p.rounds, words(left))
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// words rounds a duration to what one wants to know of it.
func words(d time.Duration) string {
	switch {
	case d < 90*time.Second:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f min", d.Minutes())
	default:
		return fmt.Sprintf("%.1f h", d.Hours())
	}
}
