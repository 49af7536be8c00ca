package report

import (
	"fmt"
	"strings"
)

// Places of a bar chart, as wide as half a page.
const (
	barsWidth  = 484
	barsLeft   = 112
	barsRight  = 350 // the longest bar's end; its figure comes after it
	barsTop    = 26
	barsHeight = 27 // of a row
)

// A barChart shows what one scenario costs with each peer.
type barChart struct {
	Title, Scenario string
	Label           string // for who does not see it
	What            string // what the bars are
	Split           bool   // into user and sys
	Width, Height   float64
	Left, Top       float64
	Ratios          bool // at least one bar has one
	Rows            []bar
}

// A bar is a peer's, split into what is spent in the process and in the kernel.
type bar struct {
	Name, Value, Ratio string
	Ours, Less         bool // ours costs less than this one
	Y, Middle          float64
	First, Second      float64 // lengths
	SecondX            float64
	Low, High          float64 // places of the least and the greatest round
	ValueX             float64
	Tip                string
}

// barChart draws the CPU of a scenario, or what memory it takes if no CPU was measured.
func (s scenarioView) barChart() barChart {
	c := barChart{Title: s.Title, Scenario: s.Scenario, What: "CPU µs per request", Split: true, Width: barsWidth, Left: barsLeft, Top: barsTop}
	of := func(m Sample) float64 { return m.CPU }
	top := s.greatest(of)
	if top == 0 {
		of, c.What, c.Split = func(m Sample) float64 { return m.RSS }, "RSS in MB", false
		top = s.greatest(of)
	}
	words := []string{s.Title + ", " + c.What}
	for i, p := range s.Peers {
		b := newBar(p, s.row[i], of, top, c.Split)
		b.Y = barsTop + float64(i)*barsHeight
		b.Middle = b.Y + barsHeight/2.0
		c.Rows = append(c.Rows, b)
		c.Ratios = c.Ratios || b.Ratio != ""
		words = append(words, p.Name+" "+b.Value)
	}
	c.Height = barsTop + float64(len(c.Rows))*barsHeight + 2
	c.Label = strings.Join(words, "; ")
	return c
}

func (s scenarioView) greatest(of func(Sample) float64) float64 {
	top := 0.0
	for _, r := range s.row {
		top = max(top, of(r.Median))
		for _, m := range r.Samples {
			top = max(top, of(m))
		}
	}
	return top
}

func newBar(p peerView, r *Row, of func(Sample) float64, top float64, split bool) bar {
	x := axis{lo: 0, hi: top, from: barsLeft, to: barsRight}
	m := r.Median
	b := bar{Name: p.Name, Ours: p.Ours, Value: number(of(m)), Ratio: p.Ratio, Less: p.Less}
	if split {
		b.First = round(x.place(m.User) - barsLeft)
		b.SecondX = round(barsLeft + b.First)
		b.Second = round(x.place(m.User+m.Sys) - b.SecondX)
	} else {
		b.First = round(x.place(of(m)) - barsLeft)
	}
	end := barsLeft + b.First + b.Second
	least, greatest := spread(r.Samples, of)
	if greatest > 0 {
		b.Low, b.High = round(x.place(least)), round(x.place(greatest))
	}
	b.ValueX = round(max(end, b.High) + 8)
	b.Tip = fmt.Sprintf("%s\n%s", p.Name, b.Value)
	if split {
		b.Tip += fmt.Sprintf(" µs  =  %s user + %s sys", p.User, p.Sys)
	} else {
		b.Tip += " MB"
	}
	b.Tip += fmt.Sprintf("\nrounds  %s to %s", number(least), number(greatest))
	if p.Ratio != "" {
		b.Tip += "\nours by theirs  " + spreadOf(p.Ratio, p.Spread())
	}
	return b
}

// spread returns the least and the greatest of what was measured; zeros if nothing was.
func spread(samples []Sample, of func(Sample) float64) (least, greatest float64) {
	for _, s := range samples {
		v := of(s)
		if v <= 0 {
			continue
		}
		if least == 0 || v < least {
			least = v
		}
		greatest = max(greatest, v)
	}
	return least, greatest
}
