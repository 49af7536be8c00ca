package admin

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"

	"gatehouse/routes"
)

// What VhostSummary.Status says; of several, the first in this order after ok.
const (
	StatusOK        = "ok"
	StatusBroken    = "broken"    // the present document is bad; the last good form serves, if there was one
	StatusConflict  = "conflict"  // some of its aliases belong to another vhost, or it is a path of a host that is not its tenant's
	StatusHeld      = "held"      // the source has lost it, and the last good form serves
	StatusSuspended = "suspended" // by its document, its tenant's, or that of its host: it is answered 503
	StatusWarning   = "warning"   // it is served, but not with what it names (certificate files, WAF exclusions, backends), or its document says what its author may not mean
)

// A VhostSummary is one line of the list of vhosts.
type VhostSummary struct {
	Name     string   `json:"name"`
	Aliases  []string `json:"aliases"`
	Tenant   string   `json:"tenant,omitempty"`
	Backends []string `json:"backends"`
	// Answer is what a vhost without backends answers by: "redirect to URL", or "respond STATUS".
	Answer string `json:"answer,omitempty"`
	WAF    string `json:"waf"`   // the mode in force, or "off (profile none)"
	Cache  bool   `json:"cache"` // in force
	Status string `json:"status"`
	Reason string `json:"reason,omitempty"` // why the status is not ok; of suspended it says all
	// Where is FILE:LINE or key of the document; in a list not of vhosts in Redis, which alone knows it.
	Where string `json:"where,omitempty"`
}

// VhostList is the answer of GET /vhosts, by name.
type VhostList struct {
	Vhosts []VhostSummary `json:"vhosts"`
}

// VhostDetail is all that is known of one vhost.
type VhostDetail struct {
	VhostSummary
	// Document is the last good form of what stands in the source; nil: there
	// was never one.
	Document *routes.Vhost `json:"document"`
	// Effective is what is in force: the document over its tenant's over the defaults.
	Effective []Effective     `json:"effective,omitempty"`
	Problems  routes.Problems `json:"problems,omitempty"`
	// Applied, after a change: requests are answered by it. False: it is
	// written and did not come back from the source within 2 s.
	Applied *bool `json:"applied,omitempty"`
	// Left, after a change, are its path vhosts that answer for no request any more.
	Left []string `json:"left,omitempty"`
	// Restored, after a change: the source had lost the document, and has it again as a whole.
	Restored bool `json:"restored,omitempty"`
}

func (a *API) listVhosts(w http.ResponseWriter, _ *http.Request) error {
	table := a.opts.Table()
	out := VhostList{Vhosts: make([]VhostSummary, 0, table.Len())}
	places := a.places()
	for route := range table.Vhosts() {
		out.Vhosts = append(out.Vhosts, a.summary(table, route, places(routes.Key{Kind: routes.KindVhost, Name: route.Name})))
	}
	slices.SortFunc(out.Vhosts, func(x, y VhostSummary) int { return cmp.Compare(x.Name, y.Name) })
	return writeJSON(w, http.StatusOK, out)
}

func (a *API) summary(table *routes.Table, route *routes.Route, where string) VhostSummary {
	s := VhostSummary{Name: route.Name, Aliases: []string{}, Backends: []string{}, Status: StatusOK, Where: where}
	if v := route.Vhost; v != nil {
		settings := route.Settings(a.opts.Defaults)
		s.Aliases = append(s.Aliases, v.Aliases...)
		s.Tenant, s.WAF, s.Cache = v.Tenant, modeInForce(&settings.WAF, len(settings.Rules) > 0), settings.Cache
		for _, b := range v.Backends {
			s.Backends = append(s.Backends, b.URL)
		}
		switch {
		case v.Redirect() != nil:
			s.Answer = "redirect to " + v.Redirect().To
		case v.Respond() != nil:
			s.Answer = "respond " + strconv.Itoa(cmp.Or(v.Respond().Status, http.StatusOK))
		}
	}
	if problems := route.Problems(); len(problems) > 0 {
		s.Status, s.Reason = StatusBroken, reasonOf(problems)
	} else if conflicts := table.Conflicts(route); len(conflicts) > 0 {
		s.Status, s.Reason = StatusConflict, conflicts[0].Reason
	} else if a.opts.Held(routes.Key{Kind: routes.KindVhost, Name: route.Name}) {
		s.Status, s.Reason = StatusHeld, heldReason
	} else if route.Vhost != nil && route.Vhost.IsSuspended() {
		s.Status = StatusSuspended
	} else if by := suspendedBy(table, route); by != "" {
		s.Status, s.Reason = StatusSuspended, "by "+by
	} else if warnings := a.warningsOf(route); len(warnings) > 0 {
		s.Status, s.Reason = StatusWarning, reasonOf(warnings)
	}
	return s
}

// reasonOf is the first problem and how many more there are.
func reasonOf(problems routes.Problems) string {
	if more := len(problems) - 1; more > 0 {
		return fmt.Sprintf("%s (and %d more)", problems[0].Error(), more)
	}
	return problems[0].Error()
}

// modeInForce is the WAF's mode, or why it inspects nothing.
func modeInForce(w *routes.WAF, ownRules bool) string {
	if w.Profile == "none" && !ownRules && w.Mode != routes.WAFOff {
		return "off (profile none)"
	}
	return w.Mode
}

// warningsOf returns what is wrong outside the document: with files that it names,
// with rules that its exclusions name, and beside its tenant's; and what the document may say by mistake.
func (a *API) warningsOf(route *routes.Route) routes.Problems {
	v := route.Vhost
	if v == nil {
		return nil
	}
	owner := v.Tenant
	if owner == "" {
		owner = route.Name
	}
	var out routes.Problems
	if p := route.FreeIDProblem(); p != nil {
		out = append(out, p)
	}
	if v.TLS != nil && v.TLS.Certificate != nil {
		if err := a.opts.CertificateProblem(route.Name); err != nil {
			out = append(out, &routes.Problem{Field: "tls.certificate", Reason: "not served: " + err.Error()})
		}
	}
	if v.TLS != nil && v.TLS.ClientAuth != nil {
		if err := a.opts.ClientAuthProblem(route.Name); err != nil {
			out = append(out, &routes.Problem{Field: "tls.client_auth.ca", Reason: err.Error()})
		}
	}
	for _, err := range a.opts.AddressProblems(route.Name) {
		out = append(out, &routes.Problem{Field: "addresses", Reason: err.Error()})
	}
	if v.Respond() != nil {
		if _, err := v.Respond().PageFor(owner, &a.files); err != nil {
			out = append(out, &routes.Problem{Field: "respond.file", Reason: "cannot be read: " + err.Error()})
		}
	}
	for i, b := range v.Backends {
		if field, err := BackendTLSProblem(owner, &a.files, b.TLS); err != nil {
			out = append(out, &routes.Problem{Field: fmt.Sprintf("backends[%d].tls.%s", i, field), Reason: "new connections fail: " + err.Error()})
		}
	}
	if p := a.opts.Backends.allDrained(v); p != nil {
		out = append(out, p)
	}
	if v.WAF != nil && v.WAF.Rules != "" {
		if texts := route.Settings(a.opts.Defaults).Rules; len(texts) == 2 {
			if err := a.opts.RulesProblem(texts[0], texts[1]); err != nil {
				out = append(out, &routes.Problem{Field: "waf.rules", Reason: err.Error()})
			}
		}
	}
	return slices.Concat(out, a.exclusionWarnings(v.WAF), a.opts.VhostProblems(route))
}

// exclusionWarnings returns what of a document's exclusions has no effect.
func (a *API) exclusionWarnings(w *routes.WAF) routes.Problems {
	if w == nil || len(w.Exclusions) == 0 {
		return nil
	}
	out := a.opts.ExclusionProblems(w.Exclusions)
	for _, p := range out {
		p.Field = "waf.exclusions" + p.Field
	}
	return out
}

func (a *API) where(ctx context.Context, key routes.Key) string {
	if a.opts.Store == nil {
		return ""
	}
	return a.opts.Store.Where(ctx, key)
}

// places is where for many documents; see routes.Store.
func (a *API) places() func(routes.Key) string {
	if a.opts.Store == nil {
		return func(routes.Key) string { return "" }
	}
	return a.opts.Store.Places()
}

func (a *API) vhostDetail(ctx context.Context, table *routes.Table, route *routes.Route) VhostDetail {
	key := routes.Key{Kind: routes.KindVhost, Name: route.Name}
	d := VhostDetail{VhostSummary: a.summary(table, route, a.where(ctx, key)), Document: route.Vhost}
	held := a.heldProblem(key)
	d.Problems = slices.Concat(route.Problems(), table.Conflicts(route), held, a.warningsOf(route))
	if route.Vhost != nil {
		d.Effective = effective(route, a.opts.Defaults, suspendedBy(table, route))
	}
	return d
}

func (a *API) showVhost(w http.ResponseWriter, r *http.Request) error {
	key, err := vhostKey(r)
	if err != nil {
		return err
	}
	table := a.opts.Table()
	route := table.Vhost(key.Name)
	if route == nil {
		return a.noVhost(table, key)
	}
	return writeJSON(w, http.StatusOK, a.vhostDetail(r.Context(), table, route))
}

// noVhost says that there is no such vhost and, where another one answers for
// the host, which.
func (a *API) noVhost(table *routes.Table, key routes.Key) error {
	reason := "there is no " + key.String()
	host, path := routes.SplitName(key.Name)
	if table.Vhost(key.Name) != nil { // for a moment, or it is held from now on
		reason = key.String() + " is gone from its source, and what it was is served: look at gatehouse vhost list in a moment"
	} else if other := table.Match(host); other != nil && path == "" {
		reason += "; vhost " + other.Name + " answers for that host"
	}
	return &apiError{http.StatusNotFound, reason, nil}
}

func (a *API) putVhost(w http.ResponseWriter, r *http.Request) error {
	key, err := vhostKey(r)
	if err != nil {
		return err
	}
	raw, err := readDocument(w, r)
	if err != nil {
		return err
	}
	where := a.placeOf(r.Context(), key) // the store is busy when it is needed
	return a.writeVhost(w, r, key, func(present routes.Change) ([]byte, error) {
		if (present.Vhost != nil || len(present.Problems) > 0) && r.Header.Get("If-None-Match") == "*" {
			return nil, exists(key, where)
		}
		return raw, nil
	})
}

func (a *API) patchVhost(w http.ResponseWriter, r *http.Request) error {
	key, err := vhostKey(r)
	if err != nil {
		return err
	}
	patch, err := readPatch(w, r)
	if err != nil {
		return err
	}
	return a.writeVhost(w, r, key, func(present routes.Change) ([]byte, error) {
		if present.Draft != "" {
			return patch.mend(key, &present, reflect.TypeFor[routes.Vhost]())
		}
		if err := a.presentVhost(key, &present); err != nil {
			return nil, err
		}
		return patch.applyOver(present.Base, present.Vhost)
	})
}

// presentVhost refuses to change a vhost that is not there, or bad.
func (a *API) presentVhost(key routes.Key, present *routes.Change) error {
	switch {
	case len(present.Problems) > 0:
		return broken(key, present.Problems)
	case present.Vhost == nil:
		if route := a.opts.Table().Vhost(key.Name); route != nil && len(route.Problems()) > 0 {
			return broken(key, route.Problems()) // its file cannot be read at all
		}
		return a.noVhost(a.opts.Table(), key)
	}
	return nil
}

// writeVhost stores what an edit makes, and answers with what is then in force.
func (a *API) writeVhost(w http.ResponseWriter, r *http.Request, key routes.Key, change edit) error {
	a.changing.Lock()
	defer a.changing.Unlock()
	var left []string
	held := a.opts.Held(key)
	doc, applied, err := a.store(r.Context(), key, func(present routes.Change) ([]byte, error) {
		raw, err := change(present)
		if err != nil {
			return nil, err
		}
		if next := routes.ParseJSON(key, "", raw); next.Vhost != nil {
			left = stranded(a.opts.Table(), key.Name, next.Vhost)
			err = mayStrand(r, key, left, "change")
		}
		return raw, err
	})
	if err != nil {
		return err
	}
	table := a.opts.Table()
	route := table.Vhost(key.Name)
	if route == nil || !applied { // show what was written
		route = &routes.Route{Name: key.Name, Vhost: doc.Vhost}
	}
	detail := a.vhostDetail(r.Context(), table, route)
	detail.Applied, detail.Left, detail.Restored = &applied, left, held
	return writeJSON(w, http.StatusOK, detail)
}

// taken refuses hosts that belong to another vhost: with them, one tenant's
// traffic would go to another.
func taken(table *routes.Table, v, was *routes.Vhost) error {
	if p := table.PathProblem(v); p != nil && p.Field == "tenant" { // a host that is not there yet may come
		return &apiError{http.StatusConflict, p.Error(), nil}
	}
	hosts := append([]string{v.Name}, v.Aliases...)
	for _, host := range hosts {
		owner := table.Match(host)
		if owner == nil || owner.Name == v.Name || was != nil && (host == was.Name || slices.Contains(was.Aliases, host)) {
			continue
		}
		if owner.Name == host || slices.Contains(owner.Vhost.Aliases, host) {
			return &apiError{http.StatusConflict, "host " + host + " belongs to vhost " + owner.Name + " already", nil}
		}
	}
	return nil
}

func (a *API) deleteVhost(w http.ResponseWriter, r *http.Request) error {
	key, err := vhostKey(r)
	if err != nil {
		return err
	}
	left := func() ([]string, error) {
		names := stranded(a.opts.Table(), key.Name, nil)
		return names, mayStrand(r, key, names, "remove")
	}
	return a.remove(w, r, key, left, func(t *routes.Table) bool { return t.Vhost(key.Name) == nil })
}

func vhostKey(r *http.Request) (routes.Key, error) {
	name, err := routes.CanonicalVhost(r.PathValue("name"))
	if err != nil {
		return routes.Key{}, &apiError{http.StatusBadRequest, "bad vhost name: " + err.Error(), nil}
	}
	return routes.Key{Kind: routes.KindVhost, Name: name}, nil
}
