package report_test

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"gatehouse/loadtest"
	"gatehouse/loadtest/report"
)

var update = flag.Bool("update", false, "write the golden files of testdata anew")

// golden compares got with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (go test -update writes it anew); got:\n%s", path, got)
	}
}

func text(t *testing.T, r *loadtest.Result) string {
	t.Helper()
	var b bytes.Buffer
	if err := report.Text(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func html(t *testing.T, runs ...report.Named) string {
	t.Helper()
	var b bytes.Buffer
	if err := report.HTML(&b, runs...); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// body is a page without its style and its script.
func body(page string) string {
	return regexp.MustCompile(`(?s)<(style|script)>.*?</(style|script)>`).ReplaceAllString(page, "")
}

func openLoad() *loadtest.Result {
	r := madeUp(3, 5, 1)
	r.Load = loadtest.Load{Model: "open", Rate: 5000, Connections: 100, HTTP: "2", TLS: "full", KeepAlive: true, Duration: 5}
	r.Targets = r.Targets[:1]
	r.Late, r.Unsent = 12, 3
	return r
}

func TestText(t *testing.T) {
	golden(t, "closed.txt", text(t, madeUp(1, 30, 1)))
	golden(t, "open.txt", text(t, openLoad()))
	golden(t, "empty.txt", text(t, &loadtest.Result{}))
}

// TestHTMLStructure keeps the page's structure; how it looks is in style.css.
func TestHTMLStructure(t *testing.T) {
	policy := regexp.MustCompile(`sha256-[^ ;]*`)
	page := body(html(t, report.Named{Result: openLoad()}))
	golden(t, "open.html", policy.ReplaceAllString(page, "sha256-…"))
}

// TestTheSameInputGivesTheSamePage: maps must not shuffle what is printed.
func TestTheSameInputGivesTheSamePage(t *testing.T) {
	runs := []report.Named{{Name: "a", Result: madeUp(1, 30, 1)}, {Name: "b", Result: madeUp(2, 20, 0.5)}}
	first := html(t, runs...)
	for range 5 {
		if html(t, runs...) != first {
			t.Fatal("a second rendering differs from the first")
		}
	}
}

// TestTextFitsATerminal fills every list beyond its room.
func TestTextFitsATerminal(t *testing.T) {
	got := text(t, crowded())
	if n := strings.Count(got, "\n"); n > 40 {
		t.Errorf("%d lines, want at most 40:\n%s", n, got)
	}
	for _, want := range []string{"and 9,992 with fewer requests", "and 296 more", "and 42 more objectives", "and 25 more"} {
		if !strings.Contains(got, want) {
			t.Errorf("does not say %q:\n%s", want, got)
		}
	}
	if !strings.Contains(got, "MISSED       p99<49us") {
		t.Errorf("the one missed objective, the last of fifty, is not shown:\n%s", got)
	}
}

// TestPageOfManyTargets shows the busiest fifty and says how many it leaves out.
func TestPageOfManyTargets(t *testing.T) {
	page := html(t, report.Named{Result: crowded()})
	if n := strings.Count(page, `class="url"`); n != 50 {
		t.Errorf("%d targets are shown, want 50", n)
	}
	if !strings.Contains(page, "and 9,950 targets with fewer requests") {
		t.Error("the page does not say that 9,950 targets are left out")
	}
	if !strings.Contains(page, "GET https://t9999.test/") || strings.Contains(page, "GET https://t9000.test/") {
		t.Error("the targets shown are not those with the most requests")
	}
}

// TestLongSeriesIsThinned: hours of intervals must neither swell the page nor hide a stall.
func TestLongSeriesIsThinned(t *testing.T) {
	r := madeUp(1, 20_000, 1)
	r.Series[12_345].Max = 59e6
	page := html(t, report.Named{Result: r})
	if len(page) > 400_000 {
		t.Errorf("the page has %d octets", len(page))
	}
	if !strings.Contains(page, "Each point stands for 100 intervals") {
		t.Error("the page does not say what a point stands for")
	}
	if !strings.Contains(page, "max  59.0 s") {
		t.Error("the one stall of 59 s is in no point")
	}
}

// TestNothingToDraw: every kind of missing data gives a page with finite numbers.
func TestNothingToDraw(t *testing.T) {
	one := madeUp(1, 1, 1)
	stalled := madeUp(1, 4, 1)
	for i := range stalled.Series {
		stalled.Series[i] = loadtest.Interval{At: float64(i + 1), Seconds: 1, Errors: 5}
	}
	outlier := madeUp(1, 10, 1)
	outlier.Series[3].Max, outlier.Latency.Max = 9e12, 9e12
	for name, tc := range map[string]struct {
		result *loadtest.Result
		want   string
	}{
		"zero value":   {&loadtest.Result{}, "Nothing was answered"},
		"one interval": {one, `<circle class="dot"`},
		"only errors":  {stalled, "Nothing was answered, so there is no latency"},
		"no errors":    {&loadtest.Result{Requests: 3, Seconds: 1, Series: []loadtest.Interval{{At: 1, Seconds: 1, Requests: 3, P50: 5, P90: 5, P99: 5, Max: 5}}}, "No request went without an answer"},
		"outlier":      {outlier, "9,000,000 s"},
		"no duration":  {&loadtest.Result{Requests: 1, Series: []loadtest.Interval{{Requests: 1, Max: 1}}}, "<svg"},
	} {
		t.Run(name, func(t *testing.T) {
			page := html(t, report.Named{Result: tc.result})
			if !strings.Contains(page, tc.want) {
				t.Errorf("the page lacks %q", tc.want)
			}
			if bad := regexp.MustCompile(`NaN|[+-]Inf|ZgotmplZ|=""`).FindString(body(page)); bad != "" {
				t.Errorf("the page holds %q", bad)
			}
			if bad := regexp.MustCompile(`NaN|Inf`).FindString(text(t, tc.result)); bad != "" {
				t.Errorf("the text holds %q", bad)
			}
		})
	}
}

func TestNoRunIsAnError(t *testing.T) {
	if err := report.HTML(&bytes.Buffer{}); err == nil {
		t.Error("a page of no run was drawn")
	}
	err := report.HTML(&bytes.Buffer{}, report.Named{Name: "before"})
	if err == nil || !strings.Contains(err.Error(), `"before"`) {
		t.Errorf("got %v, want an error that names the run without a result", err)
	}
}

var errFull = errors.New("disk full")

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errFull }

func TestErrorsOfTheWriterAreReturned(t *testing.T) {
	c := madeUpComparison()
	for name, err := range map[string]error{
		"Text":               report.Text(fullDisk{}, madeUp(1, 3, 1)),
		"HTML":               report.HTML(fullDisk{}, report.Named{Result: madeUp(1, 3, 1)}),
		"ComparisonText":     report.ComparisonText(fullDisk{}, c),
		"ComparisonHTML":     report.ComparisonHTML(fullDisk{}, c),
		"ComparisonMarkdown": report.ComparisonMarkdown(fullDisk{}, c),
	} {
		if !errors.Is(err, errFull) {
			t.Errorf("%s returned %v, want the writer's error", name, err)
		}
	}
}

// An answer that was not wanted is a failure in every place where failures are counted.
func TestUnexpectedAnswersAreErrors(t *testing.T) {
	r := &loadtest.Result{Requests: 1000, Unexpected: 990, Statuses: map[string]int64{"500": 990, "200": 10}, Seconds: 1}
	var text, page bytes.Buffer
	if err := errors.Join(report.Text(&text, r), report.HTML(&page, report.Named{Result: r})); err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string]string{"text": text.String(), "page": page.String()} {
		if !strings.Contains(got, "unexpected status") || !strings.Contains(got, "99.0 %") {
			t.Errorf("the %s hides 990 errors of 1000", name)
		}
	}
}

// TestShortRunsHaveATime: five requests are answered in milliseconds, not in 0 s.
func TestShortRunsHaveATime(t *testing.T) {
	if got := text(t, &loadtest.Result{Requests: 5, Seconds: 0.0123}); !strings.Contains(got, "measured 12.3 ms") {
		t.Errorf("got %s", got)
	}
}

// TestAnInterruptedRunProvesNothing, in no form of the report.
func TestAnInterruptedRunProvesNothing(t *testing.T) {
	r := madeUp(1, 5, 1)
	r.Interrupted = true
	for i := range r.SLOs {
		r.SLOs[i].Missed = false
	}
	r.Missed = false
	var text, page bytes.Buffer
	if err := report.Text(&text, r); err != nil {
		t.Fatal(err)
	}
	if err := report.HTML(&page, report.Named{Result: r}); err != nil {
		t.Fatal(err)
	}
	if s := text.String(); !strings.Contains(s, "interrupted") || !strings.Contains(s, "so far") || strings.Contains(s, "\nmet ") {
		t.Errorf("the text:\n%s", s)
	}
	if s := page.String(); !strings.Contains(s, "Interrupted after") || !strings.Contains(s, ">so far<") || strings.Contains(s, "badge met") || strings.Contains(s, "verdict met") {
		t.Error("the page does not say that nothing is proven")
	}
}

// TestAnObjectiveOfTimeWithoutAnswers has no value.
func TestAnObjectiveOfTimeWithoutAnswers(t *testing.T) {
	r := &loadtest.Result{SLOs: []loadtest.Objective{{Text: "p99<1s", Unit: "us", Limit: 1e6, Missed: true}}, Missed: true}
	var text bytes.Buffer
	if err := report.Text(&text, r); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text.String(), "MISSED       p99<1s                   nothing was answered") {
		t.Errorf("got:\n%s", text.String())
	}
}
