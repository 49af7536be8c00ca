package main

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gatehouse/admin"
	"gatehouse/routes"
)

// allowFlags are what to allow, and until when.
type allowFlags struct {
	scope, note, until, last string
	rules                    []string
	dryRun, anyPath          bool
}

func newWAFAllow(s *session) *cobra.Command {
	var flags allowFlags
	cmd := &cobra.Command{
		Use: "allow REQUEST-ID", Short: "Let a request that was refused by mistake pass from now on, and its like",
		Long: `Let a request that was refused by mistake pass from now on, and its like. The id
stands on the block page, in X-Request-Id, and in "gatehouse waf events".

What is added is the narrowest exclusion of the scope that lets the request pass:

  param   the rules that matched no longer look at what they matched, in requests
          with that method for that path (a cookie or header field, or with --any-path:
          for every path), in that vhost
  path    the rules that matched are off for that path, in that vhost
  vhost   they are off for that vhost
  tenant  they are off for all vhosts of its tenant

Before it is saved it is tried on all refused requests of the tenant of which this
node has an event: those that it would let through, too, are counted and listed.
It is live at once, on all nodes within a second, and "gatehouse waf undo" removes it.`,
		Example: "  gatehouse waf allow n1-0123456789abcdef --note \"icon file names\"\n" +
			"  gatehouse waf allow n1-0123456789abcdef --scope path --for 30d --dry-run",
		Args: cobra.ExactArgs(1), ValidArgsFunction: cobra.NoFileCompletions,
	}
	f := cmd.Flags()
	f.StringVar(&flags.scope, "scope", admin.ScopeParam, "`how far` it reaches: "+strings.Join(admin.Scopes, ", "))
	f.BoolVar(&flags.anyPath, "any-path", false, "with the scope param: on every path of the vhost, whatever the method")
	f.StringSliceVar(&flags.rules, "rule", nil, "only these `numbers` of the rules that matched (default: all that refused it)")
	f.StringVar(&flags.note, "note", "", "`why`, for whoever reads the document later")
	f.StringVar(&flags.until, "until", "", "the `day` at whose beginning, in UTC, it ends, such as 2027-01-31")
	f.StringVar(&flags.last, "for", "", "the `time` after which it ends, such as 30d, rounded up to a whole day")
	f.BoolVar(&flags.dryRun, "dry-run", false, "only say what would be added, and what it would let through")
	if err := cmd.RegisterFlagCompletionFunc("scope", cobra.FixedCompletions(admin.Scopes, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // the flag was added above
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		in, err := flags.request(args[0], time.Now())
		if err != nil {
			return err
		}
		var out admin.AllowResult
		if err := s.askLong(cmd, http.MethodPost, "/waf/allow", in, &out); err != nil {
			return err
		}
		if s.json() {
			return s.printJSON(out)
		}
		s.printAllowed(&out)
		return nil
	}
	return cmd
}

// request makes the request; a mistake is one of usage.
func (f *allowFlags) request(id string, now time.Time) (in admin.AllowRequest, err error) {
	in = admin.AllowRequest{ID: id, Scope: f.scope, Note: f.note, DryRun: f.dryRun, AnyPath: f.anyPath}
	switch {
	case f.anyPath && f.scope != admin.ScopeParam:
		return in, usagef("--any-path has no effect: it is for --scope %s", admin.ScopeParam)
	case !slices.Contains(admin.Scopes, f.scope):
		guess := ""
		if near := routes.Nearest(f.scope, admin.Scopes); near != "" {
			guess = fmt.Sprintf(" (did you mean %q?)", near)
		}
		return in, usagef("--scope %s: want one of %s%s", f.scope, strings.Join(admin.Scopes, ", "), guess)
	case f.until != "" && f.last != "":
		return in, usagef("--until and --for: want one of them")
	case f.until != "":
		if err := in.Until.UnmarshalText([]byte(f.until)); err != nil {
			return in, usagef("--until: %w", err)
		}
	case f.last != "":
		d, err := routes.ParseDuration(f.last)
		if err != nil {
			return in, usagef("--for: %w", err)
		}
		const day = 24 * time.Hour
		in.Until = routes.Date(now.UTC().Add(time.Duration(d) + day - 1).Truncate(day).Format(time.DateOnly))
	}
	for _, text := range f.rules {
		id, err := strconv.Atoi(text)
		if err != nil || id <= 0 {
			return in, usagef("--rule %s: want a rule's number, such as 942100", text)
		}
		in.Rules = append(in.Rules, id)
	}
	if end := in.Until.Time(); !end.IsZero() && !now.Before(end) {
		return in, usagef("it would end on %s, which is not to come", in.Until)
	}
	return in, nil
}

func (s *session) printAllowed(r *admin.AllowResult) {
	verb := "would be added to"
	if r.Saved {
		verb = "added to"
	}
	ids := make([]string, len(r.Exclusions))
	for i := range r.Exclusions {
		x := &r.Exclusions[i]
		ids[i] = x.ID
		fmt.Fprintf(s.Out, "%s %s %s: %s\n", x.ID, verb, r.Document, printable(exclusionLine(x)))
	}
	for _, note := range r.Notes {
		fmt.Fprintln(s.Out, "note: "+printable(note))
	}
	s.printReplay(&r.Replay, r)
	if !r.Saved {
		return
	}
	s.printActive(r.Applied, r.TookMS, r.Where)
	fmt.Fprintf(s.Out, "undo: gatehouse waf undo %s\n", strings.Join(ids, " "))
}

// printActive says since when a change acts.
func (s *session) printActive(applied bool, took float64, where string) {
	if where != "" {
		where = " (" + where + ")"
	}
	if applied {
		fmt.Fprintf(s.Out, "active on this node after %.0f ms%s\n", took, printable(where))
	} else {
		fmt.Fprintf(s.Out, "written, but not active yet: see \"gatehouse tenant list\" and the node's log%s\n", printable(where))
	}
}

func (s *session) printReplay(r *admin.Replay, of *admin.AllowResult) {
	whose := "tenant " + of.Event.Tenant
	if of.Event.Tenant == "" {
		whose = "vhost " + of.Event.Vhost
	}
	whose += " on node " + of.Node
	fmt.Fprintf(s.Out, "lets through this request, and %d of %d other refused requests of %s", r.LetThrough, r.Others, whose)
	if r.LetThrough > 0 {
		fmt.Fprintf(s.Out, ", from %s:\n", clients(r.Clients, 100))
	} else {
		fmt.Fprintln(s.Out)
	}
	for i := range r.Examples {
		x := &r.Examples[i]
		m, rule := worst(x.Rules, x.RefusedBy)
		fmt.Fprintf(s.Out, "  %s\n", printable(strings.Join([]string{
			stamp(x.Time), x.ID, dash(x.Client), x.Method, shorten(x.Path), rule, dash(m.Target), dash(shorten(m.Data)),
		}, "  ")))
	}
	if more := r.LetThrough - len(r.Examples); more > 0 {
		fmt.Fprintf(s.Out, "  and %d older ones\n", more)
	}
	if r.Blind > 0 {
		fmt.Fprintf(s.Out, "note: %d of all these, the request itself included, were refused by one rule before the others had looked: what those find is not known\n", r.Blind)
	}
	s.noteLost(0, r.Unreadable, r.Problem)
}

// exclusionLine says what an exclusion does, in one line.
func exclusionLine(x *routes.Exclusion) string {
	var what []string
	for _, r := range x.Rules {
		what = append(what, r.String())
	}
	what = append(what, x.Tags...)
	line := "rules " + strings.Join(what, ", ")
	if x.Target != "" {
		line += " at " + x.Target
	}
	if len(x.Methods) > 0 || len(x.Paths) > 0 {
		line += " in " + strings.TrimSpace(strings.Join(x.Methods, "|")+" "+or(strings.Join(x.Paths, " or "), "any path"))
	}
	if x.Until != "" {
		line += ", until " + string(x.Until)
	}
	if x.Note != "" {
		line += " (" + x.Note + ")"
	}
	return line
}

func newWAFUndo(s *session) *cobra.Command {
	var in admin.UndoRequest
	cmd := &cobra.Command{
		Use: "undo EXCLUSION-ID…", Short: "Remove exclusions from the document that they stand in",
		Long: `Remove exclusions from the document that they stand in, whoever added them. Their ids
are printed by "gatehouse waf allow" and "gatehouse waf rules --excluded".`,
		Example: "  gatehouse waf undo ex-0123456789",
		Args:    cobra.MinimumNArgs(1), ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().StringVarP(&in.Tenant, "tenant", "t", "", "only in the documents of this `tenant` and its vhosts")
	cmd.Flags().StringVar(&in.Vhost, "vhost", "", "only in that of the vhost with this `name`")
	for name, complete := range map[string]completer{"tenant": s.completeTenant, "vhost": s.completeVhost} {
		if err := cmd.RegisterFlagCompletionFunc(name, complete); err != nil {
			panic(err) // the flag was added above
		}
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		in.IDs = args
		var out admin.UndoResult
		if err := s.ask(cmd.Context(), http.MethodPost, "/waf/undo", in, &out); err != nil {
			return err
		}
		if s.json() {
			return s.printJSON(out)
		}
		for i := range out.Removed {
			x := &out.Removed[i]
			fmt.Fprintf(s.Out, "%s removed from %s: %s\n", x.ID, out.Document, printable(exclusionLine(x)))
		}
		s.printActive(out.Applied, out.TookMS, out.Where)
		return nil
	}
	return cmd
}
