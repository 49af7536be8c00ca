package edge

import (
	"cmp"
	"iter"
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
	b, now := &s.backends, health.ByKey(drains)
	b.mu.Lock()
	defer b.mu.Unlock()
	before := b.drains
	b.drains = now
	// follow does what the drains of one side say that the other has not.
	follow := func(drains, other health.Drained) {
		for key, d := range drains {
			if other[key] != nil {
				continue
			}
			for state := b.byURL[d.URL]; state != nil; state = state.next {
				state.SetDrained(now.Find(d.URL, state.key.tenant()) != nil)
			}
		}
	}
	follow(before, now)
	follow(now, before)
}

// DrainedInFlight is how many requests are on their way to what a drain covers, upgraded connections among them. It is asked for often, and looks
// at nothing else: sites that are compiled wait for the lock.
func (s *Server) DrainedInFlight(d health.Drain) (n int64) {
	b := &s.backends
	b.mu.Lock()
	defer b.mu.Unlock()
	for state := b.byURL[d.URL]; state != nil; state = state.next {
		if d.Covers(d.URL, state.key.tenant()) {
			n += state.InFlight()
		}
	}
	return n
}

// drained returns the drains in force. They must not be changed.
func (b *backends) drained() health.Drained {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.drains
}

// known returns what is known of a backend; nil: nobody has asked for it yet.
func (b *backends) known(key backendKey) *balance.State {
	b.mu.Lock()
	defer b.mu.Unlock()
	if shared := b.states[key]; shared != nil {
		return shared.State
	}
	return nil
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

// keyOf is by what the state of a vhost's backend is held.
func keyOf(v *routes.Vhost, b *routes.Backend) backendKey {
	connect, firstByte := v.Timeouts().Resolved()
	return newBackendKey(ownerOf(v.Tenant, v.Name), canonicalBackend(b.URL), tlsKey(b.TLS), connect, firstByte)
}

// A BackendStatus is how a backend of a tenant stands.
type BackendStatus struct {
	URL    string
	Tenant string   // empty: none
	Vhosts []string // that name it, sorted; nil: none does any more, and it is drained
	Drain  *health.Drain
	// Ejected is for how much longer it is passed over, and Why "unreachable" or "failing"; 0: it is not. Where vhosts reach it by
	// different settings of TLS or in less time, that is of those for which it is the longest.
	Ejected time.Duration
	Why     string
	// Reason is what the last failure was, of those that Ejected or Failures tell of; empty: there was none.
	Reason string
	// Down is what active checks have found, of the first of the vhosts for which they did; nil: nothing.
	Down *health.Finding
	// Failures is how many there were in a row without an ejection.
	Failures int64
	// InFlight is how many requests are on their way to it, and Waiting how many have to wait, since it has as many as it may. Those of a drained one
	// that wait count as on their way.
	InFlight int64
	Waiting  int64
}

// Backends returns how the backends stand that are configured or drained, by URL, tenant and vhost. host limits them to those of
// the vhost of that name, url to one; empty: all.
func (s *Server) Backends(host, url string) []BackendStatus {
	rows := map[backendKey]*backendRow{}
	for route := range s.vhosts() {
		v := route.Vhost
		if host != "" && v.Name != host {
			continue
		}
		for _, configured := range v.Backends {
			key := keyOf(v, &configured)
			if url != "" && key.url != url {
				continue
			}
			row := rows[key.ofRow()]
			if row == nil {
				row = &backendRow{BackendStatus: BackendStatus{URL: key.url, Tenant: v.Tenant}}
				rows[key.ofRow()] = row
			}
			if !slices.Contains(row.keys, key) {
				row.keys = append(row.keys, key)
			}
			if !slices.Contains(row.Vhosts[max(0, len(row.Vhosts)-1):], v.Name) { // a URL that is there twice
				row.Vhosts = append(row.Vhosts, v.Name)
			}
			if p := (placesKey{key.owner, key.url, configured.Concurrency}); p.most > 0 && !slices.Contains(row.places, p) {
				row.places = append(row.places, p)
			}
			if t, ok := targetOf(v, &configured); ok && row.Down == nil {
				row.Down = s.checks.wrong(t)
			}
		}
	}
	drains := s.backends.drained()
	out := s.standing(rows, drains)
	if host == "" {
		out = append(out, orphans(rows, drains, url)...)
	}
	slices.SortFunc(out, func(a, b BackendStatus) int {
		return cmp.Or(strings.Compare(a.URL, b.URL), strings.Compare(a.Tenant, b.Tenant), slices.Compare(a.Vhosts, b.Vhosts))
	})
	return out
}

// A backendRow is what is listed of a backend of an owner, and by what its states are held: there is one for each settings of TLS, and for shorter timeouts.
type backendRow struct {
	BackendStatus
	keys []backendKey
	// places are those of vhosts that say how many may be there; each once.
	places []placesKey
}

// ofRow is the key of its row.
func (k backendKey) ofRow() backendKey { return backendKey{owner: k.owner, url: k.url} }

// standing fills in what is known beside the configuration. It asks for one backend at a time: sites that are compiled wait for the lock.
func (s *Server) standing(rows map[backendKey]*backendRow, drains health.Drained) []BackendStatus {
	out := make([]BackendStatus, 0, len(rows))
	for _, row := range rows {
		slices.Sort(row.Vhosts)
		row.Drain = drains.Find(row.URL, row.Tenant)
		for _, key := range row.keys {
			state := s.backends.known(key)
			if state == nil {
				continue
			}
			if left, why := state.Ejected(); left > row.Ejected {
				row.Ejected, row.Why, row.Reason = left, ejectionReasons[why], state.Reason()
			}
			if failures := state.Failures(); failures > row.Failures {
				row.Failures = failures
				if row.Ejected == 0 {
					row.Reason = state.Reason()
				}
			}
			row.InFlight += state.InFlight()
		}
		if row.Drain == nil {
			for _, key := range row.places {
				row.Waiting += s.places.waiting(key)
			}
			row.InFlight = max(row.InFlight-row.Waiting, 0) // one may have come there in between
		}
		out = append(out, row.BackendStatus)
	}
	return out
}

// orphans are drains that cover nothing which is configured.
func orphans(rows map[backendKey]*backendRow, drains health.Drained, url string) (out []BackendStatus) {
	named := map[string]bool{}
	for key := range rows {
		named[key.url] = true
	}
	for _, d := range drains {
		covers := named[d.URL]
		if d.Tenant != "" {
			covers = rows[backendKey{owner: ownerOf(d.Tenant, ""), url: d.URL}] != nil
		}
		if !covers && (url == "" || d.URL == url) {
			out = append(out, BackendStatus{URL: d.URL, Tenant: d.Tenant, Drain: d})
		}
	}
	return out
}

// vhosts yields the route of every vhost that has a good form and answers for requests: path vhosts in conflict do not.
func (s *Server) vhosts() iter.Seq[*routes.Route] {
	return func(yield func(*routes.Route) bool) {
		table := s.table.Load()
		if table == nil {
			return
		}
		for route := range table.Vhosts() {
			if route.Vhost != nil && table.PathProblem(route.Vhost) == nil && !yield(route) {
				return
			}
		}
	}
}

// LeftBare returns the vhosts that would have no backend left with this drain beside those in force, and the others
// that would have none left that is well; each sorted. Suspended ones, and paths of such hosts, need none.
func (s *Server) LeftBare(d health.Drain) (bare, unwell []string) {
	drains := s.backends.drained()
	for route := range s.vhosts() {
		v := route.Vhost
		if route.IsSuspended() || !names(v, d) {
			continue
		}
		left, well := false, false
		for _, configured := range v.Backends {
			key := keyOf(v, &configured)
			if !d.Covers(key.url, v.Tenant) && drains.Find(key.url, v.Tenant) == nil {
				left = true
				t, checked := targetOf(v, &configured)
				well = well || s.isWell(key) && !(checked && s.checks.wrong(t) != nil)
			}
		}
		switch {
		case well:
		case left:
			unwell = append(unwell, v.Name)
		default:
			bare = append(bare, v.Name)
		}
	}
	slices.Sort(bare)
	slices.Sort(unwell)
	return bare, unwell
}

// isWell reports whether nothing is known that speaks against a backend.
func (s *Server) isWell(key backendKey) bool {
	state := s.backends.known(key)
	if state == nil {
		return true
	}
	left, _ := state.Ejected()
	return left == 0
}

// IsDrained reports whether a tenant's backend, by its URL as a document has it, is drained.
func (s *Server) IsDrained(url, tenant string) bool {
	drains := s.backends.drained()
	return len(drains) > 0 && drains.Find(canonicalBackend(url), tenant) != nil
}

// IsBackend reports whether a vhost names the backend; with a tenant, one of his. A path vhost in conflict counts: its backends
// can be drained before it answers for requests.
func (s *Server) IsBackend(url, tenant string) bool {
	table := s.table.Load()
	if table == nil {
		return false
	}
	for route := range table.Vhosts() {
		if route.Vhost != nil && names(route.Vhost, health.Drain{URL: url, Tenant: tenant}) {
			return true
		}
	}
	return false
}

// names reports whether a vhost names what a drain covers.
func names(v *routes.Vhost, d health.Drain) bool {
	if d.Tenant != "" && d.Tenant != v.Tenant {
		return false
	}
	return slices.ContainsFunc(v.Backends, func(b routes.Backend) bool { return canonicalBackend(b.URL) == d.URL })
}
