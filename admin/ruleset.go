package admin

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"gatehouse/routes"
)

// A Ruleset is what the API asks of the WAF's rules. Its methods must not block.
type Ruleset interface {
	// Version names the rule set: "4.25.0".
	Version() string
	// Gate returns how the gate before the rules stands.
	Gate() Gate
	// Rules returns all rules by id, with what the rules themselves say filled in.
	Rules() []Rule
	// Mean returns the ids of the rules that exclusions take something away from.
	Mean(list []routes.Exclusion) []int
	// PlainPath returns a path as the paths of exclusions are compared with it; not
	// plain: none fits it.
	PlainPath(path string) (decoded string, plain bool)
	// Preset returns the exclusions of "profile NAME" or "app NAME".
	Preset(name string) []routes.Exclusion
	// Replay returns what says whether a match would not have been with the exclusions.
	Replay(list []routes.Exclusion) func(method, path string, m Match) bool
}

// A Rule is one of the rule set, and how it stands.
type Rule struct {
	ID       int      `json:"id"`
	Message  string   `json:"message,omitempty"`
	Severity string   `json:"severity,omitempty"`
	Paranoia int      `json:"paranoia,omitempty"` // it acts from this level on; 0: on all
	Phase    int      `json:"phase"`
	Tags     []string `json:"tags,omitempty"`
	Targets  []string `json:"targets,omitempty"`
	// Refuses: it refuses on its own, whatever the score.
	Refuses bool `json:"refuses,omitempty"`
	// Fixed says why the rule cannot be excluded; empty: it can.
	Fixed string `json:"fixed,omitempty"`
	// Excluded are the exclusions that take something of it away.
	Excluded []PlacedExclusion `json:"excluded,omitempty"`
	// Events counts the kept events that it is in, the last of which is of LastMatched.
	Events      int        `json:"events"`
	LastMatched *time.Time `json:"last_matched,omitempty"`
}

// A Gate says how the gate before the rules stands, which leaves out those that cannot match a request.
type Gate struct {
	Mode   string `json:"mode"`             // as set: on, shadow or off
	Active bool   `json:"active"`           // it decides which rules run, once it is made; else all do
	Made   bool   `json:"made"`             // as it is at the first inspected request
	Missed int    `json:"missed,omitempty"` // the rule that it missed, for which it was switched off; 0: none
	// Problem says why it does not do what the mode asks for; empty: it does.
	Problem string `json:"problem,omitempty"`
}

// A PlacedExclusion is an exclusion and the document that it stands in.
type PlacedExclusion struct {
	Document  string           `json:"document"` // "tenant shop", "vhost www.shop.test", "defaults", "profile strong" or "app wordpress"
	Exclusion routes.Exclusion `json:"exclusion"`
	Ended     bool             `json:"ended,omitempty"` // its day has come
}

// RuleList is the answer of GET /waf/rules, by id.
type RuleList struct {
	Version string `json:"version"` // of the rule set
	Gate    Gate   `json:"gate"`
	Rules   []Rule `json:"rules"`
	// Refused says why the newer rules of the node's folder are not in force; empty: there are none.
	Refused string `json:"refused,omitempty"`
	EventsMissing
}

// EventsMissing says what of the kept events could not be looked at.
type EventsMissing struct {
	Unreadable int    `json:"unreadable,omitempty"` // lines that a crash or a full disk has torn
	Problem    string `json:"problem,omitempty"`    // why files cannot be read
}

// listRules answers with all rules, or one; with tenant, exclusions and events are that
// tenant's and its vhosts'.
func (a *API) listRules(w http.ResponseWriter, r *http.Request) error {
	if a.opts.Ruleset == nil {
		return noRuleset()
	}
	tenant, rule, err := ruleQuery(r.URL.Query())
	if err != nil {
		return &apiError{http.StatusBadRequest, err.Error(), nil}
	}
	out := RuleList{Version: a.opts.Ruleset.Version(), Gate: a.opts.Ruleset.Gate(), Rules: slices.Clone(a.opts.Ruleset.Rules())}
	if err := a.opts.RulesRefused(); err != nil {
		out.Refused = err.Error()
	}
	if rule != 0 {
		out.Rules = slices.DeleteFunc(out.Rules, func(r Rule) bool { return r.ID != rule })
		if len(out.Rules) == 0 {
			return &apiError{http.StatusNotFound, fmt.Sprintf("there is no rule %d in CRS %s", rule, out.Version), nil}
		}
	}
	at := make(map[int]*Rule, len(out.Rules))
	for i := range out.Rules {
		at[out.Rules[i].ID] = &out.Rules[i]
	}
	for _, placed := range a.placedExclusions(tenant) {
		for _, id := range a.opts.Ruleset.Mean([]routes.Exclusion{placed.Exclusion}) {
			if r := at[id]; r != nil {
				r.Excluded = append(r.Excluded, placed)
			}
		}
	}
	if out.EventsMissing, err = a.countEvents(r.Context(), EventQuery{Tenant: tenant, Rule: rule}, at); err != nil {
		return eventsFailed(r.Context(), err)
	}
	return writeJSON(w, http.StatusOK, out)
}

func noRuleset() error {
	return &apiError{http.StatusNotImplemented, "this node has no WAF", nil}
}

func ruleQuery(values url.Values) (tenant string, rule int, err error) {
	for name, all := range values {
		switch {
		case name != "tenant" && name != "rule":
			return "", 0, fmt.Errorf("unknown parameter %q: want tenant or rule", name)
		case len(all) != 1:
			return "", 0, fmt.Errorf("parameter %q: want one value", name)
		case name == "tenant":
			tenant, err = all[0], routes.CheckTenantName(all[0])
		default:
			if rule, err = strconv.Atoi(all[0]); err != nil || rule <= 0 {
				err = fmt.Errorf("bad rule %q: want a number, such as 942100", all[0])
			}
		}
		if err != nil {
			return "", 0, err
		}
	}
	return tenant, rule, nil
}

// countEvents fills in when each rule was last found.
func (a *API) countEvents(ctx context.Context, q EventQuery, at map[int]*Rule) (EventsMissing, error) {
	if a.opts.EachEvent == nil {
		return EventsMissing{}, nil
	}
	return a.opts.EachEvent(ctx, q, func(e *Event) {
		seen := 0
		for _, m := range e.Rules {
			r := at[m.ID]
			if r == nil || m.ID == seen { // several targets of a rule stand side by side
				continue
			}
			seen = m.ID
			r.Events++
			if r.LastMatched == nil || e.Time.After(*r.LastMatched) {
				r.LastMatched = &e.Time
			}
		}
	})
}

// placedExclusions returns those of a tenant and its vhosts, by document, and those of the profiles and
// apps that these name, once; of all with "".
func (a *API) placedExclusions(tenant string) (out []PlacedExclusion) {
	now := time.Now()
	named := map[string]bool{}
	place := func(document string, list []routes.Exclusion) {
		for _, x := range list {
			end := x.Until.Time()
			x.ID = x.Key()
			out = append(out, PlacedExclusion{Document: document, Exclusion: x, Ended: !end.IsZero() && !now.Before(end)})
		}
	}
	add := func(document string, w *routes.WAF) {
		if w == nil {
			return
		}
		place(document, w.Exclusions)
		named["profile "+w.Profile] = true
		for _, app := range w.Apps {
			named["app "+app] = true
		}
	}
	table := a.opts.Table()
	doc, _, _ := table.Tenant(tenant)
	if d := a.opts.Defaults; d != nil && doc == nil { // also for a tenant without a document
		add(documentDefaults, d.WAF)
	}
	for name := range table.Tenants() {
		if doc, _, _ := table.Tenant(name); doc != nil && (tenant == "" || tenant == name) {
			add(routes.Key{Kind: routes.KindTenant, Name: name}.String(), doc.WAF)
		}
	}
	for route := range table.Vhosts() {
		if v := route.Vhost; v != nil && (tenant == "" || tenant == v.Tenant) {
			add(routes.Key{Kind: routes.KindVhost, Name: route.Name}.String(), v.WAF)
		}
	}
	for name := range named {
		place(name, a.opts.Ruleset.Preset(name))
	}
	slices.SortStableFunc(out, func(x, y PlacedExclusion) int { return cmp.Compare(x.Document, y.Document) })
	return out
}

// documentDefaults names the defaults of the process settings.
const documentDefaults = "defaults"
