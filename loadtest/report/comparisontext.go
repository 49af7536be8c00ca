package report

import (
	"bytes"
	"fmt"
	"io"
)

// ComparisonText writes a comparison for a terminal: a block for each scenario, then
// every target with its figure. The error is w's.
func ComparisonText(w io.Writer, c *Comparison) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s, commit %s\n%s\n%s\n", c.Date.UTC().Format("2006-01-02 15:04 UTC"), plain(c.Commit, 60), plain(c.Machine, 120), c.how())
	for _, p := range c.Peers {
		fmt.Fprintf(&b, "  %-18s %s\n", plain(p.Name, 30), plain(p.Version, 80))
	}
	for _, f := range c.Method {
		fmt.Fprintf(&b, "  %-18s %s\n", plain(f.Name, 30), plain(f.Text, 1000))
	}
	for _, s := range c.scenarios() {
		fmt.Fprintf(&b, "\n%s\n", s.Title)
		textRow(&b, "", "CPU µs", "user", "sys", "req/s", "p50", "p99", "RSS MB", "errors", "ours by theirs")
		for _, p := range s.Peers {
			textRow(&b, p.Name, p.CPU, p.User, p.Sys, p.Rate, p.P50, p.P99, p.RSS, p.Errors, spreadOf(p.Ratio, p.Spread()))
		}
	}
	c.textVerdicts(&b)
	if len(c.Notes) > 0 {
		b.WriteString("\n")
	}
	for _, n := range c.Notes {
		fmt.Fprintf(&b, "note: %s\n", plain(n, 1000))
	}
	if c.Command != "" {
		fmt.Fprintf(&b, "\nagain: %s\n", plain(c.Command, 400))
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("write comparison: %w", err)
	}
	return nil
}

func (c *Comparison) textVerdicts(b *bytes.Buffer) {
	if !c.hasTargets() {
		return
	}
	fmt.Fprintf(b, "\n%s\n", c.tally())
	for _, v := range c.verdicts() {
		word := v.Word
		if v.State == "missed" {
			word = "MISSED"
		}
		spread := v.Spread
		if spread != "" {
			spread = "(" + spread + ")"
		}
		text := v.Text
		if v.Why != "" {
			text += " – " + v.Why
		}
		fmt.Fprintf(b, "  %-13s %7s %-13s %-9s %s\n", word, v.Value, spread, v.Limit, text)
	}
	for _, t := range c.LeftOut {
		fmt.Fprintf(b, "  %-13s %7s %-13s %-9s %s\n", "left out", none, "", "", plain(t.Text, 120))
	}
}

// textRow writes a row of the table; the last cell is not padded.
func textRow(b *bytes.Buffer, name string, cells ...string) {
	fmt.Fprintf(b, "  %-18s", name)
	last := len(cells) - 1
	for _, c := range cells[:last] {
		fmt.Fprintf(b, " %9s", c)
	}
	if cells[last] != "" {
		b.WriteString("  " + cells[last])
	}
	b.WriteByte('\n')
}
