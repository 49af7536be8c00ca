package report_test

import (
	"bytes"
	"encoding/json"
	"io"
	"math"
	"reflect"
	"strings"
	"testing"

	"gatehouse/loadtest/report"
)

func compare(t *testing.T, c *report.Comparison, form func(io.Writer, *report.Comparison) error) string {
	t.Helper()
	var b bytes.Buffer
	if err := form(&b, c); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestComparison(t *testing.T) {
	golden(t, "comparison.txt", compare(t, madeUpComparison(), report.ComparisonText))
	golden(t, "comparison.md", compare(t, madeUpComparison(), report.ComparisonMarkdown))
}

func cpu(values ...float64) []report.Sample {
	var out []report.Sample
	for _, v := range values {
		out = append(out, report.Sample{CPU: v})
	}
	return out
}

func TestRatio(t *testing.T) {
	for name, tc := range map[string]struct {
		ours, theirs            []report.Sample
		median, least, greatest float64
		ok                      bool
	}{
		"odd": {cpu(10, 30, 50), cpu(10, 10, 20), 2.5, 1, 3, true},
		// The medians of the sides are 20 and 20; the machine was slow in round two, for both.
		"within rounds":   {cpu(10, 100, 20), cpu(20, 200, 10), 0.5, 0.5, 2, true},
		"even":            {cpu(10, 30), cpu(10, 10), 2, 1, 3, true},
		"a failed round":  {cpu(10, 0, 30), cpu(10, 10, 10), 2, 1, 3, true},
		"a missing round": {cpu(10, 30, 90), cpu(10, 10), 2, 1, 3, true},
		"never measured":  {cpu(0, 0), cpu(10, 10), 0, 0, 0, false},
		"no rounds":       {nil, nil, 0, 0, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			c := report.Comparison{Rows: []report.Row{
				{Scenario: "other", Peer: report.Ours, Samples: cpu(1)},
				{Scenario: "s", Peer: "nginx", Samples: tc.theirs},
				{Scenario: "s", Peer: report.Ours, Samples: tc.ours},
			}}
			median, least, greatest, ok := c.Ratio("s", "nginx")
			if ok != tc.ok || math.Abs(median-tc.median) > 1e-12 || least != tc.least || greatest != tc.greatest {
				t.Errorf("got %v, %v to %v, %v; want %v, %v to %v, %v", median, least, greatest, ok, tc.median, tc.least, tc.greatest, tc.ok)
			}
			if _, _, _, ok := c.Ratio("s", "caddy"); ok {
				t.Error("a peer without a row has a ratio")
			}
		})
	}
}

func TestMedianOf(t *testing.T) {
	got := report.MedianOf([]report.Sample{
		{Requests: 10, CPU: 3, User: 2, Sys: 1, Rate: 100, P50: 7, P99: 70, RSS: 30, Errors: 1},
		{}, // failed: it is no measurement of zero
		{Requests: 30, CPU: 5, User: 4, Sys: 1, Rate: 300, P50: 5, P99: 90, RSS: 50, Errors: 2},
		{Requests: 20, CPU: 4, User: 1, Sys: 3, Rate: 200, P50: 6, P99: 80, RSS: 40},
	})
	want := report.Sample{Requests: 20, CPU: 4, User: 2, Sys: 1, Rate: 200, P50: 6, P99: 80, RSS: 40, Errors: 3}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := report.MedianOf(nil); got != (report.Sample{}) {
		t.Errorf("of no samples: got %+v", got)
	}
}

// TestEveryTargetIsShown: met, missed or not judged, in every form.
func TestEveryTargetIsShown(t *testing.T) {
	c := madeUpComparison()
	for name, form := range map[string]func(io.Writer, *report.Comparison) error{
		"text": report.ComparisonText, "html": report.ComparisonHTML, "markdown": report.ComparisonMarkdown,
	} {
		got := compare(t, c, form)
		for _, target := range append(c.Targets, c.LeftOut...) {
			if !strings.Contains(got, target.Text) {
				t.Errorf("%s leaves out the target %q", name, target.Text)
			}
		}
		if !strings.Contains(got, "varnish is not installed") {
			t.Errorf("%s does not say why a target was not judged", name)
		}
		if want := "4 of 6 targets met, 1 missed, 1 not judged; 1 more not judged, left out by the choice of scenarios or peers"; !strings.Contains(got, want) {
			t.Errorf("%s does not say %q", name, want)
		}
	}
}

// TestJudge: nothing but a figure within the promise is met.
func TestJudge(t *testing.T) {
	ratio := report.Target{Scenario: "s", Peer: "nginx", AtMost: 1}
	memory := report.Target{Scenario: "s", AtMostMB: 120}
	absent := ratio
	absent.NotJudged = "nginx is not installed"
	three := func(peer string, cpu, rss float64) report.Row {
		s := report.Sample{CPU: cpu, RSS: rss}
		return report.Row{Scenario: "s", Peer: peer, Samples: []report.Sample{s, s, s}}
	}
	for name, tc := range map[string]struct {
		target report.Target
		rounds int
		rows   []report.Row
		want   report.Verdict
		why    string
	}{
		"met":              {ratio, 3, []report.Row{three(report.Ours, 9, 0), three("nginx", 9, 0)}, report.Met, ""},
		"missed":           {ratio, 3, []report.Row{three(report.Ours, 9.1, 0), three("nginx", 9, 0)}, report.Missed, ""},
		"peer not there":   {absent, 3, []report.Row{three(report.Ours, 9, 0)}, report.NotJudged, "nginx is not installed"},
		"peer failed":      {ratio, 3, []report.Row{three(report.Ours, 9, 0), three("nginx", 0, 0)}, report.NotJudged, "nginx was not measured in s"},
		"we failed":        {ratio, 3, []report.Row{three("nginx", 9, 0)}, report.NotJudged, "gatehouse was not measured in s"},
		"too few rounds":   {ratio, 2, []report.Row{three(report.Ours, 1, 0), three("nginx", 9, 0)}, report.NotJudged, "2 rounds, and a verdict needs 3"},
		"memory met":       {memory, 3, []report.Row{three(report.Ours, 0, 120)}, report.Met, ""},
		"memory missed":    {memory, 3, []report.Row{three(report.Ours, 0, 121)}, report.Missed, ""},
		"memory not there": {memory, 3, []report.Row{three("nginx", 0, 20)}, report.NotJudged, "gatehouse was not measured in s"},
	} {
		c := report.Comparison{Rounds: tc.rounds, Rows: tc.rows}
		if got := c.Judge(tc.target); got.Verdict != tc.want || got.Why != tc.why {
			t.Errorf("%s: got %+v, want %v, %q", name, got, tc.want, tc.why)
		}
	}
}

// TestNothingLeftToJudge is no good news, and does not look like it.
func TestNothingLeftToJudge(t *testing.T) {
	c := madeUpComparison()
	c.LeftOut, c.Targets = c.Targets, nil
	for name, form := range map[string]func(io.Writer, *report.Comparison) error{
		"text": report.ComparisonText, "html": report.ComparisonHTML, "markdown": report.ComparisonMarkdown,
	} {
		got := compare(t, c, form)
		if want := "No target was judged: 6 left out by the choice of scenarios or peers"; !strings.Contains(got, want) {
			t.Errorf("%s does not say %q", name, want)
		}
		if strings.Contains(got, " met") {
			t.Errorf("%s says that something is met", name)
		}
	}
}

// TestAnInterruptedComparison says so, in every form.
func TestAnInterruptedComparison(t *testing.T) {
	c := madeUpComparison()
	c.Rounds, c.Planned = 3, 7
	for name, form := range map[string]func(io.Writer, *report.Comparison) error{
		"text": report.ComparisonText, "html": report.ComparisonHTML, "markdown": report.ComparisonMarkdown,
	} {
		got := compare(t, c, form)
		for _, want := range []string{"interrupted after round 3 of 7", "proxy on CPU 0, load and origin on CPU 1"} {
			if !strings.Contains(got, want) {
				t.Errorf("%s does not say %q", name, want)
			}
		}
	}
}

func TestEmptyComparison(t *testing.T) {
	var c report.Comparison
	for name, form := range map[string]func(io.Writer, *report.Comparison) error{
		"text": report.ComparisonText, "html": report.ComparisonHTML, "markdown": report.ComparisonMarkdown,
	} {
		got := compare(t, &c, form)
		if !strings.Contains(got, "0 interleaved rounds") || strings.Contains(got, "NaN") {
			t.Errorf("%s of nothing:\n%s", name, got)
		}
	}
}

func TestComparisonSurvivesJSON(t *testing.T) {
	c := madeUpComparison()
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var back report.Comparison
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(c, &back) {
		t.Errorf("came back as %+v", back)
	}
	for _, field := range []string{`"at_most":`, `"cpu_us":`, `"rss_mb":`, `"rounds":`} {
		if !strings.Contains(string(text), field) {
			t.Errorf("no field %s in %s", field, text)
		}
	}
}
