package health

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// A Drain is an administrator's word that a backend gets no request from now on. What is under way ends as it would.
type Drain struct {
	// URL is the backend, as routes.Address writes it.
	URL string `json:"url"`
	// Tenant is whose; empty: of all that name it.
	Tenant string `json:"tenant,omitempty"`
	// By is who said so, as far as is known.
	By string `json:"by,omitempty"`
	// Since is when.
	Since time.Time `json:"since"`
}

// Key tells drains apart. It is what they are kept under in Redis.
func (d *Drain) Key() string {
	if d.Tenant == "" {
		return d.URL
	}
	return d.Tenant + " " + d.URL
}

// Covers reports whether a tenant's backend of that URL is drained by it.
func (d *Drain) Covers(url, tenant string) bool {
	return d.URL == url && (d.Tenant == "" || d.Tenant == tenant)
}

// Drained are drains by their keys, so that many cost no more to ask than few.
type Drained map[string]*Drain

// ByKey makes them of a list, which must not be changed afterwards.
func ByKey(drains []Drain) Drained {
	out := make(Drained, len(drains))
	for i := range drains {
		out[drains[i].Key()] = &drains[i]
	}
	return out
}

// Find returns the drain that covers a backend, first that of all who name it; nil: it is not drained.
func (m Drained) Find(url, tenant string) *Drain {
	if len(m) == 0 {
		return nil
	}
	if d := m[url]; d != nil || tenant == "" {
		return d
	}
	return m[(&Drain{URL: url, Tenant: tenant}).Key()]
}

// sorted returns drains by URL and tenant, each once.
func sorted(drains []Drain) []Drain {
	out := slices.Clone(drains)
	slices.SortStableFunc(out, func(a, b Drain) int {
		return cmp.Or(strings.Compare(a.URL, b.URL), strings.Compare(a.Tenant, b.Tenant))
	})
	return slices.CompactFunc(out, func(a, b Drain) bool { return a.Key() == b.Key() })
}
