package admin

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"gatehouse/routes"
)

// An AllowRequest asks to let a refused request, and its like, pass from now on.
type AllowRequest struct {
	// ID is that of the request, of which this node must have an event.
	ID string `json:"id"`
	// Scope is one of Scopes.
	Scope string `json:"scope"`
	// AnyPath leaves the path and method out of scope param.
	AnyPath bool `json:"any_path,omitempty"`
	// Rules are those to exclude, of those that refused the request. Empty: all of them.
	Rules []int `json:"rules,omitempty"`
	// Note is for people; Until is the day at whose beginning, in UTC, it ends.
	Note  string      `json:"note,omitempty"`
	Until routes.Date `json:"until,omitempty"`
	// DryRun: nothing is saved.
	DryRun bool `json:"dry_run,omitempty"`
}

// An AllowResult says what was excluded, and what that would have meant.
type AllowResult struct {
	Event      Event              `json:"event"`    // of the request
	Document   string             `json:"document"` // "vhost www.shop.test" or "tenant shop"
	Where      string             `json:"where,omitempty"`
	Exclusions []routes.Exclusion `json:"exclusions"`
	// Notes say where they are wider than was asked, and why.
	Notes  []string `json:"notes,omitempty"`
	Replay Replay   `json:"replay"`
	Node   string   `json:"node"` // whose events were replayed
	Saved  bool     `json:"saved"`
	// Applied is false if it was saved, but does not act on this node yet.
	Applied bool `json:"applied"`
	// TookMS is how long it took from saving to acting on this node, in milliseconds.
	TookMS float64 `json:"took_ms,omitempty"`
}

// An UndoRequest asks to remove exclusions.
type UndoRequest struct {
	IDs []string `json:"ids"`
	// Tenant and Vhost say in whose document, where more than one has the id.
	Tenant string `json:"tenant,omitempty"`
	Vhost  string `json:"vhost,omitempty"`
}

// An UndoResult says what was removed.
type UndoResult struct {
	Document string             `json:"document"`
	Where    string             `json:"where,omitempty"`
	Removed  []routes.Exclusion `json:"removed"`
	Applied  bool               `json:"applied"`
	TookMS   float64            `json:"took_ms,omitempty"`
}

func (a *API) allow(w http.ResponseWriter, r *http.Request) error {
	if a.opts.Ruleset == nil || a.opts.Events == nil || a.opts.EachEvent == nil {
		return noEvents()
	}
	var in AllowRequest
	if err := readJSON(w, r, maxDocument, &in); err != nil {
		return err
	}
	if in.ID == "" || !slices.Contains(Scopes, in.Scope) {
		return &apiError{http.StatusBadRequest, "want the id of a request, and a scope of " + strings.Join(Scopes, ", "), nil}
	}
	if end := in.Until.Time(); !end.IsZero() && !time.Now().Before(end) {
		return &apiError{http.StatusBadRequest, "until " + string(in.Until) + " is not to come: the exclusion would have ended", nil}
	}
	if in.AnyPath && in.Scope != ScopeParam {
		return &apiError{http.StatusBadRequest, "any_path is for the scope " + ScopeParam, nil}
	}
	events, err := a.refusedEvents(r.Context(), in.ID)
	if err != nil {
		return err
	}
	key, err := a.documentFor(in.Scope, &events[0])
	if err != nil {
		return err
	}
	proposed, err := a.propose(&in, events)
	if err != nil {
		return err
	}
	out := AllowResult{
		Event: events[0], Document: key.String(), Where: a.where(r.Context(), key), Exclusions: proposed.exclusions, Notes: proposed.notes,
		Node: a.opts.Node,
	}
	if out.Replay, err = a.replay(r.Context(), key, proposed.exclusions, events); err != nil {
		return eventsFailed(r.Context(), err)
	}
	if !out.Replay.Passes {
		return unprocessable("the request would still be refused without %s: %s", rulesNamed(in.Rules), leftOver(events))
	}
	if !in.DryRun {
		if err := a.saveAllowed(r.Context(), key, &out); err != nil {
			return err
		}
	}
	return writeJSON(w, http.StatusOK, out)
}

func rulesNamed(ids []int) string {
	if len(ids) == 0 {
		return "these rules"
	}
	return "the rules named"
}

func leftOver(events []Event) string {
	e := &events[0]
	if e.Cut {
		return "its event is cut, other rules matched that are not in it"
	}
	var all []Match
	for i := range events {
		all = append(all, events[i].Rules...)
	}
	return fmt.Sprintf("score %d of %d, rules %s", e.Score, e.Threshold, rulesOf(all))
}

// saveAllowed adds the exclusions that are not there yet.
func (a *API) saveAllowed(ctx context.Context, key routes.Key, out *AllowResult) error {
	begin := time.Now()
	applied, err := a.editExclusions(ctx, key, func(list []routes.Exclusion) ([]routes.Exclusion, error) {
		before := len(list)
		for _, x := range out.Exclusions {
			if !slices.ContainsFunc(list, func(have routes.Exclusion) bool { return have.Key() == x.Key() }) {
				list = append(list, x)
			}
		}
		if len(list) == before {
			return nil, &apiError{http.StatusConflict, fmt.Sprintf("%s has this exclusion already (%s): the request came before it, or its end has come",
				key, out.Exclusions[0].ID), nil}
		}
		return list, nil
	})
	if err != nil {
		return err
	}
	out.Saved, out.Applied, out.TookMS, out.Where = true, applied, milliseconds(begin), a.where(ctx, key)
	return nil
}

func milliseconds(since time.Time) float64 {
	return float64(time.Since(since).Microseconds()) / 1000
}

// refusedEvents returns those events of a request in which it was refused, or would have been.
func (a *API) refusedEvents(ctx context.Context, id string) ([]Event, error) {
	list, err := a.opts.Events(ctx, EventQuery{ID: id, Most: MaxEvents})
	if err != nil {
		return nil, eventsFailed(ctx, err)
	}
	if len(list.Events) == 0 {
		return nil, a.noEvent(id, &list)
	}
	refused := slices.DeleteFunc(slices.Clone(list.Events), func(e Event) bool { return e.Verdict == VerdictPass })
	if len(refused) == 0 {
		e := &list.Events[0]
		return nil, unprocessable("request %s was not refused: its score %d stays below %d", id, e.Score, e.Threshold)
	}
	// A trusted proxy may have given one id to requests of several vhosts: the newest counts.
	return slices.DeleteFunc(refused, func(e Event) bool { return e.Vhost != refused[0].Vhost || e.Path != refused[0].Path }), nil
}

// documentFor says where an exclusion of that scope belongs.
func (a *API) documentFor(scope string, e *Event) (routes.Key, error) {
	if scope != ScopeTenant {
		return routes.Key{Kind: routes.KindVhost, Name: e.Vhost}, nil
	}
	if e.Tenant == "" {
		return routes.Key{}, unprocessable("vhost %s has no tenant: use --scope vhost", e.Vhost)
	}
	return routes.Key{Kind: routes.KindTenant, Name: e.Tenant}, nil
}

func (a *API) undo(w http.ResponseWriter, r *http.Request) error {
	var in UndoRequest
	if err := readJSON(w, r, maxDocument, &in); err != nil {
		return err
	}
	if len(in.IDs) == 0 {
		return &apiError{http.StatusBadRequest, "want the ids of exclusions", nil}
	}
	key, err := a.holder(&in)
	if err != nil {
		return err
	}
	out := UndoResult{Document: key.String(), Where: a.where(r.Context(), key)}
	begin := time.Now()
	out.Applied, err = a.editExclusions(r.Context(), key, func(list []routes.Exclusion) ([]routes.Exclusion, error) {
		kept := list[:0:0]
		out.Removed = nil // this may be done again
		for _, x := range list {
			if slices.Contains(in.IDs, x.Key()) {
				x.ID = x.Key()
				out.Removed = append(out.Removed, x)
			} else {
				kept = append(kept, x)
			}
		}
		if len(out.Removed) == 0 {
			return nil, &apiError{http.StatusConflict, key.String() + " was changed meanwhile: try again", nil}
		}
		return kept, nil
	})
	if err != nil {
		return err
	}
	out.TookMS = milliseconds(begin)
	return writeJSON(w, http.StatusOK, out)
}

// holder finds the one document that has all the exclusions.
func (a *API) holder(in *UndoRequest) (routes.Key, error) {
	holders := map[string][]routes.Key{} // by id
	inDefaults := false
	table := a.opts.Table()
	note := func(key routes.Key, w *routes.WAF) {
		if w == nil {
			return
		}
		for i := range w.Exclusions {
			if id := w.Exclusions[i].Key(); slices.Contains(in.IDs, id) {
				holders[id] = append(holders[id], key)
			}
		}
	}
	for name := range table.Tenants() {
		if doc, _, _ := table.Tenant(name); doc != nil && in.Vhost == "" && (in.Tenant == "" || in.Tenant == name) {
			note(routes.Key{Kind: routes.KindTenant, Name: name}, doc.WAF)
		}
	}
	for route := range table.Vhosts() {
		if v := route.Vhost; v != nil && (in.Vhost == "" || in.Vhost == route.Name) && (in.Tenant == "" || in.Tenant == v.Tenant) {
			note(routes.Key{Kind: routes.KindVhost, Name: route.Name}, v.WAF)
		}
	}
	if d := a.opts.Defaults; d != nil && d.WAF != nil {
		inDefaults = slices.ContainsFunc(d.WAF.Exclusions, func(x routes.Exclusion) bool { return slices.Contains(in.IDs, x.Key()) })
	}
	first := holders[in.IDs[0]]
	for _, id := range in.IDs {
		switch keys := holders[id]; {
		case len(keys) == 0 && inDefaults:
			return routes.Key{}, &apiError{http.StatusConflict, "exclusion " + id + " stands in the process settings (defaults.waf): change it there", nil}
		case len(keys) == 0:
			return routes.Key{}, &apiError{http.StatusNotFound, "there is no exclusion " + id + a.presetOf(id), nil}
		case len(keys) > 1:
			names := make([]string, len(keys))
			for i, k := range keys {
				names[i] = k.String()
			}
			slices.Sort(names)
			return routes.Key{}, &apiError{http.StatusConflict, fmt.Sprintf("exclusion %s stands in several documents (%s): say which with --tenant or --vhost", id, strings.Join(names, ", ")), nil}
		case keys[0] != first[0]:
			return routes.Key{}, &apiError{http.StatusConflict, fmt.Sprintf("exclusion %s stands in %s, %s in %s: undo them one by one", in.IDs[0], first[0], id, keys[0]), nil}
		}
	}
	return first[0], nil
}

// presetOf says to which profile or app an exclusion belongs, of those that documents name.
func (a *API) presetOf(id string) string {
	if a.opts.Ruleset == nil {
		return ""
	}
	for _, placed := range a.placedExclusions("") {
		kind, _, _ := strings.Cut(placed.Document, " ")
		if placed.Exclusion.ID == id && (kind == "profile" || kind == "app") {
			return " in a document: it belongs to the " + placed.Document + ", which waf." + map[string]string{"profile": "profile", "app": "apps"}[kind] + " names"
		}
	}
	return ""
}

// editExclusions changes the list of exclusions of one document, and waits until it acts.
func (a *API) editExclusions(ctx context.Context, key routes.Key, change func([]routes.Exclusion) ([]routes.Exclusion, error)) (applied bool, err error) {
	a.changing.Lock()
	defer a.changing.Unlock()
	_, applied, err = a.store(ctx, key, func(present routes.Change) ([]byte, error) {
		doc, waf, err := a.presentDocument(key, &present)
		if err != nil {
			return nil, err
		}
		var list []routes.Exclusion
		if waf != nil {
			list = slices.Clone(waf.Exclusions)
		}
		if list, err = change(list); err != nil {
			return nil, err
		}
		patch := Patch{Set: map[string]any{"waf.exclusions": nil}}
		if len(list) > 0 {
			patch.Set["waf.exclusions"] = list
		}
		return patch.apply(doc)
	})
	return applied, err
}

// presentDocument returns a *routes.Tenant or *routes.Vhost, and its WAF settings. A tenant without a
// document has the defaults, which its first document replaces: it begins with them.
func (a *API) presentDocument(key routes.Key, present *routes.Change) (doc any, waf *routes.WAF, err error) {
	if key.Kind == routes.KindVhost {
		if err := a.presentVhost(key, present); err != nil {
			return nil, nil, err
		}
		return present.Vhost, present.Vhost.WAF, nil
	}
	if err := a.presentTenant(key, present); err != nil {
		return nil, nil, err
	}
	tenant := present.Tenant
	if tenant == nil {
		tenant = &routes.Tenant{}
		raw, err := json.Marshal(cmp.Or(a.opts.Defaults, tenant))
		if err == nil {
			err = json.Unmarshal(raw, tenant)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("copy the defaults: %w", err)
		}
	}
	return tenant, tenant.WAF, nil
}
