package report_test

import (
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
	"gatehouse/loadtest"
	"gatehouse/loadtest/report"
)

// hostile are names as somebody's URL, server or settings could give them.
var hostile = []string{
	`GET https://a.test/"><script>alert(1)</script>`,
	`GET https://a.test/'onmouseover='alert(2)`,
	`</title></svg></style></script><img src=x onerror=alert(3)>`,
	`<!--<script>`, `]]><script>alert(4)</script>`, `javascript:alert(5)`, `{{.}}`, `${alert(6)}`,
	"\x1b]0;owned\x07\x1b[2J", "a\u202egnp.exe", "bad\xff\xfeoctets", "two\nlines | and a pipe", "`back``ticks`", `[x](javascript:alert(7))`, "\u2028\u0085",
}

func hostileResult(name string) *loadtest.Result {
	r := madeUp(1, 3, 1)
	r.Targets = []loadtest.TargetPart{
		{Name: name, Requests: 9, Statuses: map[string]int64{name: 9}},
		{Name: name + "2", Requests: 1},
	}
	r.Statuses, r.Errors = map[string]int64{name: 4}, map[string]int64{name: 2}
	r.SLOs = []loadtest.Objective{{Text: name, Unit: name, Missed: true}}
	r.Load = loadtest.Load{Model: name, HTTP: name, TLS: name, Curve: name, Duration: 3}
	return r
}

func hostileComparison(name string) *report.Comparison {
	return &report.Comparison{
		Date: time.Unix(0, 0), Machine: name, Commit: name, Command: name, Notes: []string{name},
		Peers:   []report.Peer{{Name: name, Version: name}},
		Rows:    []report.Row{{Scenario: name, Title: name, Peer: name, Samples: cpu(1), Median: report.Sample{CPU: 1}}},
		Targets: []report.Target{{Scenario: name, Peer: name, Text: name, NotJudged: name}},
		LeftOut: []report.Target{{Scenario: name, Peer: name, Text: name}}, Method: []report.Fact{{Name: name, Text: name}},
	}
}

// tags lists the elements that a page opens, by name, and what could run.
func tags(page string) (elements map[string]int, handlers []string) {
	elements = map[string]int{}
	for _, tag := range regexp.MustCompile(`<[!/]?([a-zA-Z-]+)("[^"]*"|[^">])*>`).FindAllStringSubmatch(page, -1) {
		elements[strings.ToLower(tag[1])]++
		if regexp.MustCompile(`\son[a-z]+\s*=`).MatchString(regexp.MustCompile(`"[^"]*"`).ReplaceAllString(tag[0], "")) {
			handlers = append(handlers, tag[0])
		}
	}
	return elements, handlers
}

// TestNamesCannotBecomeMarkup compares the elements of a page of harmless names with
// those of a page of hostile ones.
func TestNamesCannotBecomeMarkup(t *testing.T) {
	edgetest.Sequential(t)
	page := func(name string) (run, comparison string) {
		r := report.Named{Name: name, Result: hostileResult(name)}
		return html(t, r, r), compare(t, hostileComparison(name), report.ComparisonHTML)
	}
	check := func(name, harmless, got string) {
		want, _ := tags(body(harmless))
		elements, handlers := tags(body(got))
		for element, n := range elements {
			if n != want[element] {
				t.Errorf("%q: %d of <%s>, want %d", name, n, element, want[element])
			}
		}
		if len(handlers) > 0 {
			t.Errorf("%q: event handlers %q", name, handlers)
		}
		if scripts := strings.Count(got, "<script"); scripts != 1 {
			t.Errorf("%q: %d scripts, want our one", name, scripts)
		}
		if bad := regexp.MustCompile(`[\x00-\x08\x0b-\x1f\x7f]|\x{202e}|\x{2028}|ZgotmplZ`).FindString(got); bad != "" {
			t.Errorf("%q: the page holds %q", name, bad)
		}
	}
	harmlessRun, harmlessComparison := page("harmless")
	for _, name := range hostile {
		run, comparison := page(name)
		check(name, harmlessRun, run)
		check(name, harmlessComparison, comparison)
	}
}

// TestNamesCannotSteerATerminal: no control character but our line feeds, and no line of theirs.
func TestNamesCannotSteerATerminal(t *testing.T) {
	lines := strings.Count(text(t, hostileResult("harmless")), "\n")
	plain := strings.Count(compare(t, hostileComparison("harmless"), report.ComparisonText), "\n")
	for _, name := range hostile {
		run := text(t, hostileResult(name))
		comparison := compare(t, hostileComparison(name), report.ComparisonText)
		if n := strings.Count(run, "\n"); n != lines {
			t.Errorf("%q: %d lines, want %d", name, n, lines)
		}
		if n := strings.Count(comparison, "\n"); n != plain {
			t.Errorf("%q: %d lines of comparison, want %d", name, n, plain)
		}
		for _, got := range []string{run, comparison} {
			if bad := regexp.MustCompile(`[\x00-\x09\x0b-\x1f\x7f-\x{9f}\x{202e}\x{2028}\x{fffd}]`).FindString(got); bad != "" {
				t.Errorf("%q: the text holds %q", name, bad)
			}
		}
	}
}

// TestNamesCannotBreakATable: Markdown keeps its rows and columns.
func TestNamesCannotBreakATable(t *testing.T) {
	columns := func(got string) (out []int) {
		for line := range strings.Lines(got) {
			if strings.HasPrefix(line, "|") {
				out = append(out, strings.Count(line, "|")-strings.Count(line, `\|`))
			}
		}
		return out
	}
	want := columns(compare(t, hostileComparison("harmless"), report.ComparisonMarkdown))
	for _, name := range hostile {
		got := compare(t, hostileComparison(name), report.ComparisonMarkdown)
		c := columns(got)
		if len(c) != len(want) {
			t.Fatalf("%q: %d rows, want %d:\n%s", name, len(c), len(want), got)
		}
		for i := range c {
			if c[i] != want[i] {
				t.Errorf("%q: row %d has %d bars, want %d", name, i, c[i], want[i])
			}
		}
		if code := regexp.MustCompile("`[^`]*`"); strings.Contains(code.ReplaceAllString(got, ""), "<script") && !strings.Contains(got, `\<script`) {
			t.Errorf("%q: raw HTML outside of a code span:\n%s", name, got)
		}
	}
}

// TestPageAsksForNothing: no address that a browser would fetch, and a policy that
// would refuse it.
func TestPageAsksForNothing(t *testing.T) {
	r := report.Named{Name: "https://a.test/", Result: madeUp(1, 5, 1)}
	fetches := regexp.MustCompile(`(?i)(\s(src|srcset|href|xlink:href|action|data|poster)\s*=\s*"?(https?:)?//)|url\(|@import|<(script|link|img|iframe|object|embed|use|image)[^>]*\s(src|href)="[^"d]`)
	for name, write := range map[string]func(io.Writer) error{
		"run":        func(w io.Writer) error { return report.HTML(w, r) },
		"runs":       func(w io.Writer) error { return report.HTML(w, r, r) },
		"comparison": func(w io.Writer) error { return report.ComparisonHTML(w, madeUpComparison()) },
	} {
		var b strings.Builder
		if err := write(&b); err != nil {
			t.Fatal(err)
		}
		if found := fetches.FindString(b.String()); found != "" {
			t.Errorf("%s: %q", name, found)
		}
		if strings.Contains(b.String(), " style=") {
			t.Errorf("%s: a style attribute, which the page's own policy refuses", name)
		}
		if !strings.Contains(b.String(), "default-src &#39;none&#39;") {
			t.Errorf("%s: no policy", name)
		}
	}
}
