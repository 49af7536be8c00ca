package report_test

import (
	"strings"
	"testing"

	"gatehouse/loadtest"
	"gatehouse/loadtest/report"
)

// TestProgressHasTheFormatsOfTheReport: what a line of progress shows reads as in the text.
func TestProgressHasTheFormatsOfTheReport(t *testing.T) {
	second := loadtest.Interval{Seconds: 1, Requests: 68_347, P50: 340, P99: 12_500}
	for _, tt := range []struct {
		want string
		p    loadtest.Progress
	}{
		{"warming up, 11 s left", loadtest.Progress{Warming: true, Left: 11e9}},
		{"measuring, 10 s left", loadtest.Progress{Left: 10e9}},
		{"measuring, waiting for the last answers", loadtest.Progress{}},
		{"68,347/s  p50 340 µs  p99 12.5 ms  3 errors  7 s left", loadtest.Progress{Left: 7e9, Errors: 3, Last: second}},
		{"68,347/s  p50 340 µs  p99 12.5 ms  1 error  waiting for the last answers", loadtest.Progress{Errors: 1, Last: second}},
		{"0/s  p50 –  p99 –  0 errors  7 s left", loadtest.Progress{Left: 7e9, Last: loadtest.Interval{Seconds: 1}}}, // a stall is a figure
	} {
		if got := report.Progress(tt.p); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
	r := &loadtest.Result{Requests: 68_347, Seconds: 1, Rate: 68_347, Latency: loadtest.Latency{P50: 340, P99: 12_500}}
	for _, figure := range []string{"68,347/s", "340 µs", "12.5 ms"} {
		if !strings.Contains(text(t, r), figure) {
			t.Errorf("the text has no %q", figure)
		}
	}
}

func TestMeasuredIsWhatTheTextShows(t *testing.T) {
	for want, o := range map[string]loadtest.Objective{
		"870 µs":  {Value: 870, Unit: "us"},
		"0.25 %":  {Value: 0.25, Unit: "%"},
		"1,200/s": {Value: 1200, Unit: "/s"},
		"180 ms":  {Value: 180_000, Unit: "us"},
	} {
		if got := report.Measured(o, &loadtest.Result{Requests: 1}); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		o.Text = "x"
		if got := text(t, &loadtest.Result{Requests: 1, SLOs: []loadtest.Objective{o}}); !strings.Contains(got, want) {
			t.Errorf("the text has no %q:\n%s", want, got)
		}
	}
}

// TestEveryFormHasP95: an objective that is often set can be read off.
func TestEveryFormHasP95(t *testing.T) {
	r := madeUp(1, 5, 1)
	page := html(t, report.Named{Result: r})
	both := html(t, report.Named{Name: "a", Result: r}, report.Named{Name: "b", Result: r})
	for name, form := range map[string]string{"text": text(t, r), "page": page, "page of two": both} {
		if !strings.Contains(form, "p95") || !strings.Contains(form, "2.80 ms") {
			t.Errorf("the %s has no p95 of 2.80 ms", name)
		}
	}
}

// TestLatencyFitsEightyColumns: the widest line of numbers breaks on no terminal.
func TestLatencyFitsEightyColumns(t *testing.T) {
	r := madeUp(1, 5, 1)
	l := &r.Latency
	l.Min, l.Mean, l.P50, l.P75, l.P90, l.P95, l.P99, l.P999, l.Max = 1.25, 99.9, 999, 1250, 99_900, 999_000, 1.25e6, 99.9e6, 3600e6
	for line := range strings.Lines(text(t, r)) {
		if (strings.HasPrefix(line, "latency") || strings.Contains(line, "99.9 µs")) && len([]rune(line)) > 80+1 {
			t.Errorf("%d columns: %s", len([]rune(line))-1, line)
		}
	}
}
