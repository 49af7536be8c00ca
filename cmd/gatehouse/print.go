package main

import (
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/goccy/go-yaml"

	"gatehouse/routes"
)

func (s *session) printJSON(v any) error { return writeJSON(s.Out, v) }

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// printTable aligns rows under a heading; nil: none.
func (s *session) printTable(heading []string, rows [][]string) error {
	w := tabwriter.NewWriter(s.Out, 0, 8, 2, ' ', 0)
	if heading != nil {
		rows = append([][]string{heading}, rows...)
	}
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = printable(cell)
		}
		if _, err := fmt.Fprintln(w, strings.Join(cells, "\t")); err != nil {
			return err
		}
	}
	return w.Flush()
}

// printable escapes what could move the cursor or hide text: some cells hold what
// a client sent.
func printable(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return !strconv.IsPrint(r) }) < 0 {
		return s
	}
	quoted := strconv.Quote(s)
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}

// writeProblem prints a problem as compilers do, with the line and a caret.
func writeProblem(w io.Writer, prefix string, p *routes.Problem) {
	fmt.Fprintf(w, "%s%s\n", prefix, p.Error())
	if p.Excerpt != "" {
		for line := range strings.Lines(p.Excerpt) {
			fmt.Fprintf(w, "    %s\n", strings.TrimSuffix(line, "\n"))
		}
	}
}

// printDocument prints a document as a file of routes would hold it, with its
// place and what is wrong with it as comments. broken: it is the last good form of
// what stands in the place.
func (s *session) printDocument(section, name, where string, document any, problems routes.Problems, broken bool) error {
	if where != "" {
		fmt.Fprintf(s.Out, "# %s\n", printable(where))
	}
	for _, p := range problems {
		fmt.Fprintf(s.Out, "# problem: %s\n", printable(p.Error()))
	}
	if v := reflect.ValueOf(document); v.Kind() == reflect.Pointer && v.IsNil() {
		_, err := fmt.Fprintf(s.Out, "# there is no good form of %s\n", printable(name))
		return err
	}
	if broken {
		fmt.Fprintf(s.Out, "# what follows is in force, the last good form: it is not what stands there\n")
	}
	raw, err := yaml.MarshalWithOptions(map[string]any{section: map[string]any{name: document}}, yaml.IndentSequence(true))
	if err != nil {
		return fmt.Errorf("print %s: %w", name, err)
	}
	_, err = s.Out.Write(raw)
	return err
}

func dash(s string) string { return or(s, "-") }

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

// statusCell is the last cell of a list: what is wrong stands beside the status.
func statusCell(status, reason string) string {
	if reason == "" {
		return status
	}
	return status + ": " + reason
}
