package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"gatehouse/routes"
)

// checkReport is what `gatehouse check -o json` prints.
type checkReport struct {
	OK       bool            `json:"ok"`
	Problems routes.Problems `json:"problems"`
	Warnings routes.Problems `json:"warnings,omitempty"` // served as told all the same
	Files    int             `json:"files"`
	Tenants  int             `json:"tenants"`
	Vhosts   int             `json:"vhosts"`
	// Note says what was not looked at.
	Note string `json:"note,omitempty"`
}

func newCheckCommand(s *session) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check [FILE…]",
		Short: "Check process settings and routes without serving",
		Long: `Check process settings and routes without serving.

Without arguments: gatehouse.yaml (or -c FILE), environment and flags as serve reads
them, and every file of the folder that "routes" names. With arguments: these files
or folders, which may hold routes or process settings.

Exit status: 0 all good, 1 something is wrong; every error is printed with its place.`,
		Example: "  gatehouse check\n  gatehouse check conf.d/shop.yaml\n  gatehouse check -o json",
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return []string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
		},
	}
	s.addConfigFlag(cmd)
	flags := addSettingFlags(cmd.Flags())
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		if len(args) > 0 && (len(flags.given) > 0 || s.config != "") {
			return usagef("either FILE arguments or -c and settings, not both")
		}
		c := newChecker()
		if len(args) > 0 {
			c.named(args)
		} else {
			s.checkAll(c, flags.given)
		}
		return s.printCheck(c.report())
	}
	return cmd
}

// checkAll checks what serve would read.
func (s *session) checkAll(c *checker, flags map[string]string) {
	cfg, err := s.loadConfig(flags)
	if problems, ok := errors.AsType[routes.Problems](err); ok {
		c.problems = append(c.problems, problems...)
	}
	if cfg == nil {
		c.files++
		return
	}
	if cfg.File != "" {
		c.read(cfg.File)
	}
	c.process(cfg)
	if dir, ok := cfg.RoutesDir(); ok {
		c.folder(dir)
	} else if strings.Contains(cfg.Routes, "://") {
		c.note = "the routes are in Redis: see gatehouse vhost list for what is wrong with them"
	}
}

func (s *session) printCheck(r checkReport) error {
	if s.json() {
		if err := s.printJSON(r); err != nil {
			return err
		}
	} else {
		for _, p := range r.Problems {
			writeProblem(s.Out, "", p)
		}
		for _, p := range r.Warnings {
			writeProblem(s.Out, "warning: ", p)
		}
		counts := strings.Join([]string{
			count(r.Files, "file"), count(r.Tenants, "tenant"), count(r.Vhosts, "vhost"),
		}, ", ")
		if r.OK {
			fmt.Fprintln(s.Out, "ok: "+counts)
		} else {
			fmt.Fprintf(s.Out, "%s in %s\n", count(len(r.Problems), "problem"), counts)
		}
		if r.Note != "" {
			fmt.Fprintln(s.Out, "note: "+r.Note)
		}
	}
	if !r.OK {
		return errFailed
	}
	return nil
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
