package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"gatehouse/admin"
)

func newWAFCommand(s *session) *cobra.Command {
	cmd := &cobra.Command{Use: "waf", Short: "Try requests against the WAF, see what it found, and allow what it should not have refused"}
	s.addNodeFlags(cmd)
	return group(cmd, newWAFTest(s), newWAFEvents(s), newWAFReport(s), newWAFAllow(s), newWAFUndo(s), newWAFRules(s))
}

// printMatches prints an empty line, and the matches as a table.
func (s *session) printMatches(matches []admin.Match) error {
	fmt.Fprintln(s.Out)
	rows := make([][]string, 0, len(matches))
	for _, m := range matches {
		rows = append(rows, []string{
			strconv.Itoa(m.ID), "+" + strconv.Itoa(m.Score), dash(m.Severity), dash(m.Target), m.Message, dash(shorten(m.Data)),
		})
	}
	return s.printTable([]string{"RULE", "SCORE", "SEVERITY", "TARGET", "MESSAGE", "DATA"}, rows)
}

// shorten keeps a line of the table readable; -o json has everything.
func shorten(s string) string {
	const most = 120
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}
