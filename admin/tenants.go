package admin

import (
	"cmp"
	"net/http"
	"reflect"
	"slices"

	"gatehouse/routes"
)

// A TenantSummary is one line of the list of tenants.
type TenantSummary struct {
	Name   string `json:"name"`
	Vhosts int    `json:"vhosts"` // how many name the tenant
	// HasDocument is false for a tenant that only vhosts name: the defaults apply.
	HasDocument bool   `json:"has_document"`
	WAF         string `json:"waf"` // the mode in force, where a vhost says nothing else
	Status      string `json:"status"`
	Reason      string `json:"reason,omitempty"`
	Where       string `json:"where,omitempty"`
}

// TenantList is the answer of GET /tenants, by name.
type TenantList struct {
	Tenants []TenantSummary `json:"tenants"`
}

// TenantDetail is all that is known of one tenant.
type TenantDetail struct {
	TenantSummary
	Document *routes.Tenant  `json:"document"`
	Problems routes.Problems `json:"problems,omitempty"`
	Applied  *bool           `json:"applied,omitempty"` // as in VhostDetail
	Restored bool            `json:"restored,omitempty"`
}

func (a *API) listTenants(w http.ResponseWriter, _ *http.Request) error {
	table := a.opts.Table()
	out := TenantList{Tenants: []TenantSummary{}}
	places := a.places()
	for name := range table.Tenants() {
		where := ""
		key := routes.Key{Kind: routes.KindTenant, Name: name}
		if doc, problems, _ := table.Tenant(name); (doc != nil || len(problems) > 0) && !a.opts.Held(key) { // else no document stands anywhere
			where = places(key)
		}
		detail, _ := a.tenantDetail(table, name, where)
		out.Tenants = append(out.Tenants, detail.TenantSummary)
	}
	slices.SortFunc(out.Tenants, func(x, y TenantSummary) int { return cmp.Compare(x.Name, y.Name) })
	return writeJSON(w, http.StatusOK, out)
}

func (a *API) tenantDetail(table *routes.Table, name, where string) (d TenantDetail, known bool) {
	doc, problems, known := table.Tenant(name)
	d.Document, d.Problems = doc, problems
	d.TenantSummary = TenantSummary{
		Name: name, Vhosts: table.Members(name), HasDocument: doc != nil, Status: StatusOK,
		Where: where,
	}
	base := cmp.Or(doc, a.opts.Defaults, &routes.Tenant{})
	inForce := base.WAF.Over(routes.DefaultWAF)
	d.WAF = modeInForce(inForce, inForce.Rules != "")
	if len(problems) > 0 {
		d.Status, d.Reason = StatusBroken, reasonOf(problems)
	}
	if held := a.heldProblem(routes.Key{Kind: routes.KindTenant, Name: name}); len(held) > 0 {
		d.Problems = slices.Concat(d.Problems, held)
		if d.Status == StatusOK {
			d.Status, d.Reason = StatusHeld, heldReason
		}
	}
	if doc == nil {
		return d, known
	}
	if warnings := a.exclusionWarnings(doc.WAF); len(warnings) > 0 {
		d.Problems = slices.Concat(d.Problems, warnings)
		if d.Status == StatusOK {
			d.Status, d.Reason = StatusWarning, reasonOf(warnings)
		}
	}
	if d.Status == StatusOK && doc.IsSuspended() {
		d.Status = StatusSuspended
	}
	return d, known
}

func (a *API) showTenant(w http.ResponseWriter, r *http.Request) error {
	key, err := tenantKey(r)
	if err != nil {
		return err
	}
	detail, known := a.tenantDetail(a.opts.Table(), key.Name, a.where(r.Context(), key))
	if !known {
		return &apiError{http.StatusNotFound, "there is no " + key.String(), nil}
	}
	return writeJSON(w, http.StatusOK, detail)
}

func (a *API) putTenant(w http.ResponseWriter, r *http.Request) error {
	key, err := tenantKey(r)
	if err != nil {
		return err
	}
	raw, err := readDocument(w, r)
	if err != nil {
		return err
	}
	where := a.placeOf(r.Context(), key) // the store is busy when it is needed
	return a.writeTenant(w, r, key, func(present routes.Change) ([]byte, error) {
		if present.Tenant != nil && r.Header.Get("If-None-Match") == "*" {
			return nil, exists(key, where)
		}
		return raw, nil
	})
}

// patchTenant also makes a tenant that has no document yet.
func (a *API) patchTenant(w http.ResponseWriter, r *http.Request) error {
	key, err := tenantKey(r)
	if err != nil {
		return err
	}
	patch, err := readPatch(w, r)
	if err != nil {
		return err
	}
	return a.writeTenant(w, r, key, func(present routes.Change) ([]byte, error) {
		if present.Draft != "" {
			return patch.mend(key, &present, reflect.TypeFor[routes.Tenant]())
		}
		if err := a.presentTenant(key, &present); err != nil {
			return nil, err
		}
		return patch.apply(cmp.Or(present.Tenant, &routes.Tenant{}))
	})
}

// presentTenant refuses to change a tenant's document that is bad.
func (a *API) presentTenant(key routes.Key, present *routes.Change) error {
	problems := present.Problems
	if present.Tenant == nil && len(problems) == 0 {
		_, problems, _ = a.opts.Table().Tenant(key.Name) // its file may not be readable at all
	}
	if len(problems) > 0 {
		return broken(key, problems)
	}
	return nil
}

// writeTenant stores what an edit makes, and answers with what is then in force.
func (a *API) writeTenant(w http.ResponseWriter, r *http.Request, key routes.Key, change edit) error {
	a.changing.Lock()
	defer a.changing.Unlock()
	held := a.opts.Held(key)
	doc, applied, err := a.store(r.Context(), key, change)
	if err != nil {
		return err
	}
	detail, _ := a.tenantDetail(a.opts.Table(), key.Name, a.where(r.Context(), key))
	if !applied {
		detail.Document = doc.Tenant // show what was written
	}
	detail.Applied, detail.Restored = &applied, held
	return writeJSON(w, http.StatusOK, detail)
}

// deleteTenant removes the document; vhosts that name the tenant then have the defaults.
func (a *API) deleteTenant(w http.ResponseWriter, r *http.Request) error {
	key, err := tenantKey(r)
	if err != nil {
		return err
	}
	return a.remove(w, r, key, func() ([]string, error) { return nil, nil }, func(t *routes.Table) bool {
		doc, problems, _ := t.Tenant(key.Name)
		return doc == nil && len(problems) == 0
	})
}

func tenantKey(r *http.Request) (routes.Key, error) {
	name := r.PathValue("name")
	if err := routes.CheckTenantName(name); err != nil {
		return routes.Key{}, &apiError{http.StatusBadRequest, err.Error(), nil}
	}
	return routes.Key{Kind: routes.KindTenant, Name: name}, nil
}
