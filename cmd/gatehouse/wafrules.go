package main

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"gatehouse/admin"
	"gatehouse/routes"
)

// rulesFlags say which rules are wanted.
type rulesFlags struct {
	tenant, tag    string
	excluded, seen bool
}

func newWAFRules(s *session) *cobra.Command {
	var flags rulesFlags
	cmd := &cobra.Command{
		Use: "rules [NUMBER|WORD]", Short: "List the rules: what they look for, for whom they are excluded, when they last matched",
		Long: `List the rules of the core rule set; with a word those whose message has it. With
the number of a rule: all that is known of it, and every exclusion of it; with the
first digits of numbers, such as 942: the rules that begin with them. Own rules, whose
numbers are below 100000, stand in waf.rules of their documents.
Long lists of paths and rules are cut; -o json has them whole.

EVENTS and LAST count the events that the node keeps, a week at most, of which those
that did not refuse are a sample. PL is the paranoia level from which on a rule acts.`,
		Example: "  gatehouse waf rules sql\n  gatehouse waf rules 942100\n  gatehouse waf rules --excluded -t shop",
		Args:    cobra.MaximumNArgs(1), ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().StringVarP(&flags.tenant, "tenant", "t", "", "exclusions and events of this `tenant` and its vhosts alone")
	cmd.Flags().StringVar(&flags.tag, "tag", "", "only rules with this `tag`, such as attack-sqli")
	cmd.Flags().BoolVar(&flags.excluded, "excluded", false, "only rules that are excluded for somebody, with the exclusions")
	cmd.Flags().BoolVar(&flags.seen, "matched", false, "only rules of which there are events")
	if err := cmd.RegisterFlagCompletionFunc("tenant", s.completeTenant); err != nil {
		panic(err) // the flag was added above
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		query, word, err := flags.query(args)
		if err != nil {
			return err
		}
		var list admin.RuleList
		if err := s.askLong(cmd, http.MethodGet, "/waf/rules"+query, nil, &list); err != nil {
			return err
		}
		s.noteUnknown(cmd, flags.tenant, "")
		single, all := strings.Contains(query, "rule="), len(list.Rules)
		if !single {
			if err := checkDigits(word, &list); err != nil {
				return err
			}
			list.Rules = slices.DeleteFunc(list.Rules, func(r admin.Rule) bool { return !flags.wants(&r, word) })
		}
		switch {
		case s.json():
			return s.printJSON(list)
		case single && len(list.Rules) == 1:
			return s.printRule(&list)
		case flags.excluded:
			return s.printExclusions(&list)
		}
		return s.printRules(&list, all)
	}
	return cmd
}

// checkDigits refuses first digits that no rule of the list has: own rules are looked for in vain here.
func checkDigits(word string, list *admin.RuleList) error {
	if !digits(word) || slices.ContainsFunc(list.Rules, func(r admin.Rule) bool { return strings.HasPrefix(strconv.Itoa(r.ID), word) }) {
		return nil
	}
	return fmt.Errorf("no rule of CRS %s has a number that begins with %s; own rules stand in waf.rules (gatehouse tenant show, gatehouse vhost show)", list.Version, word)
}

func digits(word string) bool {
	return word != "" && strings.Trim(word, "0123456789") == ""
}

// query makes the query string; a word that is no rule's number is looked for here.
func (f *rulesFlags) query(args []string) (query, word string, err error) {
	v := url.Values{}
	if f.tenant != "" {
		if err := routes.CheckTenantName(f.tenant); err != nil {
			return "", "", usagef("--tenant: %w", err)
		}
		v.Set("tenant", f.tenant)
	}
	if len(args) > 0 {
		if n, err := strconv.Atoi(args[0]); err == nil && n > 99_999 {
			v.Set("rule", args[0])
		} else {
			word = args[0]
		}
	}
	if len(v) == 0 {
		return "", word, nil
	}
	return "?" + v.Encode(), word, nil
}

func (f *rulesFlags) wants(r *admin.Rule, word string) bool {
	if f.excluded && len(r.Excluded) == 0 || f.seen && r.Events == 0 || f.tag != "" && !slices.Contains(r.Tags, f.tag) {
		return false
	}
	if word == "" {
		return r.Fixed == "" // bookkeeping is shown to who asks for it
	}
	if digits(word) {
		return strings.HasPrefix(strconv.Itoa(r.ID), word)
	}
	return strings.Contains(strings.ToLower(r.Message), strings.ToLower(word))
}

func (s *session) printRules(list *admin.RuleList, all int) error {
	rows := make([][]string, 0, len(list.Rules))
	for i := range list.Rules {
		r := &list.Rules[i]
		rows = append(rows, []string{
			strconv.Itoa(r.ID), paranoiaCell(r), dash(r.Severity), strconv.Itoa(r.Events), lastCell(r), documentsCell(r), r.Message,
		})
	}
	if err := s.printTable([]string{"RULE", "PL", "SEVERITY", "EVENTS", "LAST", "EXCLUDED FOR", "MESSAGE"}, rows); err != nil {
		return err
	}
	fmt.Fprintf(s.Out, "%d of %d rules of CRS %s; those that only keep its books are listed by their numbers alone\n", len(list.Rules), all, list.Version)
	s.noteRefused(list)
	s.noteLost(0, list.Unreadable, list.Problem)
	s.noteGate(&list.Gate)
	return nil
}

// noteRefused says why the folder's newer rules are not those of the list.
func (s *session) noteRefused(list *admin.RuleList) {
	if list.Refused != "" {
		fmt.Fprintf(s.Out, "note: the folder's newer rules are not in force, and a restart would fail: %s\n", printable(list.Refused))
	}
}

// noteGate says how many of the rules run on a request.
func (s *session) noteGate(g *admin.Gate) {
	switch {
	case g.Problem != "":
		fmt.Fprintln(s.Out, "warning: "+printable(g.Problem))
	case g.Active && !g.Made:
		fmt.Fprintln(s.Out, "gate: on; made at the first inspected request, until when all rules run")
	case g.Active:
		fmt.Fprintln(s.Out, "gate: on; of each request only those rules run that can match it")
	default:
		fmt.Fprintf(s.Out, "gate: %s; all rules run on each request\n", printable(g.Mode))
	}
}

func paranoiaCell(r *admin.Rule) string {
	if r.Paranoia == 0 {
		return "-"
	}
	return strconv.Itoa(r.Paranoia)
}

func lastCell(r *admin.Rule) string {
	if r.LastMatched == nil {
		return "-"
	}
	return stamp(*r.LastMatched)
}

// documentsCell names the documents that exclude a rule, three at most.
func documentsCell(r *admin.Rule) string {
	const most = 3
	var names []string
	for _, x := range r.Excluded {
		if !slices.Contains(names, x.Document) {
			names = append(names, x.Document)
		}
	}
	if len(names) > most {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", len(names)-most)
	}
	return dash(strings.Join(names, ", "))
}

// printRule prints all that is known of the only rule of a list.
func (s *session) printRule(list *admin.RuleList) error {
	r := &list.Rules[0]
	rows := [][]string{
		{"rule", strconv.Itoa(r.ID)},
		{"message", dash(r.Message)},
		{"severity", dash(r.Severity)},
		{"paranoia", paranoiaCell(r)},
		{"phase", strconv.Itoa(r.Phase)},
		{"tags", dash(strings.Join(r.Tags, ", "))},
		{"looks at", dash(strings.Join(r.Targets, ", "))},
		{"events", strconv.Itoa(r.Events)},
		{"last", lastCell(r)},
	}
	if r.Fixed != "" {
		rows = append(rows, []string{"excluded", "cannot be: " + r.Fixed})
	}
	if err := s.printTable(nil, rows); err != nil {
		return err
	}
	if len(r.Excluded) > 0 {
		fmt.Fprintln(s.Out)
		if err := s.printPlaced(r.Excluded); err != nil {
			return err
		}
	}
	s.noteRefused(list)
	s.noteLost(0, list.Unreadable, list.Problem)
	return nil
}

// printExclusions prints each exclusion once, whatever the number of its rules.
func (s *session) printExclusions(list *admin.RuleList) error {
	var placed []admin.PlacedExclusion
	for i := range list.Rules {
		for _, x := range list.Rules[i].Excluded {
			if !slices.ContainsFunc(placed, func(o admin.PlacedExclusion) bool {
				return o.Document == x.Document && o.Exclusion.ID == x.Exclusion.ID
			}) {
				placed = append(placed, x)
			}
		}
	}
	slices.SortStableFunc(placed, func(a, b admin.PlacedExclusion) int { return strings.Compare(a.Document, b.Document) })
	return s.printPlaced(placed)
}

func (s *session) printPlaced(placed []admin.PlacedExclusion) error {
	rows := make([][]string, 0, len(placed))
	for i := range placed {
		x := &placed[i].Exclusion
		until := dash(string(x.Until))
		if placed[i].Ended {
			until += " (ended)"
		}
		var rules []string
		for _, r := range x.Rules {
			rules = append(rules, r.String())
		}
		rows = append(rows, []string{
			placed[i].Document, x.ID, listCell(slices.Concat(rules, x.Tags)), or(cutCell(x.Target), "all"), or(listCell(x.Paths), "all"),
			or(strings.Join(x.Methods, ", "), "all"), until, dash(x.Note),
		})
	}
	return s.printTable([]string{"DOCUMENT", "EXCLUSION", "RULES", "TARGET", "PATHS", "METHODS", "UNTIL", "NOTE"}, rows)
}

// listCell is a list as a cell has room for it: whole up to two entries, the first and the number of the others.
func listCell(list []string) string {
	if len(list) <= 2 {
		return cutCell(strings.Join(list, ", "))
	}
	return cutCell(list[0]) + fmt.Sprintf(" +%d", len(list)-1)
}

// cutCell cuts what would push the other columns off the screen.
func cutCell(text string) string {
	const most = 48
	if r := []rune(text); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return text
}

// askLong sends one request for which the node may have to read its files of events.
func (s *session) askLong(cmd *cobra.Command, method, path string, in, out any) error {
	c, err := s.newClient(eventsTimeout)
	if err != nil {
		return err
	}
	return c.do(cmd.Context(), method, path, in, out)
}
