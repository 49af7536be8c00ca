package main

import (
	"errors"
	"fmt"
	"slices"

	"gatehouse/loadtest/report"
)

// targets are what the project promises of its own cost beside a peer's.
var targets = []report.Target{
	target("pass1k", "nginx", 1.25),
	target("pass1k", "caddy", 0.3),
	target("pass100k", "nginx", 1.0),
	target("hsfull", "nginx", 0.9),
	target("hsresume", "nginx", 0.9),
	target("hit1k", "nginx", 1.0),
	target("hit16k", "nginx", 1.0),
	target("hit100k", "nginx", 1.0),
}

// mostMemory is the promise for our memory at 64 connections, the CRS loaded, in MB.
const mostMemory = 120

func target(scenario, peer string, atMost float64) report.Target {
	return report.Target{Scenario: scenario, Peer: peer, AtMost: atMost, Text: fmt.Sprintf("%s: at most %g times the CPU of %s", scenario, atMost, peer)}
}

// chosenTargets leaves out those that this run does not measure.
func chosenTargets(chosen []scenario, peers []peer) []report.Target {
	measured := func(peerName string) bool {
		return slices.ContainsFunc(peers, func(p peer) bool { return p.name == peerName })
	}
	var out []report.Target
	for _, t := range targets {
		if measured(t.Peer) && measured(report.Ours) && slices.ContainsFunc(chosen, func(s scenario) bool { return s.name == t.Scenario }) {
			out = append(out, t)
		}
	}
	return out
}

// memoryOf returns our median memory under load in MB.
func memoryOf(c *report.Comparison) (mb float64, ok bool) {
	for _, r := range c.Rows {
		if r.Scenario == "rss64" && r.Peer == report.Ours && r.Median.RSS > 0 {
			return r.Median.RSS, true
		}
	}
	return 0, false
}

// memoryVerdict is the line that says whether the promise about memory holds: it is no
// ratio, so it is no [report.Target].
func memoryVerdict(c *report.Comparison) []string {
	mb, ok := memoryOf(c)
	if !ok {
		return nil
	}
	word := "met"
	if mb > mostMemory {
		word = "missed"
	}
	return []string{fmt.Sprintf("target: at most %d MB of memory at %d connections with the CRS loaded: %.0f MB, %s", mostMemory, c.Connections, mb, word)}
}

// verdict is the error of a run in which a cell failed or, with check, a target was missed.
func verdict(c *report.Comparison, check bool) error {
	var failed int64
	for _, r := range c.Rows {
		failed += r.Median.Errors
	}
	var faults []error
	if failed > 0 {
		faults = append(faults, fmt.Errorf("%d cells failed; the notes say why", failed))
	}
	if !check {
		return errors.Join(faults...)
	}
	for _, t := range c.Targets {
		ratio, _, _, ok := c.Ratio(t.Scenario, t.Peer)
		switch {
		case !ok:
			faults = append(faults, fmt.Errorf("%s: not measured", t.Text))
		case ratio > t.AtMost:
			faults = append(faults, fmt.Errorf("%s: %.2f, missed", t.Text, ratio))
		}
	}
	if mb, ok := memoryOf(c); ok && mb > mostMemory {
		faults = append(faults, errors.New(memoryVerdict(c)[0]))
	}
	return errors.Join(faults...)
}
