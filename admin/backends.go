package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"gatehouse/routes"
)

// A BackendList is the answer of GET /backends.
type BackendList struct {
	Node     string    `json:"node"`
	Backends []Backend `json:"backends"`
	// Problem is why other nodes could not be asked what is in flight there; empty: they were, or there are none.
	Problem string `json:"problem,omitempty"`
}

// A Backend is one backend of one tenant. What is configured, what an administrator has said and how it is are three things.
type Backend struct {
	URL    string `json:"url"`
	Tenant string `json:"tenant,omitempty"`
	// Vhosts are those that name it. Empty: no vhost does.
	Vhosts []string `json:"vhosts"`
	// Admin is AdminActive or AdminDrained, By whom and Since when.
	Admin string     `json:"admin"`
	By    string     `json:"by,omitempty"`
	Since *time.Time `json:"since,omitempty"`
	// Health is what this node knows: HealthUp, HealthFailing (in a row, and not ejected), HealthEjected or HealthDown (by active checks),
	// and Detail why.
	Health string `json:"health"`
	Detail string `json:"detail,omitempty"`
	// InFlight is how many requests are on their way to it, upgraded connections among them; of a drained one those of all nodes
	// and, by node, Nodes, with those that wait for it.
	InFlight int64 `json:"in_flight"`
	// Waiting is how many wait on this node, since the backend has as many as its concurrency allows. 0 where it is drained.
	Waiting int64            `json:"waiting"`
	Nodes   map[string]int64 `json:"nodes,omitempty"`
}

// What Backend.Admin and Backend.Health say.
const (
	AdminActive  = "active"
	AdminDrained = "drained"

	HealthUp      = "up"
	HealthFailing = "failing"
	HealthEjected = "ejected"
	HealthDown    = "down"
)

// UnderWay is the answer of GET /backends/drained: how many requests are on their way to what one drain covers.
type UnderWay struct {
	Nodes map[string]int64 `json:"nodes"`
	// Problem is why it is not known of other nodes; empty: it is, or there are none.
	Problem string `json:"problem,omitempty"`
}

// A DrainRequest is the body of POST /backends/drain and /backends/undrain.
type DrainRequest struct {
	// URL is the backend, in any spelling. Required.
	URL string `json:"url"`
	// Tenant is whose; empty: of all who name it.
	Tenant string `json:"tenant,omitempty"`
	// Yes drains it although a vhost would have no backend left.
	Yes bool   `json:"yes,omitempty"`
	By  string `json:"by,omitempty"`
}

// A DrainResult is the answer.
type DrainResult struct {
	URL     string `json:"url"`
	Tenant  string `json:"tenant,omitempty"`
	Drained bool   `json:"drained"`
	// Behind are nodes that did not act by it in time.
	Behind []string `json:"behind,omitempty"`
	// Problem is why it is not known which do; empty: it is.
	Problem string `json:"problem,omitempty"`
}

// Errors of Backends.Set.
var (
	// ErrNoBackend is wrapped where no vhost names the backend, or it is not drained.
	ErrNoBackend = errors.New("no such backend")
	// ErrLastBackend is wrapped where a vhost would have no backend left.
	ErrLastBackend = errors.New("it is the last one")
)

// Backends is what the API needs of whoever knows the backends.
type Backends struct {
	// List returns how they stand. host limits them to those of the vhost that answers for it, url to one in its canonical form;
	// empty: all.
	List func(ctx context.Context, host, url string) (BackendList, error)
	// UnderWay returns what is on its way to what a drain covers, which is that of the URL, in its canonical form, and the tenant. It looks at no vhost:
	// whoever waits for a drain asks often.
	UnderWay func(ctx context.Context, url, tenant string) UnderWay
	// Set drains a backend or ends that, on all nodes, and waits for these until ctx ends. The request's URL is canonical. After an error nothing
	// has changed, unless it says that only this node's file could not be written.
	Set func(ctx context.Context, r DrainRequest, drained bool) (DrainResult, error)
	// Drained reports whether a tenant's backend, by its URL as a document has it, is drained. It must not block. Nil: none is.
	Drained func(url, tenant string) bool
}

// allDrained returns what is wrong with a vhost none of whose backends gets requests; nil: some do.
func (b *Backends) allDrained(v *routes.Vhost) *routes.Problem {
	if b.Drained == nil || len(v.Backends) == 0 {
		return nil
	}
	for i := range v.Backends {
		if !b.Drained(v.Backends[i].URL, v.Tenant) {
			return nil
		}
	}
	return &routes.Problem{Field: "backends", Reason: "all are drained, and requests get 503 (see gatehouse backend list, backend undrain)"}
}

// drainWait bounds the wait for all nodes: they act within a second.
const drainWait = 3 * time.Second

func (a *API) listBackends(w http.ResponseWriter, r *http.Request) error {
	if a.opts.Backends.List == nil {
		return &apiError{http.StatusNotImplemented, "this node knows no backends", nil}
	}
	host, url := r.URL.Query().Get("host"), r.URL.Query().Get("url")
	if host != "" {
		route := a.vhostNamed(host)
		if route == nil {
			return &apiError{http.StatusNotFound, "no vhost answers for " + host, nil}
		}
		host = route.Name
	}
	if url != "" {
		address, err := routes.ParseAddress(url)
		if err != nil {
			return &apiError{http.StatusBadRequest, err.Error(), nil}
		}
		url = address.String()
	}
	out, err := a.opts.Backends.List(r.Context(), host, url)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, out)
}

func (a *API) underWay(w http.ResponseWriter, r *http.Request) error {
	if a.opts.Backends.UnderWay == nil {
		return &apiError{http.StatusNotImplemented, "this node drains no backends", nil}
	}
	address, err := routes.ParseAddress(r.URL.Query().Get("url"))
	if err != nil {
		return &apiError{http.StatusBadRequest, err.Error(), nil}
	}
	return writeJSON(w, http.StatusOK, a.opts.Backends.UnderWay(r.Context(), address.String(), r.URL.Query().Get("tenant")))
}

func (a *API) drainBackend(w http.ResponseWriter, r *http.Request) error {
	return a.setDrained(w, r, true)
}

func (a *API) undrainBackend(w http.ResponseWriter, r *http.Request) error {
	return a.setDrained(w, r, false)
}

// maxDrain bounds the JSON of a DrainRequest.
const maxDrain = 16 << 10

func (a *API) setDrained(w http.ResponseWriter, r *http.Request, drained bool) error {
	if a.opts.Backends.Set == nil {
		return &apiError{http.StatusNotImplemented, "this node drains no backends", nil}
	}
	var in DrainRequest
	if err := readJSON(w, r, maxDrain, &in); err != nil {
		return err
	}
	address, err := routes.ParseAddress(in.URL)
	if err == nil && in.Tenant != "" {
		err = routes.CheckTenantName(in.Tenant)
	}
	if err != nil {
		return &apiError{http.StatusBadRequest, err.Error(), nil}
	}
	in.URL = address.String()
	ctx, cancel := context.WithTimeout(r.Context(), drainWait)
	defer cancel()
	a.draining.Lock()
	out, err := a.opts.Backends.Set(ctx, in, drained)
	a.draining.Unlock()
	switch {
	case errors.Is(err, ErrNoBackend):
		return &apiError{http.StatusNotFound, err.Error(), nil}
	case errors.Is(err, ErrLastBackend):
		return &apiError{http.StatusConflict, err.Error(), nil}
	case err != nil:
		return &apiError{http.StatusServiceUnavailable, fmt.Sprintf("%s: %v", in.URL, err), nil}
	}
	a.log.Info("backend drain changed", "backend", in.URL, "tenant", in.Tenant, "drained", drained, "by", in.By, "yes", in.Yes, "behind", out.Behind, "problem", out.Problem)
	return writeJSON(w, http.StatusOK, out)
}
