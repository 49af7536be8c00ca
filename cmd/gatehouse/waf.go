package main

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/spf13/cobra"

	"gatehouse/admin"
)

func newWAFCommand(s *session) *cobra.Command {
	cmd := &cobra.Command{Use: "waf", Short: "Try requests against the WAF, see what it found, and allow what it should not have refused"}
	s.addNodeFlags(cmd)
	return group(cmd, newWAFTest(s), newWAFEvents(s), newWAFReport(s), newWAFAllow(s), newWAFUndo(s), newWAFRules(s))
}

func newWAFTest(s *session) *cobra.Command {
	var sample sampleRequest
	var offline bool
	cmd := &cobra.Command{
		Use: "test URL", Short: "Say what the WAF would do with a request, and why",
		Long: `Say what the WAF would do with a request, and why. The request is written as for
curl; it is judged with the rules of the vhost that its host selects and goes nowhere.

Exit status: 0 it would pass (also in the mode detect), 1 it would be blocked or it
could not be tried, 2 wrong usage.`,
		Example: "  gatehouse waf test \"https://www.shop.test/search?q=' OR 1=1--\"\n" +
			"  gatehouse waf test -X POST -d 'comment=<script>alert(1)</script>' https://www.shop.test/post\n" +
			"  gatehouse waf test --offline -c gatehouse.yaml https://www.shop.test/.git/config",
		Args: cobra.ExactArgs(1), ValidArgsFunction: cobra.NoFileCompletions,
	}
	sample.addFlags(cmd)
	cmd.Flags().BoolVar(&offline, "offline", false, "without a node: with the routes and rules that the process settings name")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		in, err := sample.build(args[0], s.In)
		if err != nil {
			return err
		}
		out, err := s.inspect(cmd, offline, in)
		if err != nil {
			return err
		}
		if s.json() {
			err = s.printJSON(out)
		} else {
			err = s.printInspect(out)
		}
		if err == nil && out.Verdict == admin.VerdictBlock {
			return errFailed
		}
		return err
	}
	return cmd
}

func (s *session) inspect(cmd *cobra.Command, offline bool, in admin.InspectRequest) (out admin.InspectResult, err error) {
	if !offline {
		err = s.ask(cmd.Context(), http.MethodPost, "/waf/test", in, &out)
		return out, err
	}
	cfg, err := s.loadConfig(nil)
	if err != nil {
		s.printProblems(err)
		return out, errFailed
	}
	if offlineInspect == nil {
		return out, errors.New("this binary was built without a WAF")
	}
	return offlineInspect(cmd.Context(), cfg, in)
}

func (s *session) printInspect(r admin.InspectResult) error {
	err := s.printTable(nil, [][]string{
		{"vhost", r.Vhost},
		{"tenant", cmp.Or(r.Tenant, "-")},
		{"mode", r.Mode + ", paranoia " + strconv.Itoa(r.Paranoia)},
		{"score", fmt.Sprintf("%d of %d", r.Score, r.Threshold)},
	})
	if err != nil {
		return err
	}
	if len(r.Matches) > 0 {
		if err := s.printMatches(r.Matches); err != nil {
			return err
		}
		fmt.Fprintln(s.Out)
	}
	if r.Cut {
		fmt.Fprintln(s.Out, "note: the body is longer than inspect_body; the rest was not looked at")
	}
	_, err = fmt.Fprintln(s.Out, verdictLine(r))
	return err
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

func verdictLine(r admin.InspectResult) string {
	switch r.Verdict {
	case admin.VerdictBlock:
		return fmt.Sprintf("block: the client would get %d", cmp.Or(r.Status, http.StatusForbidden))
	case admin.VerdictDetect:
		return "detect: it would be blocked if the mode were block; now it passes and is logged"
	}
	if r.Mode == "off" {
		return "pass: the WAF is off for this vhost"
	}
	return "pass"
}

// shorten keeps a line of the table readable; -o json has everything.
func shorten(s string) string {
	const most = 120
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}
