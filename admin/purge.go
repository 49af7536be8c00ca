package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"gatehouse/routes"
)

// Bounds of how long a purge waits for the nodes' answers.
const (
	DefaultPurgeWait = 5 * time.Second
	MaxPurgeWait     = time.Minute
)

// A PurgeRequest says what the cache must not serve any more: one of URL, Prefix, Host, Tenant and All, or a Tag
// of what a Host or a Tenant has.
type PurgeRequest struct {
	// URL is absolute. Its query counts as the vhost's settings say; the scheme does not.
	URL string `json:"url,omitempty"`
	// Prefix is an absolute URL without query: all that begin so are purged.
	Prefix string `json:"prefix,omitempty"`
	Tag    string `json:"tag,omitempty"`
	// Host is that of requests, or with a Tag one that the vhost answers for; or the name of a vhost with a wildcard. Its path
	// vhosts are purged, too. Or the name of a path vhost, for that one alone.
	Host   string `json:"host,omitempty"`
	Tenant string `json:"tenant,omitempty"`
	All    bool   `json:"all,omitempty"`
	// Soft has what is stored be stale in the place of unusable.
	Soft bool `json:"soft,omitempty"`
	// Wait is how long the answers of nodes are waited for, MaxPurgeWait at most; 0: not at all. Absent: DefaultPurgeWait.
	Wait *routes.Duration `json:"wait,omitempty"`
	// By is who wants it, for the log.
	By string `json:"by,omitempty"`
}

// A PurgeResult is the answer of POST /cache/purge.
type PurgeResult struct {
	Purged string `json:"purged"` // in words
	Soft   bool   `json:"soft,omitempty"`
	// ID is that of the purge among the nodes that share a Redis; empty: this node is alone, or Redis did not take it.
	ID    string        `json:"id,omitempty"`
	Nodes []PurgeAnswer `json:"nodes"`
	// Problem is why it may not act on all nodes; empty: it does, or will on those that are late.
	Problem string `json:"problem,omitempty"`
}

// A PurgeAnswer is one node's.
type PurgeAnswer struct {
	Node    string  `json:"node"`
	Purged  bool    `json:"purged"` // false: it did not say so in time
	Seconds float64 `json:"seconds"`
	// Silent is for how many seconds a node that is late was not heard of.
	Silent float64 `json:"silent,omitempty"`
}

// Late returns how many nodes did not answer in time.
func (r *PurgeResult) Late() (n int) {
	for _, a := range r.Nodes {
		if !a.Purged {
			n++
		}
	}
	return n
}

// maxPurge bounds the JSON of a PurgeRequest.
const maxPurge = 64 << 10

func (a *API) purge(w http.ResponseWriter, r *http.Request) error {
	if a.opts.Purge == nil {
		return &apiError{http.StatusNotImplemented, "this node has no cache to purge", nil}
	}
	var in PurgeRequest
	if err := readJSON(w, r, maxPurge, &in); err != nil {
		return err
	}
	wait, err := in.check()
	if err != nil {
		return &apiError{http.StatusBadRequest, err.Error(), nil}
	}
	if in.Tenant != "" {
		if _, _, known := a.opts.Table().Tenant(in.Tenant); !known {
			return &apiError{http.StatusNotFound, "there is no tenant " + in.Tenant, nil}
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), wait)
	defer cancel()
	out, err := a.opts.Purge(ctx, in)
	switch {
	case errors.Is(err, ErrNoVhost):
		return &apiError{http.StatusNotFound, err.Error(), nil}
	case err != nil:
		return &apiError{http.StatusUnprocessableEntity, err.Error(), nil}
	}
	if out.Nodes == nil {
		out.Nodes = []PurgeAnswer{}
	}
	a.log.Info("cache purged", "what", out.Purged, "soft", out.Soft, "by", in.By, "id", out.ID,
		"answered", len(out.Nodes)-out.Late(), "late", out.Late(), "problem", out.Problem)
	return writeJSON(w, http.StatusOK, out)
}

// check refuses what is no purge, and returns how long to wait.
func (r *PurgeRequest) check() (wait time.Duration, err error) {
	var given []string
	for name, value := range map[string]string{"url": r.URL, "prefix": r.Prefix, "host": r.Host, "tenant": r.Tenant} {
		if value != "" {
			given = append(given, name)
		}
	}
	if r.All {
		given = append(given, "all")
	}
	switch {
	case len(given) != 1:
		return 0, errors.New("say what to purge by one of url, prefix, host, tenant and all")
	case r.Tag != "" && r.Host == "" && r.Tenant == "":
		return 0, errors.New("a tag is that of a host's or a tenant's answers: give one of them beside it")
	case strings.ContainsAny(r.Tag, "\r\n\x00"):
		return 0, fmt.Errorf("bad tag %q: no answer can have it", r.Tag)
	case r.Wait == nil:
		return DefaultPurgeWait, nil
	}
	if wait = time.Duration(*r.Wait); wait < 0 || wait > MaxPurgeWait {
		return 0, fmt.Errorf("bad wait %v: want 0s to %v", wait, MaxPurgeWait)
	}
	return wait, nil
}

// CacheStats is the answer of GET /cache/stats, by tenant and vhost.
type CacheStats struct {
	Node   string         `json:"node"`
	Vhosts []CacheFigures `json:"vhosts"`
}

// CacheFigures are what a node's cache has done for one vhost since the node was started.
type CacheFigures struct {
	Tenant string `json:"tenant,omitempty"`
	Vhost  string `json:"vhost"`
	// HitPercent is how many of 100 requests no backend was asked for: hits, stale ones, and collapsed into another.
	HitPercent float64           `json:"hit_percent"`
	Requests   map[string]uint64 `json:"requests"` // by result, as in gatehouse_cache_requests_total
	// HitForMiss is requests that went on their own since the answer to an equal one could not be shared.
	HitForMiss uint64 `json:"hit_for_miss"`
	Bytes      int64  `json:"bytes"` // stored
	Entries    int64  `json:"entries"`
	Evictions  uint64 `json:"evictions"`
	SavedBytes uint64 `json:"saved_bytes"` // of bodies that no backend sent
}

// Total is all requests.
func (f *CacheFigures) Total() (n uint64) {
	for _, of := range f.Requests {
		n += of
	}
	return n
}

func (a *API) cacheStats(w http.ResponseWriter, r *http.Request) error {
	if a.opts.CacheFigures == nil {
		return &apiError{http.StatusNotImplemented, "this node has no cache", nil}
	}
	out := CacheStats{Node: a.opts.Node, Vhosts: []CacheFigures{}}
	all := a.opts.CacheFigures()
	host := r.URL.Query().Get("host")
	if host == "" {
		out.Vhosts = append(out.Vhosts, all...)
		return writeJSON(w, http.StatusOK, out)
	}
	route := a.vhostNamed(host)
	if route == nil {
		return &apiError{http.StatusNotFound, "no vhost answers for " + host, nil}
	}
	tenant := ""
	if route.Vhost != nil {
		tenant = route.Vhost.Tenant
	}
	for _, f := range all {
		if f.Vhost == route.Name && f.Tenant == tenant {
			out.Vhosts = append(out.Vhosts, f)
		}
	}
	if len(out.Vhosts) == 0 {
		return &apiError{http.StatusNotFound, "the cache of this node knows nothing of vhost " + route.Name + ": it is off, or nobody has asked yet", nil}
	}
	return writeJSON(w, http.StatusOK, out)
}

// vhostNamed returns the route that answers for a host, which may have a port, and a path behind it, or of that name; nil: there is none.
func (a *API) vhostNamed(host string) *routes.Route {
	if name, err := routes.CanonicalVhost(host); err == nil {
		if route := a.opts.Table().Vhost(name); route != nil {
			return route
		}
	}
	host, path := routes.SplitName(host)
	name, err := routes.CanonicalHost(host)
	if err != nil {
		return nil
	}
	table := a.opts.Table()
	route := table.Match(name)
	if route == nil || path == "" {
		return route
	}
	below, err := table.Below(route, path)
	if err != nil {
		return nil // programs read it in several ways: nobody answers
	}
	return below
}
