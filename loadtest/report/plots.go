package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"gatehouse/loadtest"
)

// How many values a plot over time draws: more than a screen can show tells nothing.
const plotSlots = 200

// A figure is a plot with its title, its legend and its scales.
type figure struct {
	ID, Title, Note string
	Wide            bool
	Legend          []key
	Drawings        []drawing // one, or the linear and the logarithmic form
	LogFirst        bool
	Empty           string // stands in place of drawings that there is nothing for
}

// Scaled reports whether the reader may choose between two scales.
func (f figure) Scaled() bool { return len(f.Drawings) > 1 }

type key struct{ Name, Class string }

// newFigure draws a chart. Of a chart with scales the reader first sees the
// logarithmic one if values differ so much that the linear one is a flat line.
func newFigure(id, note string, c chart, scales bool) figure {
	f := figure{ID: id, Title: c.Title, Note: note, Wide: c.Wide, Drawings: []drawing{c.draw(false)}}
	for _, l := range c.Lines {
		f.Legend = append(f.Legend, key{l.Name, l.Class})
	}
	if scales {
		f.Drawings = append(f.Drawings, c.draw(true))
		least, most := c.extent()
		f.LogFirst = most > 30*least
	}
	return f
}

// A course is one run, thinned for plots over time.
type course struct {
	name, class string
	slots       []slot
	result      *loadtest.Result
}

// courses prepares runs; all are thinned alike, so that they can be compared.
func courses(named []Named) []course {
	longest := 0
	for _, n := range named {
		longest = max(longest, len(n.Result.Series))
	}
	each := group(longest, plotSlots)
	var out []course
	for i, n := range named {
		out = append(out, course{
			name: plain(n.Name, 40), class: fmt.Sprintf("c%d", i%8+1),
			slots:  thin(n.Result.Series, each),
			result: n.Result,
		})
	}
	return out
}

// figures draws everything there is to see of runs.
func figures(named []Named) []figure {
	all := courses(named)
	return []figure{latencyFigure(all), percentileFigure(all), rateFigure(all), errorFigure(all)}
}

// timeChart is a chart over the measured time of all runs.
func timeChart(title string, all []course) chart {
	end := 0.0
	for _, c := range all {
		if n := len(c.slots); n > 0 {
			end = max(end, c.slots[n-1].End)
		}
		end = max(end, c.result.Seconds)
	}
	c := chart{Title: title, X: axis{lo: 0, hi: end}}
	u := clockUnit(end)
	c.XName = "time since the measuring began (" + u.name + ")"
	c.XText = func(from, to float64) string {
		return fmt.Sprintf("%s–%s s", digits(from), digits(to))
	}
	for _, v := range linearTicks(end/u.size, 8) {
		if at := v * u.size; at <= end*(1+1e-9) {
			c.XTicks = append(c.XTicks, tick{at, short(v)})
		}
	}
	return c
}

// thinned says what a point of a plot over time is, if it is more than one interval.
func thinned(all []course, words string) string {
	for _, c := range all {
		if len(c.slots) > 0 && c.slots[0].Intervals > 1 {
			return fmt.Sprintf("Each point stands for %d intervals: %s.", c.slots[0].Intervals, words)
		}
	}
	return ""
}

func answered(all []course) bool {
	for _, c := range all {
		if c.result.Requests > 0 {
			return true
		}
	}
	return false
}

// latencyFigure draws four lines for one run, two for each of several.
func latencyFigure(all []course) figure {
	c := timeChart("Latency over time", all)
	c.Wide, c.YName, c.YUnit, c.YText = true, "latency", timeUnit, duration
	for _, run := range all {
		lines := []struct {
			name, class string
			of          func(slot) float64
		}{
			{"p50", "c1", func(s slot) float64 { return s.P50 }},
			{"p90", "c3", func(s slot) float64 { return s.P90 }},
			{"p99", "c2", func(s slot) float64 { return s.P99 }},
			{"max", "c7 dotted", func(s slot) float64 { return s.Max }},
		}
		if len(all) > 1 {
			lines[0].class, lines[2].class = run.class+" dashed", run.class
			lines = append(lines[:1], lines[2])
		}
		for _, l := range lines {
			one := line{Name: l.name, Class: l.class}
			if len(all) > 1 {
				one.Name = run.name + " " + l.name
			}
			for _, s := range run.slots {
				one.Points = append(one.Points, point{From: s.Begin, To: s.End, Y: l.of(s), Gap: s.Requests == 0})
			}
			c.Lines = append(c.Lines, one)
		}
	}
	f := newFigure("latency", thinned(all, "the worst of them"), c, true)
	if _, most := c.extent(); most == 0 {
		return figure{ID: f.ID, Title: f.Title, Wide: true, Empty: "Nothing was answered, so there is no latency."}
	}
	return f
}

// nines is where a percentile lies on the axis of the percentile curve: each further
// nine is as far from the last as that was from the one before.
func nines(p float64) float64 { return -math.Log10(1 - p/100) }

// percentileFigure draws latency by percentile, as HDR histograms are drawn. The
// greatest, which is the 100th percentile and would lie in infinity, is drawn where
// one request of all lies.
func percentileFigure(all []course) figure {
	c := chart{
		Title: "Latency by percentile", Wide: true,
		XName: "percentile of requests", YName: "latency", YUnit: timeUnit, YText: duration,
		XText: func(_, to float64) string { return "p" + percentile(to) },
	}
	for _, run := range all {
		l := line{Name: run.name, Class: run.class}
		if len(all) == 1 {
			l.Name = "latency"
		}
		last := 0.0
		for _, p := range run.result.Percentiles {
			at, note := nines(p.P), ""
			if !finite(at) {
				at, note = math.Log10(float64(max(run.result.Requests, 1))), duration(p.US)+", the greatest"
				at = max(at, last)
			}
			last = at
			l.Points = append(l.Points, point{From: at, To: at, Y: p.US, Note: note})
		}
		c.X.hi = max(c.X.hi, last)
		if len(all) == 1 {
			l.Marks = marks(l.Points)
		}
		l.Points = apart(l.Points, 500)
		c.Lines = append(c.Lines, l)
	}
	if _, most := c.extent(); most == 0 || !answered(all) {
		return figure{ID: "percentiles", Title: c.Title, Wide: true, Empty: "Nothing was answered, so there is no distribution."}
	}
	c.X.hi = max(c.X.hi, 1)
	c.XTicks = append(c.XTicks, tick{0, "0 %"}, tick{nines(50), "50 %"})
	for n := 1.0; n <= c.X.hi+1e-9; n++ {
		c.XTicks = append(c.XTicks, tick{n, percentile(n) + " %"})
	}
	return newFigure("percentiles", "Each step to the right is ten times rarer.", c, true)
}

// marks picks the percentiles that one speaks of, and the greatest.
func marks(points []point) []point {
	var out []point
	for _, p := range []float64{50, 90, 99, 99.9, 99.99} {
		i := slices.IndexFunc(points, func(pt point) bool { return pt.To >= nines(p)-1e-6 })
		if i < 0 || i == len(points)-1 || len(out) > 0 && points[i].To == out[len(out)-1].To {
			continue
		}
		at := points[i]
		at.Note = "p" + percentile(nines(p)) + "  " + duration(at.Y)
		out = append(out, at)
	}
	if len(points) > 0 {
		at := points[len(points)-1]
		at.Note = "max  " + duration(at.Y)
		out = append(out, at)
	}
	return out
}

// percentile formats a place on the axis of nines: 90, 99, 99.9.
func percentile(at float64) string {
	p := 100 * (1 - math.Pow(10, -at))
	s := strconv.FormatFloat(p, 'f', max(0, int(math.Ceil(at-1e-9))-2)+1, 64)
	return strings.TrimRight(strings.TrimRight(s, "0"), ".")
}

// apart leaves out points nearer to the last than a screen can show, never the last one.
func apart(points []point, places float64) []point {
	if len(points) == 0 {
		return nil
	}
	gap := points[len(points)-1].To / places
	var out []point
	for i, p := range points {
		if i == 0 || i == len(points)-1 || p.From-out[len(out)-1].From >= gap {
			out = append(out, p)
		}
	}
	return out
}

func noUnit(float64) unit { return unit{"", 1} }

func rateFigure(all []course) figure {
	c := timeChart("Throughput over time", all)
	c.YName, c.YUnit, c.YText = noun(all[0].result)+" per second", noUnit, perSecond
	for _, run := range all {
		l := line{Name: run.name, Class: run.class, Steps: true, Fill: true}
		if len(all) == 1 {
			l.Name = "answered"
		}
		for _, s := range run.slots {
			p := point{From: s.Begin, To: s.End, Y: s.rate()}
			if s.Intervals > 1 {
				p.Low, p.High = s.Low, s.High
				p.Note = fmt.Sprintf("%s (%s to %s)", perSecond(p.Y), digits(p.Low), digits(p.High))
			}
			l.Points = append(l.Points, p)
		}
		c.Lines = append(c.Lines, l)
	}
	if len(all) == 1 && all[0].result.Load.Model == "open" {
		planned := all[0].result.Load.Rate
		c.Lines = append(c.Lines, line{Name: "planned", Class: "c7 dashed", Steps: true, Quiet: true, Points: []point{{To: c.X.hi, Y: planned}}})
	}
	return newFigure("throughput", thinned(all, "their mean, shaded from the least to the greatest"), c, false)
}

func errorFigure(all []course) figure {
	c := timeChart("Errors over time", all)
	c.YName, c.YUnit, c.YText, c.Threshold = "errors per second", noUnit, perSecond, 1
	for _, run := range all {
		l := line{Name: run.name, Class: run.class, Steps: true, Fill: true}
		if len(all) == 1 {
			l.Name, l.Class = "errors", "bad"
		}
		for _, s := range run.slots {
			l.Points = append(l.Points, point{From: s.Begin, To: s.End, Y: s.errorRate()})
		}
		c.Lines = append(c.Lines, l)
	}
	if _, most := c.extent(); most == 0 {
		return figure{ID: "errors", Title: c.Title, Empty: "No request went without an answer."}
	}
	return newFigure("errors", thinned(all, "their mean"), c, false)
}
