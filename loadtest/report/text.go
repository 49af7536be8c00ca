package report

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"

	"gatehouse/loadtest"
)

// How much of a result fits a terminal: [Text] writes at most 40 lines.
const (
	textTargets    = 8
	textObjectives = 8
	textTallies    = 5
	textColumns    = 60
	textCauseLines = 3
)

// Text writes what a terminal should show of a run: at most 40 lines, no colour and no
// control sequences, whatever the names in r hold. Lists that are longer than their
// room say how much they leave out; objectives that were missed come first.
// The error is w's.
func Text(w io.Writer, r *loadtest.Result) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\n", loadWords(r.Load))
	fmt.Fprintf(&b, "started %s, measured %s\n\n", r.Started.UTC().Format("2006-01-02 15:04:05 UTC"), seconds(r.Seconds))
	textTotals(&b, r)
	textLatency(&b, r)
	textCourse(&b, r.Series)
	textTargetParts(&b, r.Targets)
	textSLOs(&b, r)
	if _, err := w.Write(append(bytes.TrimRight(b.Bytes(), "\n"), '\n')); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// loadWords says a plan in one line.
func loadWords(l loadtest.Load) string {
	var parts []string
	if l.Model == "open" {
		parts = append(parts, "open model, "+perSecond(l.Rate)+" planned, up to "+plural(int64(l.Connections), "connection"))
	} else {
		parts = append(parts, "closed model, "+plural(int64(l.Connections), "connection"))
	}
	if !l.Handshakes && l.HTTP != "" {
		parts = append(parts, "HTTP/"+plain(l.HTTP, 8))
	}
	switch l.TLS {
	case "none", "":
		parts = append(parts, "no TLS")
	case "full":
		parts = append(parts, "TLS with full handshakes")
	case "resumed":
		parts = append(parts, "TLS with resumed sessions")
	default:
		parts = append(parts, "TLS "+plain(l.TLS, 16))
	}
	if l.Curve != "" {
		parts = append(parts, plain(l.Curve, 32))
	}
	switch {
	case l.Handshakes:
		parts = append(parts, "handshakes only")
	case l.KeepAlive:
		parts = append(parts, "keep-alive")
	default:
		parts = append(parts, "one request a connection")
	}
	bound := seconds(l.Duration)
	if l.Warmup > 0 {
		bound += " after " + seconds(l.Warmup) + " of warm-up"
	}
	return strings.Join(append(parts, bound), ", ")
}

func seconds(s float64) string {
	switch {
	case s >= 1000:
		return count(int64(s)) + " s"
	case s > 0 && s < 0.1: // a few requests are soon answered, and not in 0 s
		return duration(s * 1e6)
	}
	return short(math.Round(s*10)/10) + " s"
}

func plural(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return count(n) + " " + noun + "s"
}

// noun is what a run's Requests counts.
func noun(r *loadtest.Result) string {
	if r.Load.Handshakes {
		return "handshakes"
	}
	return "requests"
}

func textTotals(b *bytes.Buffer, r *loadtest.Result) {
	fmt.Fprintf(b, "%-12s %s, %s\n", noun(r), count(r.Requests), perSecond(r.Rate))
	fmt.Fprintf(b, "%-12s %s, %s%s\n", "errors", count(failures(r)), percent(failures(r), sum(r.Errors)+r.Requests), textCounts(": ", kinds(r)))
	textCauses(b, r)
	if r.Interrupted {
		fmt.Fprintf(b, "%-12s after %.1f s of %.0f s: these are numbers of a part\n", "interrupted", r.Seconds, r.Load.Duration)
	}
	if len(r.Statuses) > 0 {
		fmt.Fprintf(b, "%-12s %s\n", "statuses", textCounts("", r.Statuses))
	}
	c, opened := r.Connections, "opened"
	if r.Load.Warmup > 0 {
		opened = "opened after the warm-up, " + count(c.Before) + " in it"
	}
	fmt.Fprintf(b, "%-12s %s %s, %s resumed, handshake %s median, %s mean\n", "connections",
		count(c.Opened), opened, count(c.Resumed), measured(c.MedianUS), measured(c.MeanUS))
	fmt.Fprintf(b, "%-12s %s in, %s out\n", "octets", traffic(r.BytesIn, r.Seconds), traffic(r.BytesOut, r.Seconds))
	if r.Load.Model == "open" {
		fmt.Fprintf(b, "%-12s %s late (their latency counts from the planned time), %s not sent before the end", "planned", count(r.Late), count(r.Unsent))
		if r.Unsent > 0 {
			b.WriteString(" (errors to --slo)")
		}
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
}

// textCauses says what the first failure was of the most frequent kinds.
func textCauses(b *bytes.Buffer, r *loadtest.Result) {
	shown := 0
	for _, t := range tallies(r.Errors) {
		if text := r.Causes[t.Name]; text != "" && shown < textCauseLines {
			fmt.Fprintf(b, "  %-10s %s\n", plain(t.Name, 10), plain(text, 200))
			shown++
		}
	}
}

func traffic(octets int64, seconds float64) string {
	s := size(float64(octets))
	if seconds > 0 {
		s += " (" + size(float64(octets)/seconds) + "/s)"
	}
	return s
}

// textCounts lists the most frequent of m after lead; nothing for an empty map.
func textCounts(lead string, m map[string]int64) string {
	all := tallies(m)
	if len(all) == 0 {
		return ""
	}
	var parts []string
	for _, t := range all[:min(len(all), textTallies)] {
		parts = append(parts, plain(t.Name, 24)+" "+count(t.Count))
	}
	if more := len(all) - textTallies; more > 0 {
		parts = append(parts, fmt.Sprintf("and %d more", more))
	}
	return lead + strings.Join(parts, ", ")
}

func textLatency(b *bytes.Buffer, r *loadtest.Result) {
	if r.Requests == 0 {
		b.WriteString("latency      nothing was answered\n\n")
		return
	}
	// Nine columns fit the 80 of a terminal.
	l := r.Latency
	fmt.Fprintf(b, "latency %7s %7s %7s %7s %7s %7s %7s %7s %7s\n       ", "min", "mean", "p50", "p75", "p90", "p95", "p99", "p99.9", "max")
	for _, us := range []float64{l.Min, l.Mean, l.P50, l.P75, l.P90, l.P95, l.P99, l.P999, l.Max} {
		fmt.Fprintf(b, " %7s", duration(us))
	}
	b.WriteString("\n\n")
}

// textCourse draws rate and p99 over the time; a single interval has no course.
func textCourse(b *bytes.Buffer, series []loadtest.Interval) {
	if len(series) < 3 {
		return
	}
	slots := thin(series, group(len(series), textColumns))
	rates := make([]float64, len(slots))
	p99s := make([]float64, len(slots))
	for i, s := range slots {
		rates[i], p99s[i] = s.rate(), s.P99
	}
	fmt.Fprintf(b, "rate  %s  up to %s\n", spark(rates), perSecond(slices.Max(rates)))
	fmt.Fprintf(b, "p99   %s  up to %s\n\n", spark(p99s), measured(slices.Max(p99s)))
}

// failures are the requests without an answer, and those with one that was not wanted.
func failures(r *loadtest.Result) int64 { return sum(r.Errors) + r.Unexpected }

// kinds are the failures by kind.
func kinds(r *loadtest.Result) map[string]int64 {
	if r.Unexpected == 0 {
		return r.Errors
	}
	out := maps.Clone(r.Errors)
	if out == nil {
		out = map[string]int64{}
	}
	out["unexpected status"] = r.Unexpected
	return out
}

// spark draws a list that is not empty as blocks, from zero to its greatest; a second
// in which nobody was answered, whose p99 is 0, is an x.
func spark(list []float64) string {
	blocks := []rune("▁▂▃▄▅▆▇█")
	top := slices.Max(list)
	var b strings.Builder
	for _, v := range list {
		if v == 0 {
			b.WriteByte('x')
			continue
		}
		i := 0
		if top > 0 && finite(v) {
			i = int(math.Round(max(v, 0) / top * float64(len(blocks)-1)))
		}
		b.WriteRune(blocks[i])
	}
	return b.String()
}

func textTargetParts(b *bytes.Buffer, parts []loadtest.TargetPart) {
	if len(parts) == 1 {
		fmt.Fprintf(b, "target       %s\n\n", plain(parts[0].Name, 120))
	}
	if len(parts) < 2 {
		return
	}
	fmt.Fprintf(b, "%-44s %12s %9s %9s %9s\n", "targets", "requests", "errors", "p50", "p99")
	shown := byRequests(parts, textTargets)
	for _, p := range shown {
		fmt.Fprintf(b, "  %-42s %12s %9s %9s %9s\n", plain(p.Name, 42), count(p.Requests), count(p.Errors),
			measured(p.Latency.P50), measured(p.Latency.P99))
	}
	if more := len(parts) - len(shown); more > 0 {
		fmt.Fprintf(b, "  and %s with fewer requests\n", count(int64(more)))
	}
	b.WriteByte('\n')
}

// byRequests returns the parts with the most requests, at most limit; equals stay in the plan's order.
func byRequests(parts []loadtest.TargetPart, limit int) []loadtest.TargetPart {
	sorted := slices.Clone(parts)
	slices.SortStableFunc(sorted, func(a, b loadtest.TargetPart) int { return cmp.Compare(b.Requests, a.Requests) })
	return sorted[:min(len(sorted), limit)]
}

func textSLOs(b *bytes.Buffer, r *loadtest.Result) {
	slos := r.SLOs
	for _, o := range missedFirst(slos)[:min(len(slos), textObjectives)] {
		word := "met"
		switch {
		case o.Missed:
			word = "MISSED"
		case r.Interrupted:
			word = soFar
		}
		fmt.Fprintf(b, "%-12s %-24s %s\n", word, plain(o.Text, 60), found(o, r))
	}
	if more := len(slos) - textObjectives; more > 0 {
		fmt.Fprintf(b, "and %d more objectives\n", more)
	}
}

func missedFirst(slos []loadtest.Objective) []loadtest.Objective {
	sorted := slices.Clone(slos)
	rank := map[bool]int{true: 0, false: 1}
	slices.SortStableFunc(sorted, func(a, b loadtest.Objective) int { return rank[a.Missed] - rank[b.Missed] })
	return sorted
}

func objectiveValue(v float64, unit string) string {
	switch unit {
	case "us":
		return duration(v)
	case "/s":
		return perSecond(v)
	default:
		return strings.TrimSpace(digits(v) + " " + plain(unit, 8))
	}
}
