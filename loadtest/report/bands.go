package report

import (
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// A band is a strip of a drawing with what a pointer over it is told.
type band struct {
	X, Width float64
	Centre   float64
	Text     string
}

// bandWidth is the least width of a band: what a pointer can aim at.
const bandWidth = 5

// bands cuts the plane into strips around the points. Where a strip holds several
// points of a line it tells the greatest.
func (c chart) bands(x axis, right float64) []band {
	starts := c.clusters(x)
	if len(starts) == 0 {
		return nil
	}
	strips := make([]strip, len(starts))
	for i := range strips {
		strips[i].best = make([]*point, len(c.Lines))
	}
	for n, l := range c.Lines {
		for i := range l.Points {
			if p := &l.Points[i]; l.tells(*p) {
				at := sort.SearchFloat64s(starts, x.place(p.centre())+1e-9) - 1
				strips[at].add(n, p)
			}
		}
	}
	out := make([]band, len(strips))
	edge := x.from
	for i, s := range strips {
		centre := x.place((s.from + s.to) / 2)
		next := right
		if i+1 < len(strips) {
			next = (centre + x.place((strips[i+1].from+strips[i+1].to)/2)) / 2
		}
		out[i] = band{X: round(edge), Width: round(max(0, next-edge)), Centre: round(centre), Text: c.tell(s)}
		edge = next
	}
	return out
}

func (l line) tells(p point) bool { return !l.Quiet && !p.Gap && finite(p.Y) }

// clusters returns where each strip's points begin, ascending.
func (c chart) clusters(x axis) []float64 {
	var all []float64
	for _, l := range c.Lines {
		for _, p := range l.Points {
			if l.tells(p) {
				all = append(all, x.place(p.centre()))
			}
		}
	}
	slices.Sort(all)
	var starts []float64
	for _, at := range all {
		if len(starts) == 0 || at-starts[len(starts)-1] >= bandWidth {
			starts = append(starts, at)
		}
	}
	return starts
}

// A strip is a band before it has words: the greatest point of each line.
type strip struct {
	from, to float64
	set      bool
	best     []*point
}

func (s *strip) add(n int, p *point) {
	if !s.set {
		s.from, s.to, s.set = p.From, p.To, true
	}
	s.from, s.to = min(s.from, p.From), max(s.to, p.To)
	if s.best[n] == nil || p.Y > s.best[n].Y {
		s.best[n] = p
	}
}

func (c chart) tell(s strip) string {
	words := []string{c.XText(s.from, s.to)}
	for n, p := range s.best {
		if p == nil {
			continue
		}
		text := p.Note
		if text == "" {
			text = c.YText(p.Y)
		}
		words = append(words, c.Lines[n].Name+"  "+text)
	}
	return strings.Join(words, "\n")
}

// place writes a coordinate: a tenth of a pixel is finer than any screen.
func place(v float64) string { return strconv.FormatFloat(round(v), 'f', -1, 64) }

func round(v float64) float64 { return math.Round(v*10) / 10 }
