package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"gatehouse/loadtest/report"
)

// mostMemory is the promise for our memory at 64 connections, the CRS loaded, in MB.
const mostMemory = 120

// targets are what the project promises of its own cost beside a peer's, and of its memory.
var targets = []report.Target{
	target("pass1k", "nginx", 1.25),
	target("pass1k", "caddy", 0.3),
	target("pass100k", "nginx", 1.0),
	target("hsfull", "nginx", 0.9),
	target("hsresume", "nginx", 0.9),
	target("hit1k", "nginx", 0.9),
	target("hit16k", "nginx", 0.9),
	target("hit100k", "nginx", 0.8),
	target("wafget", "modsecurity", 1.0/18),
	target("wafform", "modsecurity", 1.0/18),
	target("wafjson", "modsecurity", 1.0/40),
	target("wafattack", "modsecurity", 1.0/5),
	target("wafgetu", "modsecurity", 1.0/8),
	target("wafformu", "modsecurity", 1.0/8),
	target("wafjsonu", "modsecurity", 1.0/10),
	{
		Scenario: "rss64", AtMostMB: mostMemory,
		Text: fmt.Sprintf("rss64: at most %d MB of memory at %d connections with the CRS loaded", mostMemory, fullConnections),
	},
}

func target(scenario, peer string, atMost float64) report.Target {
	return report.Target{Scenario: scenario, Peer: peer, AtMost: atMost, Text: fmt.Sprintf("%s: at most %.3g times the CPU of %s", scenario, atMost, peer)}
}

// targets returns those that this run has to judge, and those that whoever chose the
// scenarios and peers left out. A peer that was to take part and is not on this machine
// leaves nothing out: its targets cannot be judged, and say so.
func (o *options) targets() (judged, leftOut []report.Target) {
	chosen := func(name string) *peer {
		if i := slices.IndexFunc(o.peers, func(p peer) bool { return p.name == name }); i >= 0 {
			return &o.peers[i]
		}
		return nil
	}
	ours := chosen(report.Ours) != nil
	for _, t := range targets {
		p := chosen(report.Ours)
		if t.Peer != "" {
			p = chosen(t.Peer)
		}
		if !ours || p == nil || !slices.ContainsFunc(o.scenarios, func(s scenario) bool { return s.name == t.Scenario }) {
			leftOut = append(leftOut, t)
			continue
		}
		switch missing := p.missing(); {
		case len(missing) > 0:
			t.NotJudged = fmt.Sprintf("%s is not installed (%s)", p.name, strings.Join(missing, ", "))
		case t.AtMostMB > 0 && o.connections != fullConnections:
			t.NotJudged = fmt.Sprintf("the promise is about %d connections, and there were %d", fullConnections, o.connections)
		}
		judged = append(judged, t)
	}
	return judged, leftOut
}

// verdict is the error of a run in which a cell failed or, with check, a target was
// missed or could not be judged. What was left out by choice is no error.
func verdict(c *report.Comparison, check bool) error {
	var failed int64
	for _, r := range c.Rows {
		failed += r.Median.Errors
	}
	var faults []error
	if failed > 0 {
		faults = append(faults, fmt.Errorf("%s failed; the notes say why", count(int(failed), "cell")))
	}
	if !check {
		return errors.Join(faults...)
	}
	for _, t := range c.Targets {
		switch o := c.Judge(t); {
		case o.Verdict == report.NotJudged:
			faults = append(faults, fmt.Errorf("not judged: %s: %s", t.Text, o.Why))
		case o.Verdict == report.Missed && t.AtMostMB > 0:
			faults = append(faults, fmt.Errorf("missed: %s: %.0f MB", t.Text, o.Value))
		case o.Verdict == report.Missed:
			faults = append(faults, fmt.Errorf("missed: %s: %.2f", t.Text, o.Value))
		}
	}
	return errors.Join(faults...)
}
