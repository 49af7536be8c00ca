package report

import (
	"fmt"
	"strings"
)

// A point is a value of a line: over a stretch of the x axis, or at one place of it.
type point struct {
	From, To float64
	Y        float64
	Low      float64 // with High: the band that is shaded around a line of steps
	High     float64
	Gap      bool   // nothing was measured here: the line is interrupted
	Note     string // what a tooltip says; empty: Y
}

func (p point) centre() float64 { return (p.From + p.To) / 2 }

// A line is one series of a chart. Class is one of the classes of style.css.
type line struct {
	Name   string
	Class  string
	Points []point
	Steps  bool    // each value holds over its whole stretch
	Fill   bool    // down to the axis
	Quiet  bool    // not told to a pointer
	Marks  []point // those whose Note is written beside them
}

// A chart is a plot before it has a size and a scale.
type chart struct {
	Title     string
	Wide      bool
	X         axis // its places are set when it is drawn
	XTicks    []tick
	XName     string
	XText     func(from, to float64) string
	YName     string
	YUnit     func(top float64) unit
	YText     func(float64) string
	Lines     []line
	Threshold float64 // least top of the y axis
}

// A drawing is a chart ready for the template: every number is a place.
type drawing struct {
	Scale                    string // "linear" or "log"
	Label                    string // what a reader hears who does not see it
	Width, Height            float64
	Left, Right, Top, Bottom float64
	Middle                   float64 // of the y axis
	XTicks, YTicks           []tick
	XName, YName             string
	Strokes                  []stroke
	Marks                    []mark
	Bands                    []band
}

// PlotHeight is that of the plane between the axes.
func (d drawing) PlotHeight() float64 { return d.Bottom - d.Top }

// A stroke is one line of a drawing.
type stroke struct {
	Class      string
	Path, Fill string // of the line, and of the area below or around it
	Dots       []dot
}

type dot struct{ X, Y float64 }

// A mark is a point with its words beside it.
type mark struct {
	X, Y  float64
	Text  string
	Right bool // where there is no room to the left
}

// draw gives a chart its places.
func (c chart) draw(log bool) drawing {
	d := drawing{
		Scale: "linear", Width: 484, Height: 250, Left: 66, Top: 14,
		XName: c.XName, Label: c.words(),
	}
	for _, l := range c.Lines {
		if len(l.Marks) > 0 {
			d.Top = 28 // the words above the highest
		}
	}
	if c.Wide {
		d.Width, d.Height = 1034, 320
	}
	d.Right, d.Bottom = d.Width-14, d.Height-44
	d.Middle = (d.Top + d.Bottom) / 2
	y := c.yAxis(&d, log)
	x := c.X
	x.from, x.to = d.Left, d.Right
	for _, t := range c.XTicks {
		d.XTicks = append(d.XTicks, tick{round(x.place(t.At)), t.Label})
	}
	for _, l := range c.Lines {
		d.Strokes = append(d.Strokes, l.stroke(x, y))
		for _, p := range l.Marks {
			at := x.place(p.centre())
			d.Marks = append(d.Marks, mark{round(at), round(y.place(p.Y)), p.Note, at < d.Left+120})
		}
	}
	d.Bands = c.bands(x, d.Right)
	return d
}

// yAxis chooses the scale, and writes ticks and title into d.
func (c chart) yAxis(d *drawing, log bool) axis {
	least, most := c.extent()
	most = max(most, c.Threshold)
	var values []float64
	y := axis{from: d.Bottom, to: d.Top, log: log}
	if log {
		d.Scale = "log"
		y.lo, y.hi, values = logTicks(least, most)
	} else {
		values = linearTicks(most, 5)
		y.hi = values[len(values)-1]
	}
	u := c.YUnit(y.hi)
	d.YName = c.YName
	if u.name != "" && !log {
		d.YName += " (" + u.name + ")"
	}
	for _, v := range values {
		label := short(v / u.size)
		if log {
			label = roundDuration(v)
		}
		d.YTicks = append(d.YTicks, tick{round(y.place(v)), label})
	}
	return y
}

// extent returns the least value above zero and the greatest.
func (c chart) extent() (least, most float64) {
	for _, l := range c.Lines {
		for _, p := range l.Points {
			if p.Gap || !finite(p.Y) {
				continue
			}
			if most = max(most, p.Y, p.High); p.Y > 0 && (least == 0 || p.Y < least) {
				least = p.Y
			}
		}
	}
	return least, most
}

// words describes the chart to who does not see it.
func (c chart) words() string {
	var b strings.Builder
	b.WriteString(c.Title)
	for i, l := range c.Lines {
		one := chart{Lines: []line{l}}
		least, most := one.extent()
		sep := "; "
		if i == 0 {
			sep = ": "
		}
		if most == 0 {
			fmt.Fprintf(&b, "%s%s none", sep, l.Name)
			continue
		}
		fmt.Fprintf(&b, "%s%s from %s to %s", sep, l.Name, c.YText(least), c.YText(most))
	}
	return b.String()
}

// stroke draws a line; a value that stands alone between gaps becomes a dot.
func (l line) stroke(x, y axis) stroke {
	s := stroke{Class: l.Class}
	var path, fill strings.Builder
	for _, run := range runs(l.Points) {
		if l.Steps {
			steps(&path, run, x, y)
			if l.Fill {
				fillSteps(&fill, run, x, y)
			}
			continue
		}
		for i, p := range run {
			fmt.Fprintf(&path, "%c%s %s", "ML"[min(i, 1)], place(x.place(p.centre())), place(y.place(p.Y)))
		}
		if len(run) == 1 || len(l.Points) <= 40 {
			for _, p := range run {
				s.Dots = append(s.Dots, dot{round(x.place(p.centre())), round(y.place(p.Y))})
			}
		}
	}
	s.Path, s.Fill = path.String(), fill.String()
	return s
}

// runs splits points at their gaps.
func runs(points []point) [][]point {
	var out [][]point
	open := false
	for _, p := range points {
		if p.Gap || !finite(p.Y) {
			open = false
			continue
		}
		if !open {
			out = append(out, nil)
		}
		open = true
		out[len(out)-1] = append(out[len(out)-1], p)
	}
	return out
}

func steps(b *strings.Builder, run []point, x, y axis) {
	for i, p := range run {
		fmt.Fprintf(b, "%c%s %sH%s", "ML"[min(i, 1)], place(x.place(p.From)), place(y.place(p.Y)), place(x.place(p.To)))
	}
}

// fillSteps shades between Low and High, or down to the axis where they are not set.
func fillSteps(b *strings.Builder, run []point, x, y axis) {
	for i, p := range run {
		fmt.Fprintf(b, "%c%s %sH%s", "ML"[min(i, 1)], place(x.place(p.From)), place(y.place(max(p.High, p.Y))), place(x.place(p.To)))
	}
	for i := len(run) - 1; i >= 0; i-- {
		p := run[i]
		low := p.Low
		if p.High == 0 {
			low = y.lo
		}
		fmt.Fprintf(b, "L%s %sH%s", place(x.place(p.To)), place(y.place(low)), place(x.place(p.From)))
	}
	b.WriteByte('Z')
}
