package report

import (
	"fmt"

	"gatehouse/loadtest"
)

// A comparedTable sets the numbers of several runs beside each other.
type comparedTable struct {
	Runs []key
	Rows []comparedRow
}

type comparedRow struct {
	Label string
	Cells []comparedCell
}

// A comparedCell is a number, and how much more or less it is than the first run's.
type comparedCell struct{ Value, Change string }

func compared(named []Named) *comparedTable {
	t := &comparedTable{}
	for i, c := range named {
		t.Runs = append(t.Runs, key{plain(c.Name, 40), fmt.Sprintf("c%d", i%8+1)})
	}
	rows := []struct {
		label string
		of    func(*loadtest.Result) float64
		text  func(float64) string
	}{
		{"rate", func(r *loadtest.Result) float64 { return r.Rate }, perSecond},
		{noun(named[0].Result), func(r *loadtest.Result) float64 { return float64(r.Requests) }, whole},
		{"errors", func(r *loadtest.Result) float64 { return float64(failures(r)) }, whole},
		{"mean", func(r *loadtest.Result) float64 { return r.Latency.Mean }, measured},
		{"p50", func(r *loadtest.Result) float64 { return r.Latency.P50 }, measured},
		{"p90", func(r *loadtest.Result) float64 { return r.Latency.P90 }, measured},
		{"p95", func(r *loadtest.Result) float64 { return r.Latency.P95 }, measured},
		{"p99", func(r *loadtest.Result) float64 { return r.Latency.P99 }, measured},
		{"p99.9", func(r *loadtest.Result) float64 { return r.Latency.P999 }, measured},
		{"max", func(r *loadtest.Result) float64 { return r.Latency.Max }, measured},
		{"handshake, median", func(r *loadtest.Result) float64 { return r.Connections.MedianUS }, measured},
	}
	for _, row := range rows {
		out := comparedRow{Label: row.label}
		first := row.of(named[0].Result)
		for i, n := range named {
			v := row.of(n.Result)
			cell := comparedCell{Value: row.text(v)}
			if i > 0 {
				cell.Change = change(first, v)
			}
			out.Cells = append(out.Cells, cell)
		}
		t.Rows = append(t.Rows, out)
	}
	return t
}

func whole(v float64) string { return count(int64(v)) }

// change says how much more or less v is than first; nothing if first is zero.
func change(first, v float64) string {
	if first == 0 || !finite(first) || !finite(v) {
		return ""
	}
	percent := 100 * (v - first) / first
	switch {
	case percent > -0.05 && percent < 0.05:
		return "±0 %"
	case percent >= 100:
		return fmt.Sprintf("+%s %%", count(int64(percent)))
	case percent > 0:
		return fmt.Sprintf("+%.1f %%", percent)
	default:
		return fmt.Sprintf("−%.1f %%", -percent)
	}
}
