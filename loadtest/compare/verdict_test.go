package main

import (
	"context"
	"errors"
	"io"
	"math"
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
	rss := report.Row{Scenario: "rss64", Peer: report.Ours, Median: report.Sample{RSS: memory}}
	return &report.Comparison{
		Connections: 64, Rows: []report.Row{row(report.Ours, ours), row("nginx", theirs), rss},
		Targets: []report.Target{target("pass1k", "nginx", 1.25)},
	}
}

func TestVerdict(t *testing.T) {
	failed := measured([]float64{10}, []float64{10}, 80)
	failed.Rows[1].Median.Errors = 2
	tests := []struct {
		name  string
		c     *report.Comparison
		check bool
		want  string // part of the error; empty: none
	}{
		{"met", measured([]float64{12, 15, 11}, []float64{10, 10, 10}, 119), true, ""},
		{"missed", measured([]float64{13, 13, 1}, []float64{10, 10, 10}, 80), true, "pass1k: at most 1.25 times the CPU of nginx: 1.30, missed"},
		{"missed, and nobody checks", measured([]float64{13}, []float64{10}, 500), false, ""},
		{"memory missed", measured([]float64{10}, []float64{10}, 121), true, "at most 120 MB of memory at 64 connections with the CRS loaded: 121 MB, missed"},
		{"not measured", measured(nil, []float64{10}, 80), true, "not measured"},
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

// TestAFailedRoundIsNoNumber: it counts as an error, and the median is that of the others.
func TestAFailedRoundIsNoNumber(t *testing.T) {
	p := peer{name: report.Ours, can: []ability{forwarding}, version: func(context.Context, *options) string { return "1" }}
	s := passThrough("1k", "1 KB")
	m := &comparing{
		options: &options{rounds: 3, scenarios: []scenario{s}}, peers: []peer{p}, stderr: io.Discard,
		cells: map[place]*cells{}, noted: map[string]bool{},
	}
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
	if _, err := parseResult("gatehouse: unknown command"); err == nil {
		t.Error("an output that is no JSON is no result")
	}
}

func TestFlatResult(t *testing.T) {
	r := flatResult{Series: []flatSeries{{
		Load: "cache hit", What: "vhosts", Few: 1, Many: 10000,
		FewUS: []float64{10, 12, 11, 10, 12}, ManyUS: []float64{12, 12, 13, 14, 12},
	}}}
	r.finish()
	s := r.Series[0]
	if math.Abs(s.Change-100.0/11) > 1e-9 { // 12 after 11
		t.Errorf("the medians change by %v %%", s.Change)
	}
	if s.Changes.Min != 0 || math.Abs(s.Changes.Max-40) > 1e-9 || math.Abs(s.Changes.Median-200.0/11) > 1e-9 {
		t.Errorf("got %+v", s.Changes)
	}
	if err := r.verdict(true); err != nil {
		t.Errorf("9 %% is within the promise: %v", err)
	}
	r.Series[0].Change = 10.5
	if r.verdict(true) == nil || r.verdict(false) != nil {
		t.Errorf("10.5 %%: with check %v, without %v", r.verdict(true), r.verdict(false))
	}
	var text strings.Builder
	if err := r.print(&text); err != nil || !strings.Contains(text.String(), "10000  12.0 (12.0, 12.0 – 13.0, 14.0)") || !strings.Contains(text.String(), "+10.5 %, at most 10 %: missed") {
		t.Errorf("%v:\n%s", err, text.String())
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
