package report

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// nines is where a percentile lies on the axis of the percentile curve: each further
// nine is as far from the last as that was from the one before.
func nines(p float64) float64 { return -math.Log10(1 - p/100) }

// percentileFigure draws latency by percentile, as HDR histograms are drawn. The
// greatest, which is the 100th percentile and would lie in infinity, is drawn where
// one request of all lies.
func percentileFigure(all []course) figure {
	c := chart{
		Title: "Latency by percentile", Wide: true, Margin: 40,
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
