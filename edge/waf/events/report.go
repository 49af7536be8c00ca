package events

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"time"
)

// The bounds of a report.
const (
	maxGroups       = 2000
	maxGroupClients = 100    // told apart in a group
	maxClients      = 10_000 // told apart in all
)

// Others stands for the path of the groups for which there was no room of their own.
const Others = "(other paths)"

// A Report says what rules find where.
type Report struct {
	Since    time.Time
	Events   int   // that are kept
	LeftOut  int64 // that were too many to be kept
	Verdicts map[string]int
	Clients  int     // distinct addresses; 10,000 means so many or more
	Groups   []Group // those with the most events first
	Missing
}

// A Group is what one rule found in one parameter of one page.
type Group struct {
	Rule    int
	Message string
	Vhost   string
	Path    string // or Others
	Target  string
	Events  int
	Refused int // of these: blocked, or would have been
	Clients int // distinct addresses; 100 means so many or more
	First   time.Time
	Last    time.Time
	Example string // the id of the newest such request
}

type groupKey struct {
	rule                int
	vhost, path, target string
}

type tally struct {
	Group
	clients map[netip.Addr]struct{}
}

// Report groups the events that match by rule, page and parameter. Its memory is
// bounded, however many paths and clients an attacker makes up.
func (l *Log) Report(ctx context.Context, q Query) (Report, error) {
	c := newCounting(l.oldest(&q, time.Now()))
	miss, err := l.Each(ctx, q, c.add)
	if err != nil {
		return Report{}, err
	}
	c.report.Missing = miss
	return c.result(), nil
}

// counting is a report that is being made.
type counting struct {
	report  Report
	groups  map[groupKey]*tally
	clients map[netip.Addr]struct{}
}

func newCounting(since time.Time) *counting {
	return &counting{
		report: Report{Since: since, Verdicts: map[string]int{}},
		groups: map[groupKey]*tally{}, clients: map[netip.Addr]struct{}{},
	}
}

func (c *counting) add(e *Event) {
	c.report.Events++
	c.report.LeftOut += e.LeftOut
	c.report.Verdicts[verdictOf(e)]++
	note(c.clients, e.Client, maxClients)
	for i := range e.Rules {
		r := &e.Rules[i]
		g := c.group(e, r)
		g.Events++
		if !e.merely() {
			g.Refused++
		}
		note(g.clients, e.Client, maxGroupClients)
		if g.First.IsZero() || e.Time.Before(g.First) {
			g.First = e.Time
		}
		if !e.Time.Before(g.Last) {
			g.Last, g.Example = e.Time, e.ID
		}
	}
}

// verdictOf keeps what a file may hold from becoming a label.
func verdictOf(e *Event) string {
	switch e.Verdict {
	case Block, Detect:
		return e.Verdict
	}
	return Pass
}

func note(clients map[netip.Addr]struct{}, client netip.Addr, most int) {
	if len(clients) < most {
		clients[client] = struct{}{}
	}
}

func (c *counting) group(e *Event, r *Rule) *tally {
	k := groupKey{r.ID, e.Vhost, e.Path, r.Target}
	g := c.groups[k]
	if g == nil && len(c.groups) >= maxGroups {
		k = groupKey{r.ID, "", Others, ""}
		g = c.groups[k]
	}
	if g == nil {
		g = &tally{
			Group:   Group{Rule: k.rule, Message: r.Message, Vhost: k.vhost, Path: k.path, Target: k.target},
			clients: map[netip.Addr]struct{}{},
		}
		c.groups[k] = g
	}
	return g
}

func (c *counting) result() Report {
	for _, g := range c.groups {
		g.Clients = len(g.clients)
		c.report.Groups = append(c.report.Groups, g.Group)
	}
	slices.SortFunc(c.report.Groups, func(a, b Group) int {
		return cmp.Or(cmp.Compare(b.Events, a.Events), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Vhost, b.Vhost),
			cmp.Compare(a.Path, b.Path), cmp.Compare(a.Target, b.Target))
	})
	c.report.Clients = len(c.clients)
	return c.report
}
