package edge

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"gatehouse/edge/balance"
	"gatehouse/edge/health"
	"gatehouse/routes"
)

// SetDrains has the backends that the drains cover get no request from now on, and all others get some again. The slice must
// not be changed afterwards.
func (s *Server) SetDrains(drains []health.Drain) {
	b := &s.backends
	b.mu.Lock()
	defer b.mu.Unlock()
	b.drains = drains
	for key, state := range b.states {
		state.SetDrained(health.Find(drains, key.url, key.tenant()) != nil)
	}
}

// DrainedInFlight is how many requests are on their way to what a drain covers, upgraded connections among them.
func (s *Server) DrainedInFlight(d health.Drain) (n int64) {
	b := &s.backends
	b.mu.Lock()
	defer b.mu.Unlock()
	for key, state := range b.states {
		if d.Covers(key.url, key.tenant()) {
			n += state.InFlight()
		}
	}
	return n
}

// tenant is whose the backend is; empty: a vhost's without tenant.
func (k backendKey) tenant() string {
	tenant, is := strings.CutPrefix(k.owner, "tenant ")
	if !is {
		return ""
	}
	return tenant
}

// ownerOf is whose turns, connections and backends a vhost has.
func ownerOf(tenant, vhost string) string {
	if tenant == "" {
		return "vhost " + vhost
	}
	return "tenant " + tenant
}

// canonicalBackend is a backend's address as routes.Address writes it; of what is no address, the text.
func canonicalBackend(url string) string {
	a, err := routes.ParseAddress(url)
	if err != nil {
		return url
	}
	return a.String()
}

// A BackendStatus is how a backend of a tenant stands.
type BackendStatus struct {
	URL    string
	Tenant string   // empty: none
	Vhosts []string // that name it, sorted; nil: none does any more, and it is drained
	Drain  *health.Drain
	// Ejected is for how much longer it is passed over, and Why "unreachable" or "failing"; 0: it is not.
	Ejected time.Duration
	Why     string
	// Down is what active checks have found, of the first of the vhosts for which they did; nil: nothing.
	Down *health.Finding
	// Failures is how many there were in a row without an ejection.
	Failures int64
	InFlight int64
}

// Backends returns how the backends stand that are configured or drained, by URL, tenant and vhost. host limits them to those of
// the vhost of that name, url to one; empty: all.
func (s *Server) Backends(host, url string) []BackendStatus {
	rows := map[backendKey]*BackendStatus{}
	s.eachVhost(func(v *routes.Vhost) {
		if host != "" && v.Name != host {
			return
		}
		for _, configured := range v.Backends {
			key := backendKey{ownerOf(v.Tenant, v.Name), canonicalBackend(configured.URL)}
			if url != "" && key.url != url {
				continue
			}
			row := rows[key]
			if row == nil {
				row = &BackendStatus{URL: key.url, Tenant: v.Tenant}
				rows[key] = row
			}
			if !slices.Contains(row.Vhosts[max(0, len(row.Vhosts)-1):], v.Name) { // a URL that is there twice
				row.Vhosts = append(row.Vhosts, v.Name)
			}
			if t, ok := targetOf(v, &configured); ok && row.Down == nil {
				row.Down = s.checks.wrong(t)
			}
		}
	})
	out := s.standing(rows)
	if host == "" {
		out = append(out, s.orphans(rows, url)...)
	}
	slices.SortFunc(out, func(a, b BackendStatus) int {
		return cmp.Or(strings.Compare(a.URL, b.URL), strings.Compare(a.Tenant, b.Tenant), slices.Compare(a.Vhosts, b.Vhosts))
	})
	return out
}

// standing fills in what is known beside the configuration.
func (s *Server) standing(rows map[backendKey]*BackendStatus) []BackendStatus {
	b := &s.backends
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]BackendStatus, 0, len(rows))
	for key, row := range rows {
		slices.Sort(row.Vhosts)
		row.Drain = health.Find(b.drains, key.url, row.Tenant)
		if state := b.states[key]; state != nil { // else nobody has asked for it yet
			var why balance.Outcome
			row.Ejected, why = state.Ejected()
			row.Why, row.Failures, row.InFlight = ejectionReasons[why], state.Failures(), state.InFlight()
		}
		out = append(out, *row)
	}
	return out
}

// orphans are drains that cover nothing which is configured.
func (s *Server) orphans(rows map[backendKey]*BackendStatus, url string) (out []BackendStatus) {
	b := &s.backends
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.drains {
		d := &b.drains[i]
		covers := url != "" && d.URL != url
		for key := range rows {
			covers = covers || d.Covers(key.url, key.tenant())
		}
		if !covers {
			out = append(out, BackendStatus{URL: d.URL, Tenant: d.Tenant, Drain: d})
		}
	}
	return out
}

// eachVhost calls f with every vhost that has a good form.
func (s *Server) eachVhost(f func(*routes.Vhost)) {
	table := s.table.Load()
	if table == nil {
		return
	}
	for route := range table.Vhosts() {
		if route.Vhost != nil {
			f(route.Vhost)
		}
	}
}

// LeftBare returns the vhosts that would have no backend left with this drain beside those in force, and the others
// that would have none left that is well; each sorted.
func (s *Server) LeftBare(d health.Drain) (bare, unwell []string) {
	s.backends.mu.Lock()
	drains := append(slices.Clone(s.backends.drains), d)
	s.backends.mu.Unlock()
	s.eachVhost(func(v *routes.Vhost) {
		named, left, well := false, false, false
		for _, configured := range v.Backends {
			url := canonicalBackend(configured.URL)
			named = named || d.Covers(url, v.Tenant)
			if health.Find(drains, url, v.Tenant) == nil {
				left = true
				t, checked := targetOf(v, &configured)
				well = well || s.isWell(backendKey{ownerOf(v.Tenant, v.Name), url}) && !(checked && s.checks.wrong(t) != nil)
			}
		}
		switch {
		case !named || well:
		case left:
			unwell = append(unwell, v.Name)
		default:
			bare = append(bare, v.Name)
		}
	})
	slices.Sort(bare)
	slices.Sort(unwell)
	return bare, unwell
}

// isWell reports whether nothing is known that speaks against a backend.
func (s *Server) isWell(key backendKey) bool {
	s.backends.mu.Lock()
	defer s.backends.mu.Unlock()
	state := s.backends.states[key]
	if state == nil {
		return true
	}
	left, _ := state.Ejected()
	return left == 0
}

// IsBackend reports whether a vhost names the backend; with a tenant, one of his.
func (s *Server) IsBackend(url, tenant string) (is bool) {
	s.eachVhost(func(v *routes.Vhost) {
		is = is || (tenant == "" || v.Tenant == tenant) && slices.ContainsFunc(v.Backends, func(b routes.Backend) bool { return canonicalBackend(b.URL) == url })
	})
	return is
}
