package admin

import (
	"context"
	"slices"

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
	removes := a.opts.Ruleset.Replay(list)
	concerns := func(e *Event) bool { return key.Kind == routes.KindTenant || e.Vhost == key.Name }
	out := Replay{Passes: true}
	for i := range own {
		passes, blind := a.passing(&own[i], removes)
		out.Passes = out.Passes && passes
		if blind {
			out.Blind++
		}
	}
	q := EventQuery{Tenant: own[0].Tenant}
	if q.Tenant == "" {
		q.Vhost = own[0].Vhost
	}
	others := map[string]*replayed{} // a request may have been refused, and its answer
	missing, err := a.opts.EachEvent(ctx, q, func(e *Event) {
		if e.ID == own[0].ID || e.Verdict == VerdictPass {
			return
		}
		r := others[e.ID]
		if r == nil {
			r = &replayed{passes: true}
			others[e.ID] = r
		}
		passes, blind := a.passing(e, removes)
		r.passes = r.passes && passes && concerns(e)
		r.blind = r.blind || blind
		if r.passes && r.event == nil {
			event := *e
			r.event = &event
		}
	})
	out.count(others)
	out.EventsMissing = missing
	return out, err
}

// A replayed request is one of which there are events.
type replayed struct {
	passes, blind bool
	event         *Event // the first one of those
}

func (r *Replay) count(others map[string]*replayed) {
	clients := map[string]struct{}{}
	r.Others = len(others)
	for _, o := range others {
		if !o.passes {
			continue
		}
		r.LetThrough++
		if o.blind {
			r.Blind++
		}
		if len(clients) < maxReplayClients {
			clients[o.event.Client] = struct{}{}
		}
		r.exemplify(o.event)
	}
	r.Clients = len(clients)
}

// exemplify keeps the newest.
func (r *Replay) exemplify(e *Event) {
	at, _ := slices.BinarySearchFunc(r.Examples, e, func(have Event, e *Event) int { return e.Time.Compare(have.Time) })
	if at < maxExamples {
		r.Examples = slices.Insert(r.Examples, at, *e)
		r.Examples = r.Examples[:min(len(r.Examples), maxExamples)]
	}
}

// passing reports whether what is left of an event without some matches would not refuse, and whether
// more might have matched: whatever refuses on its own ends the inspection in the mode block.
func (a *API) passing(e *Event, removes func(method, path string, m Match) bool) (passes, blind bool) {
	score, refused := e.Score, false
	for _, m := range e.Rules {
		if removes(e.Method, e.Path, m) {
			score -= m.Score
		} else {
			refused = refused || a.refuses(e, m)
		}
	}
	return !refused && score < e.Threshold, e.Mode == modeBlock && e.RefusedBy != 0
}
