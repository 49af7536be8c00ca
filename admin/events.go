package admin

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"gatehouse/routes"
)

// Bounds of what is asked for at a time.
const (
	DefaultEvents = 50
	MaxEvents     = 1000
	DefaultGroups = 50
	MaxGroups     = 2000
)

// An EventQuery says which WAF events are wanted: those that meet all that is set.
type EventQuery struct {
	Tenant, Vhost string
	ID            string        // of a request
	Rule          int           // 0: any
	Since         time.Duration // before now; 0: all that are kept
	Most          int           // events or groups
}

// An Event is what the WAF found in one request, or in the answer to it.
type Event struct {
	Time      time.Time `json:"time"`
	ID        string    `json:"id"`
	Node      string    `json:"node"`
	Tenant    string    `json:"tenant,omitempty"`
	Vhost     string    `json:"vhost"`
	Client    string    `json:"client,omitempty"`
	Method    string    `json:"method"`
	Path      string    `json:"path"`
	Phase     string    `json:"phase"` // request or response
	Mode      string    `json:"mode"`  // detect or block
	Verdict   string    `json:"verdict"`
	Score     int       `json:"score"`
	Threshold int       `json:"threshold"`
	RefusedBy int       `json:"refused_by,omitempty"` // the rule that refused on its own, whatever the score
	Rules     []Match   `json:"rules"`
	// Cut: the path or the list of rules was longer than what is kept.
	Cut bool `json:"cut,omitempty"`
	// LeftOut is how many such events of the tenant before this one were too many to keep.
	LeftOut int64 `json:"left_out,omitempty"`
}

// EventList is the answer of GET /waf/events, the newest first.
type EventList struct {
	Events []Event `json:"events"`
	More   bool    `json:"more"` // there are older ones
	// Unreadable counts lines of the files that a crash or a full disk has torn.
	Unreadable int `json:"unreadable,omitempty"`
	// Problem says why files cannot be read, and events are missing; empty: they can.
	Problem string `json:"problem,omitempty"`
	// Elsewhere is the node that the asked id names, if that is another one.
	Elsewhere string `json:"-"`
}

// An EventReport is the answer of GET /waf/report.
type EventReport struct {
	Since    time.Time      `json:"since"`
	Events   int            `json:"events"`
	LeftOut  int64          `json:"left_out"`
	Verdicts map[string]int `json:"verdicts"`
	// Clients are distinct addresses; 10,000, and 100 in a group, mean so many or more.
	Clients    int          `json:"clients"`
	Groups     []EventGroup `json:"groups"` // those with the most events first
	More       bool         `json:"more"`   // there are groups with fewer
	Unreadable int          `json:"unreadable,omitempty"`
	Problem    string       `json:"problem,omitempty"`
}

// An EventGroup is what one rule found in one parameter of one page.
type EventGroup struct {
	Rule    int       `json:"rule"`
	Message string    `json:"message"`
	Vhost   string    `json:"vhost,omitempty"`
	Path    string    `json:"path"`
	Target  string    `json:"target,omitempty"`
	Events  int       `json:"events"`
	Refused int       `json:"refused"` // of these: blocked, or would have been
	Clients int       `json:"clients"`
	First   time.Time `json:"first"`
	Last    time.Time `json:"last"`
	Example string    `json:"example"` // a request id
}

func (a *API) listEvents(w http.ResponseWriter, r *http.Request) error {
	if a.opts.Events == nil {
		return noEvents()
	}
	q, err := eventQuery(r.URL.Query(), []string{"tenant", "vhost", "id", "rule", "since", "n"}, DefaultEvents, MaxEvents)
	if err != nil {
		return &apiError{http.StatusBadRequest, err.Error(), nil}
	}
	out, err := a.opts.Events(r.Context(), q)
	if err != nil {
		return eventsFailed(r.Context(), err)
	}
	if q.ID != "" && len(out.Events) == 0 {
		return a.noEvent(q.ID, &out)
	}
	if out.Events == nil {
		out.Events = []Event{}
	}
	return writeJSON(w, http.StatusOK, out)
}

// noEvent says where to look for a request that has no event here.
func (a *API) noEvent(id string, list *EventList) error {
	reason := fmt.Sprintf("this node has no WAF event of request %s: no rule matched it, or its event is no longer kept; if the edge refused it, see the error in its access log line", id)
	switch {
	case list.Elsewhere != "":
		reason = fmt.Sprintf("request %s was answered by node %s: ask there (this is %s)", id, list.Elsewhere, a.opts.Node)
	case list.Problem != "":
		reason = fmt.Sprintf("no WAF event of request %s in memory, and %s", id, list.Problem)
	}
	return &apiError{http.StatusNotFound, reason, nil}
}

func (a *API) reportEvents(w http.ResponseWriter, r *http.Request) error {
	if a.opts.Report == nil {
		return noEvents()
	}
	q, err := eventQuery(r.URL.Query(), []string{"tenant", "vhost", "rule", "since", "n"}, DefaultGroups, MaxGroups)
	if err != nil {
		return &apiError{http.StatusBadRequest, err.Error(), nil}
	}
	out, err := a.opts.Report(r.Context(), q)
	if err != nil {
		return eventsFailed(r.Context(), err)
	}
	if len(out.Groups) > q.Most {
		out.Groups, out.More = out.Groups[:q.Most], true
	}
	if out.Groups == nil {
		out.Groups = []EventGroup{}
	}
	return writeJSON(w, http.StatusOK, out)
}

func noEvents() error {
	return &apiError{http.StatusNotImplemented, "this node keeps no WAF events", nil}
}

func eventsFailed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return &apiError{http.StatusServiceUnavailable, "the client left", nil} // nobody reads it
	}
	return err
}

// eventQuery reads a query string, strictly.
func eventQuery(values url.Values, known []string, standard, most int) (EventQuery, error) {
	q := EventQuery{Most: standard}
	for name, all := range values {
		if !slices.Contains(known, name) {
			return q, fmt.Errorf("unknown parameter %q: want %v", name, known)
		}
		if len(all) != 1 || all[0] == "" {
			return q, fmt.Errorf("parameter %q: want one value", name)
		}
		if err := q.set(name, all[0], most); err != nil {
			return q, err
		}
	}
	return q, nil
}

func (q *EventQuery) set(name, value string, most int) (err error) {
	switch name {
	case "tenant":
		q.Tenant = value
		err = routes.CheckTenantName(value)
	case "vhost":
		q.Vhost = strings.ToLower(value)
	case "id":
		q.ID = value
	case "rule":
		if q.Rule, err = strconv.Atoi(value); err != nil || q.Rule <= 0 {
			return fmt.Errorf("bad rule %q: want a number, such as 942100", value)
		}
	case "since":
		var d routes.Duration
		d, err = routes.ParseDuration(value)
		q.Since = time.Duration(d)
	case "n":
		if q.Most, err = strconv.Atoi(value); err != nil || q.Most < 1 || q.Most > most {
			return fmt.Errorf("bad number n %q: want 1 to %d", value, most)
		}
	}
	return err
}
