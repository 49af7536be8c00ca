package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"gatehouse/loadtest/report"
)

// measured returns a comparison of pass1k with nginx, and of our memory.
func measured(ours, theirs []float64, memory float64) *report.Comparison {
	row := func(peerName string, cpu []float64) report.Row {
		r := report.Row{Scenario: "pass1k", Peer: peerName}
		for _, us := range cpu {
			r.Samples = append(r.Samples, report.Sample{Requests: 1, CPU: us})
		}
		return r
	}
	rss := report.Row{Scenario: "rss64", Peer: report.Ours, Samples: []report.Sample{{RSS: memory}}}
	return &report.Comparison{
		Rounds: 3, Connections: 64, Rows: []report.Row{row(report.Ours, ours), row("nginx", theirs), rss},
		Targets: []report.Target{targets[0], targets[len(targets)-1]},
	}
}

func TestVerdict(t *testing.T) {
	failed := measured([]float64{10}, []float64{10}, 80)
	failed.Rows[1].Median.Errors = 2
	absent := measured([]float64{10}, []float64{10}, 80)
	absent.Targets[0].NotJudged = "nginx is not installed"
	few := measured([]float64{10}, []float64{10}, 80)
	few.Rounds = 2
	left := measured([]float64{10}, []float64{10}, 80)
	left.LeftOut = targets
	tests := []struct {
		name  string
		c     *report.Comparison
		check bool
		want  string // part of the error; empty: none
	}{
		{"met", measured([]float64{12, 15, 11}, []float64{10, 10, 10}, 119), true, ""},
		{"missed", measured([]float64{13, 13, 1}, []float64{10, 10, 10}, 80), true, "missed: pass1k: at most 1.25 times the CPU of nginx: 1.30"},
		{"missed, and nobody checks", measured([]float64{13}, []float64{10}, 500), false, ""},
		{"memory missed", measured([]float64{10}, []float64{10}, 121), true, "missed: rss64: at most 120 MB of memory at 64 connections with the CRS loaded: 121 MB"},
		{"not measured", measured(nil, []float64{10}, 80), true, "not judged: pass1k: at most 1.25 times the CPU of nginx: gatehouse was not measured in pass1k"},
		{"memory not measured", measured([]float64{10}, []float64{10}, 0), true, "not judged: rss64:"},
		{"the peer is not here", absent, true, "not judged: pass1k: at most 1.25 times the CPU of nginx: nginx is not installed"},
		{"the peer is not here, and nobody checks", absent, false, ""},
		{"too few rounds", few, true, "2 rounds, and a verdict needs 3"},
		{"left out by choice", left, true, ""},
		{"a cell failed, and nobody checks", failed, false, "2 cells failed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := verdict(tt.c, tt.check)
			if err == nil != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// TestTargetsOfARun: a peer that is not installed leaves no target out.
func TestTargetsOfARun(t *testing.T) {
	here := func(name string) peer { return peer{name: name} }
	away := peer{name: "caddy", programs: []string{"no-such-proxy"}}
	all := options{connections: fullConnections, scenarios: allScenarios, peers: []peer{here(report.Ours), here("nginx"), here("modsecurity"), away}}
	judged, left := all.targets()
	if len(judged) != len(targets) || len(left) != 0 {
		t.Errorf("of a full run %d targets are judged and %d left out", len(judged), len(left))
	}
	for _, target := range judged {
		if want := target.Peer == "caddy"; (target.NotJudged == "caddy is not installed (no-such-proxy)") != want || (target.NotJudged != "") != want {
			t.Errorf("%s: %q", target.Text, target.NotJudged)
		}
	}
	some := options{connections: fullConnections, scenarios: []scenario{{name: "pass1k"}, {name: "idle"}}, peers: []peer{here(report.Ours), here("nginx")}}
	if judged, left = some.targets(); len(judged) != 1 || judged[0].Peer != "nginx" || len(left) != len(targets)-1 {
		t.Errorf("of a choice got %+v, left out %d", judged, len(left))
	}
	some.peers = []peer{here("nginx")}
	if judged, left = some.targets(); len(judged) != 0 || len(left) != len(targets) {
		t.Errorf("without gatehouse got %+v", judged)
	}
	all.connections = 128
	if judged, _ = all.targets(); judged[len(judged)-1].NotJudged == "" {
		t.Error("the promise about memory is about 64 connections")
	}
}

// TestAFailedRoundIsNoNumber: it counts as an error, and the median is that of the others.
func TestAFailedRoundIsNoNumber(t *testing.T) {
	p := peer{name: report.Ours, can: []ability{forwarding}, version: func(context.Context, *options) string { return "1" }}
	s := passThrough("1k", "1 KB")
	m := newComparing(&options{rounds: 3, scenarios: []scenario{s}}, []peer{p}, nil, io.Discard)
	m.note(0, p, s, report.Sample{Requests: 9, CPU: 10}, nil)
	m.note(1, p, s, report.Sample{}, errors.New("5 socket\nerrors"))
	m.note(2, p, s, report.Sample{Requests: 9, CPU: 20}, nil)
	m.note(0, p, scenario{name: "h2"}, report.Sample{}, absence("ALPN offers no h2"))
	m.note(1, p, scenario{name: "h2"}, report.Sample{}, absence("ALPN offers no h2"))
	c := m.comparison(t.Context())
	if len(c.Rows) != 1 || c.Rows[0].Median.CPU != 15 || c.Rows[0].Median.Errors != 1 || c.Rows[0].Samples[1] != (report.Sample{Errors: 1}) {
		t.Errorf("got %+v", c.Rows)
	}
	want := "round 2, pass1k gatehouse failed: 5 socket errors|h2 gatehouse: n/a: ALPN offers no h2"
	if got := strings.Join(c.Notes, "|"); got != want {
		t.Errorf("got notes %q, want %q", got, want)
	}
	if err := verdict(c, false); err == nil {
		t.Error("a run with a failed cell ended well")
	}
}

// TestAnInterruptedRun keeps the rounds that are finished, for all peers alike.
func TestAnInterruptedRun(t *testing.T) {
	ours := peer{name: report.Ours, can: []ability{forwarding}, version: func(context.Context, *options) string { return "1" }}
	theirs := ours
	theirs.name = "nginx"
	s := passThrough("1k", "1 KB")
	m := newComparing(&options{rounds: 4, scenarios: []scenario{s}}, []peer{ours, theirs}, nil, io.Discard)
	for round, cpu := range []float64{10, 20, 1000} {
		m.watch.note(round, 1, nil)
		m.note(round, ours, s, report.Sample{Requests: 9, CPU: cpu}, nil)
		if round < 2 {
			m.note(round, theirs, s, report.Sample{Requests: 9, CPU: cpu}, nil)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.cut(ctx, 2, ctx.Err()); !errors.Is(err, errInterrupted) || err.Error() != "interrupted after round 2 of 4" {
		t.Errorf("got %v", err)
	}
	c := m.comparison(t.Context())
	if c.Rounds != 2 || c.Planned != 4 || len(c.Rows) != 2 || len(c.Rows[0].Samples) != 2 || c.Rows[0].Median.CPU != 15 || len(c.Busy) != 2 {
		t.Errorf("got %+v", c)
	}
	if err := m.cut(ctx, 0, ctx.Err()); !errors.Is(err, errInterrupted) || !strings.Contains(err.Error(), "nothing is written") {
		t.Errorf("of no round: %v", err)
	}
	if err := stopped(t.Context(), 2, 4, errors.New("disk full")); errors.Is(err, errInterrupted) || !strings.Contains(err.Error(), "ended after round 2 of 4: disk full") {
		t.Errorf("without a signal: %v", err)
	}
}

func TestCosts(t *testing.T) {
	got := costs(usage{user: 30 * time.Millisecond, sys: 10 * time.Millisecond}, 1000)
	if got.CPU != 40 || got.User != 30 || got.Sys != 10 || got.Requests != 1000 {
		t.Errorf("got %+v", got)
	}
}

func TestResultOfTheVerb(t *testing.T) {
	const good = `{"schema":1,"seconds":4.0,"requests":900,"rate":225,"errors":{},"statuses":{"200":900},"latency":{"p50_us":4000,"p99_us":9000}}`
	r, err := parseResult(good)
	if err != nil || resultFault(r) != nil {
		t.Fatalf("%v, %v", err, resultFault(r))
	}
	if got := verbSample(r, usage{user: 90 * time.Millisecond, rss: 5_000_000}); got.CPU != 100 || got.P99 != 9000 || got.RSS != 5 {
		t.Errorf("got %+v", got)
	}
	for output, want := range map[string]string{
		strings.Replace(good, `"errors":{}`, `"errors":{"tls":3,"reset":0}`, 1): "3 errors: tls",
		strings.Replace(good, `"requests":900`, `"requests":0`, 1):              "nothing was answered",
	} {
		r, err := parseResult(output)
		if err != nil {
			t.Fatal(err)
		}
		if fault := resultFault(r); fault == nil || fault.Error() != want {
			t.Errorf("got %v, want %s", fault, want)
		}
	}
	r.BytesIn = 900 * 1000
	if fault := answersFault(r, scenario{status: 200, size: 1000}); fault != nil {
		t.Error(fault)
	}
	if fault := answersFault(r, scenario{status: 200, size: 1001}); fault == nil || !strings.Contains(fault.Error(), "900 answers brought 900000 bytes, fewer than 900900") {
		t.Errorf("answers that are too short: %v", fault)
	}
	if fault := answersFault(r, scenario{status: 204}); fault == nil || !strings.Contains(fault.Error(), "0 of 900 answers had the status 204") {
		t.Errorf("another status: %v", fault)
	}
	if _, err := parseResult("gatehouse: unknown command"); err == nil {
		t.Error("an output that is no JSON is no result")
	}
}

func TestSpread(t *testing.T) {
	if got, want := spreadOf([]float64{4, 1, 3, 2}), (spread{1, 1.75, 2.5, 3.25, 4}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got, want := spreadOf([]float64{7}), (spread{7, 7, 7, 7, 7}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
