package report

import (
	"bytes"
	"fmt"
	"io"
	"strings"
)

// ComparisonMarkdown writes a comparison for a document: how it was measured, one
// table of all scenarios, one of the targets. Headings are left to the document. The
// error is w's.
func ComparisonMarkdown(w io.Writer, c *Comparison) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "Measured on %s, commit %s, with %s: %s.\n", c.Date.UTC().Format("2 January 2006"), codeSpan(plain(c.Commit, 60)),
		codeSpan(plain(c.Command, 400)), c.how())
	fmt.Fprintf(&b, "Machine: %s.\n", prose(c.Machine))
	if len(c.Peers) > 0 {
		var names []string
		for _, p := range c.Peers {
			names = append(names, strings.TrimSpace(prose(p.Name)+" "+prose(p.Version)))
		}
		fmt.Fprintf(&b, "Servers: %s.\n", strings.Join(names, ", "))
	}
	for i, f := range c.Method {
		if i == 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "- %s: %s\n", prose(f.Name), prose(f.Text))
	}
	b.WriteString("\n| scenario | server | CPU µs per request (user + sys) | requests/s | p50 | p99 | RSS MB | errors | ours by theirs (rounds) |\n")
	b.WriteString("|---|---|--:|--:|--:|--:|--:|--:|--:|\n")
	for _, s := range c.scenarios() {
		for i, p := range s.Peers {
			title := ""
			if i == 0 {
				title = prose(s.Title)
			}
			b.WriteString(markdownRow(title, p))
		}
	}
	c.markdownVerdicts(&b)
	for i, n := range c.Notes {
		if i == 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "- %s\n", prose(n))
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("write comparison: %w", err)
	}
	return nil
}

func (c *Comparison) markdownVerdicts(b *bytes.Buffer) {
	if !c.hasTargets() {
		return
	}
	fmt.Fprintf(b, "\n%s.\n\n| target | at most | measured (rounds) | verdict |\n|---|--:|--:|---|\n", c.tally())
	for _, v := range c.verdicts() {
		word := v.Word
		if v.State != "met" {
			word = "**" + word + "**"
		}
		if v.Why != "" {
			word += ": " + prose(v.Why)
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", prose(v.Text), v.Limit, spreadOf(v.Value, v.Spread), word)
	}
	for _, t := range c.LeftOut {
		fmt.Fprintf(b, "| %s |  | %s | left out, not judged |\n", prose(t.Text), none)
	}
}

func markdownRow(title string, p peerView) string {
	name := prose(p.Name)
	if p.Ours {
		name = "**" + name + "**"
	}
	cpu := p.CPU
	if cpu != none {
		cpu += " (" + p.User + " + " + p.Sys + ")"
	}
	cells := []string{title, name, cpu, p.Rate, p.P50, p.P99, p.RSS, p.Errors, spreadOf(p.Ratio, p.Spread())}
	return "| " + strings.Join(cells, " | ") + " |\n"
}

func spreadOf(value, spread string) string {
	if spread == "" {
		return value
	}
	return value + " (" + spread + ")"
}

// prose is text that means nothing to Markdown and stays on its line.
func prose(s string) string {
	var b strings.Builder
	for _, r := range plain(s, 1000) {
		if strings.ContainsRune("\\`*_{}[]<>|#&~!", r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// codeSpan quotes s with more backticks than it holds in a row (CommonMark, section 6.1).
func codeSpan(s string) string {
	if s == "" {
		return none
	}
	fence := "`"
	for strings.Contains(s, fence) {
		fence += "`"
	}
	if len(fence) > 1 {
		s = " " + s + " "
	}
	return fence + s + fence
}
