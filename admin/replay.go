package admin

import (
	"context"
	"slices"
	"strings"

	"gatehouse/routes"
)

// A Replay says what exclusions would have done to the kept requests that were refused, or
// would have been in the mode block.
type Replay struct {
	// Passes: the request itself is let through.
	Passes bool `json:"passes"`
	// Others are the other refused requests of the tenant, or of the vhost without one;
	// LetThrough of them, from Clients addresses, would pass too. 100 clients means
	// so many or more.
	Others     int `json:"others"`
	LetThrough int `json:"let_through"`
	Clients    int `json:"clients"`
	// Examples are the newest of those let through, ten at most.
	Examples []Event `json:"examples,omitempty"`
	// Blind counts, among those let through and the request itself, those that were refused by a rule
	// of its own before all others had looked: what those would find is not known.
	Blind int `json:"blind,omitempty"`
	EventsMissing
}

const (
	modeBlock        = "block" // of an event
	maxExamples      = 10
	maxReplayClients = 100
)

// replay compares exclusions, which would stand in the document key, with what was refused.
// own are the events of the request itself.
func (a *API) replay(ctx context.Context, key routes.Key, list []routes.Exclusion, own []Event) (Replay, error) {
	r := replaying{
		removes: a.opts.Ruleset.Replay(list), rules: a.knownRules(), others: map[string]*replayed{},
		concerns: func(e *Event) bool { return key.Kind == routes.KindTenant || e.Vhost == key.Name },
	}
	out := Replay{Passes: true}
	for i := range own {
		passes, blind := r.passing(&own[i])
		out.Passes = out.Passes && passes
		if blind {
			out.Blind++
		}
	}
	q := EventQuery{Tenant: own[0].Tenant}
	if q.Tenant == "" {
		q.Vhost = own[0].Vhost
	}
	missing, err := a.opts.EachEvent(ctx, q, func(e *Event) {
		if e.ID != own[0].ID && e.Verdict != VerdictPass {
			r.add(e)
		}
	})
	r.count(&out)
	out.EventsMissing = missing
	return out, err
}

// replaying is a replay under way. There may be hundreds of thousands of events: of most, it keeps
// little.
type replaying struct {
	removes  func(method, path string, m Match) bool
	rules    knownRules
	concerns func(e *Event) bool
	others   map[string]*replayed // by id: a request may have been refused, and its answer
	newest   []Event              // of those that pass so far
}

// A replayed request is one of which there are events.
type replayed struct {
	passes, blind bool
	client        string
}

func (r *replaying) add(e *Event) {
	o := r.others[e.ID]
	if o == nil {
		o = &replayed{passes: true, client: strings.Clone(e.Client)}
		r.others[strings.Clone(e.ID)] = o
	}
	passes, blind := r.passing(e)
	o.passes = o.passes && passes && r.concerns(e)
	o.blind = o.blind || blind
	if o.passes && !slices.ContainsFunc(r.newest, func(have Event) bool { return have.ID == e.ID }) {
		r.exemplify(e)
	}
}

// exemplify keeps the newest, and as many again, since the answer to one may still turn out to be
// refused.
func (r *replaying) exemplify(e *Event) {
	at, _ := slices.BinarySearchFunc(r.newest, e, func(have Event, e *Event) int { return e.Time.Compare(have.Time) })
	if at < 2*maxExamples {
		r.newest = slices.Insert(r.newest, at, *e)
		r.newest = r.newest[:min(len(r.newest), 2*maxExamples)]
	}
}

func (r *replaying) count(out *Replay) {
	clients := map[string]struct{}{}
	out.Others = len(r.others)
	for _, o := range r.others {
		if !o.passes {
			continue
		}
		out.LetThrough++
		if o.blind {
			out.Blind++
		}
		if len(clients) < maxReplayClients {
			clients[o.client] = struct{}{}
		}
	}
	out.Clients = len(clients)
	out.Examples = slices.DeleteFunc(r.newest, func(e Event) bool { return !r.others[e.ID].passes })
	out.Examples = out.Examples[:min(len(out.Examples), maxExamples)]
}

// passing reports whether what is left of an event without some matches would not refuse, and whether
// more might have matched: whatever refuses on its own ends the inspection in the mode block.
func (r *replaying) passing(e *Event) (passes, blind bool) {
	score, refused := e.Score, false
	for _, m := range e.Rules {
		if r.removes(e.Method, e.Path, m) {
			score -= m.Score
		} else {
			refused = refused || r.rules.refuses(e, m)
		}
	}
	return !refused && score < e.Threshold, e.Mode == modeBlock && e.RefusedBy != 0
}
