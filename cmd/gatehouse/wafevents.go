package main

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gatehouse/admin"
	"gatehouse/routes"
)

// eventsTimeout is how long a node may read its files of events: a GiB of them.
const eventsTimeout = 2 * time.Minute

// eventFlags are the flags that say which WAF events are wanted.
type eventFlags struct {
	tenant, vhost, since, id string
	rule, most               int
}

func (f *eventFlags) add(s *session, cmd *cobra.Command, what string, most int) {
	cmd.Flags().StringVarP(&f.tenant, "tenant", "t", "", "only those of this `tenant`")
	cmd.Flags().StringVar(&f.vhost, "vhost", "", "only those of the vhost with this `name`")
	cmd.Flags().StringVar(&f.since, "since", "", "only those of this `time` before now, such as 1h or 2d (default: all that are kept)")
	cmd.Flags().IntVar(&f.rule, "rule", 0, "only those in which the rule with this `number` matched, such as 942100")
	cmd.Flags().IntVarP(&f.most, "number", "n", most, "most "+what+" to print")
	for name, complete := range map[string]completer{"tenant": s.completeTenant, "vhost": s.completeVhost} {
		if err := cmd.RegisterFlagCompletionFunc(name, complete); err != nil {
			panic(err) // the flag was added above
		}
	}
}

// query makes the query string; a mistake is one of usage.
func (f *eventFlags) query(most int) (string, error) {
	v := url.Values{}
	for name, value := range map[string]string{"tenant": f.tenant, "vhost": f.vhost, "since": f.since, "id": f.id} {
		if value != "" {
			v.Set(name, value)
		}
	}
	if f.tenant != "" {
		if err := routes.CheckTenantName(f.tenant); err != nil {
			return "", usagef("--tenant: %w", err)
		}
	}
	if f.since != "" {
		if _, err := routes.ParseDuration(f.since); err != nil {
			return "", usagef("--since: %w", err)
		}
	}
	if f.rule < 0 {
		return "", usagef("--rule %d: want a rule's number, such as 942100", f.rule)
	}
	if f.rule > 0 {
		v.Set("rule", strconv.Itoa(f.rule))
	}
	if f.most < 1 || f.most > most {
		return "", usagef("-n %d: want 1 to %d", f.most, most)
	}
	v.Set("n", strconv.Itoa(f.most))
	return "?" + v.Encode(), nil
}

func newWAFEvents(s *session) *cobra.Command {
	var flags eventFlags
	cmd := &cobra.Command{
		Use: "events", Short: "List what the WAF blocked, would have blocked, or matched",
		Long: `List what the WAF of one node blocked, would have blocked in the mode block, or
matched (a sample of the latter), the newest first: for a week at most.

A row shows the match that scored most, and how many others there are (+2). With
--id, one request is shown with all that matched: its id stands on the block page and
in X-Request-Id, and begins with the name of the node to ask.`,
		Example: "  gatehouse waf events -t shop --since 1h\n" +
			"  gatehouse waf events --id n1-0123456789abcdef\n" +
			"  gatehouse waf events --rule 942100 -n 1000 -o json",
		Args: cobra.NoArgs,
	}
	flags.add(s, cmd, "events", admin.DefaultEvents)
	cmd.Flags().StringVar(&flags.id, "id", "", "only those of the request with this `id`")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		query, err := flags.query(admin.MaxEvents)
		if err != nil {
			return err
		}
		var list admin.EventList
		if err := s.askLong(cmd, http.MethodGet, "/waf/events"+query, nil, &list); err != nil {
			return err
		}
		s.noteUnknown(cmd, flags.tenant, flags.vhost)
		switch {
		case s.json():
			return s.printJSON(list)
		case flags.id != "":
			return s.printEventDetails(&list)
		}
		return s.printEvents(&list, flags.most)
	}
	return cmd
}

// noteUnknown says on stderr that there is no such tenant or vhost, which may be a typing mistake: one
// that was removed can still have events.
func (s *session) noteUnknown(cmd *cobra.Command, tenant, vhost string) {
	if tenant != "" {
		var list admin.TenantList
		if s.ask(cmd.Context(), http.MethodGet, "/tenants", nil, &list) == nil {
			names := make([]string, len(list.Tenants))
			for i := range list.Tenants {
				names[i] = list.Tenants[i].Name
			}
			s.noteNoSuch("tenant", tenant, names)
		}
	}
	if vhost != "" {
		var list admin.VhostList
		if s.ask(cmd.Context(), http.MethodGet, "/vhosts", nil, &list) == nil {
			names := make([]string, len(list.Vhosts))
			for i := range list.Vhosts {
				names[i] = list.Vhosts[i].Name
			}
			s.noteNoSuch("vhost", strings.ToLower(vhost), names)
		}
	}
}

func (s *session) noteNoSuch(kind, name string, names []string) {
	if slices.Contains(names, name) {
		return
	}
	guess := ""
	if near := routes.Nearest(name, names); near != "" {
		guess = fmt.Sprintf(" (did you mean %q?)", near)
	}
	fmt.Fprintf(s.Err, "note: there is no %s %s%s\n", kind, printable(name), guess)
}

func (s *session) printEvents(list *admin.EventList, most int) error {
	rows := make([][]string, 0, len(list.Events))
	var leftOut int64
	for i := range list.Events {
		e := &list.Events[i]
		m, rule := worst(e.Rules, e.RefusedBy)
		rows = append(rows, []string{
			stamp(e.Time), e.ID, dash(e.Tenant), e.Vhost, e.Verdict, score(e), rule, dash(m.Target), dash(shorten(m.Data)),
		})
		leftOut += e.LeftOut
	}
	if err := s.printTable([]string{"TIME", "ID", "TENANT", "VHOST", "VERDICT", "SCORE", "RULE", "TARGET", "DATA"}, rows); err != nil {
		return err
	}
	if list.More {
		fmt.Fprintf(s.Out, "note: there are older ones; -n prints more than %d\n", most)
	}
	s.noteLost(leftOut, list.Unreadable, list.Problem)
	return nil
}

// noteLost says what the answer does not have.
func (s *session) noteLost(leftOut int64, unreadable int, problem string) {
	if leftOut > 0 {
		fmt.Fprintf(s.Out, "note: %d more came with these, too many in one second to be kept\n", leftOut)
	}
	if unreadable > 0 {
		fmt.Fprintf(s.Out, "note: %d lines of the files could not be read: a crash or a full disk has torn them\n", unreadable)
	}
	if problem != "" {
		fmt.Fprintln(s.Out, "note: "+printable(problem))
	}
}

// worst returns the match that refused on its own, else the one that scored most, and its
// rule with the number of the others.
func worst(matches []admin.Match, by int) (m admin.Match, rule string) {
	if len(matches) == 0 {
		return m, "-"
	}
	m = matches[0]
	for _, other := range matches[1:] {
		if m.ID != by && (other.Score > m.Score || other.ID == by) {
			m = other
		}
	}
	rule = strconv.Itoa(m.ID)
	if more := len(matches) - 1; more > 0 {
		rule += fmt.Sprintf(" +%d", more)
	}
	return m, rule
}

// score says what refused a request, or would have.
func score(e *admin.Event) string {
	if e.RefusedBy != 0 {
		return "rule " + strconv.Itoa(e.RefusedBy)
	}
	return fmt.Sprintf("%d of %d", e.Score, e.Threshold)
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// printEventDetails prints all that is known of each event.
func (s *session) printEventDetails(list *admin.EventList) error {
	for i := range list.Events {
		e := &list.Events[i]
		if i > 0 {
			fmt.Fprintln(s.Out)
		}
		err := s.printTable(nil, [][]string{
			{"id", e.ID},
			{"time", stamp(e.Time)},
			{"node", e.Node},
			{"tenant", dash(e.Tenant)},
			{"vhost", e.Vhost},
			{"client", dash(e.Client)},
			{"request", e.Method + " " + e.Path},
			{"verdict", fmt.Sprintf("%s (%s, mode %s)", e.Verdict, e.Phase, e.Mode)},
			{"score", score(e)},
		})
		if err == nil {
			err = s.printMatches(e.Rules)
		}
		if err != nil {
			return err
		}
		if e.Cut {
			fmt.Fprintln(s.Out, "note: the path or the list of rules was longer than what is kept")
		}
	}
	s.noteLost(0, list.Unreadable, list.Problem)
	return nil
}

func newWAFReport(s *session) *cobra.Command {
	var flags eventFlags
	cmd := &cobra.Command{
		Use: "report -t TENANT", Short: "Say which rules find what where: by rule, page and parameter",
		Long: `Group the WAF events of one node by rule, page and parameter, with the number of
distinct clients. Many clients on one parameter are a false positive more often than
an attack: look at it before a site goes from detect to block.

REFUSED are those of the events that were blocked, or would have been in the mode block.`,
		Example: "  gatehouse waf report -t shop --since 7d\n  gatehouse waf report -t shop --rule 942100 -o json",
		Args:    cobra.NoArgs,
	}
	flags.add(s, cmd, "rows", admin.DefaultGroups)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if flags.tenant == "" && flags.vhost == "" {
			return usagef("say whose: -t TENANT, or --vhost NAME for a vhost without tenant")
		}
		query, err := flags.query(admin.MaxGroups)
		if err != nil {
			return err
		}
		var r admin.EventReport
		if err := s.askLong(cmd, http.MethodGet, "/waf/report"+query, nil, &r); err != nil {
			return err
		}
		s.noteUnknown(cmd, flags.tenant, flags.vhost)
		if s.json() {
			return s.printJSON(r)
		}
		return s.printReport(&r, flags.most)
	}
	return cmd
}

func (s *session) printReport(r *admin.EventReport, most int) error {
	fmt.Fprintf(s.Out, "since %s: %s of %s (%d blocked, %d would have been, %d only matched)\n\n", stamp(r.Since), plural(r.Events, "event"),
		clients(r.Clients, 10_000), r.Verdicts[admin.VerdictBlock], r.Verdicts[admin.VerdictDetect], r.Verdicts[admin.VerdictPass])
	rows := make([][]string, 0, len(r.Groups))
	for i := range r.Groups {
		g := &r.Groups[i]
		rows = append(rows, []string{
			strconv.Itoa(g.Rule), strconv.Itoa(g.Events), strconv.Itoa(g.Refused), orMore(g.Clients, 100),
			dash(g.Vhost), shorten(g.Path), dash(g.Target), stamp(g.Last), g.Example, g.Message,
		})
	}
	if err := s.printTable([]string{"RULE", "EVENTS", "REFUSED", "CLIENTS", "VHOST", "PATH", "TARGET", "LAST", "EXAMPLE", "MESSAGE"}, rows); err != nil {
		return err
	}
	if r.More {
		fmt.Fprintf(s.Out, "note: there are more; -n prints more than %d\n", most)
	}
	s.noteLost(r.LeftOut, r.Unreadable, r.Problem)
	return nil
}

// clients counts addresses as far as they are counted.
func clients(n, most int) string {
	if n == 1 {
		return "1 client"
	}
	return orMore(n, most) + " clients"
}

// orMore writes a number that was not counted beyond most.
func orMore(n, most int) string {
	if n >= most {
		return strconv.Itoa(n) + "+"
	}
	return strconv.Itoa(n)
}
