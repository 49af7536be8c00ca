package edge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"gatehouse/edge/balance"
	"gatehouse/edge/health"
	"gatehouse/edge/upstream"
	"gatehouse/routes"
)

// checks are the backends that vhosts have checked, whether a request has come for them or not. The zero value has none; it is
// safe for concurrent use.
type checks struct {
	mu       sync.Mutex
	byTarget map[health.Target]*checked
}

// A checked is what is known of a target.
type checked struct {
	balance.Check
	finding *health.Finding // nil: it is up
	// pool keeps no connection. It lives as long as the target, and so does what is known of its name: a check must not
	// fail with the name servers where requests go on. err: why there is none.
	pool *upstream.Pool
	err  error
}

// hasChecks reports whether a route, which may be nil, is of a vhost that has its backends checked; of a suspended one nobody asks for them.
func hasChecks(route *routes.Route) bool {
	return route != nil && route.Vhost != nil && route.Vhost.Health() != nil && !route.IsSuspended()
}

// targetsOf are the backends that a vhost has checked, each once.
func targetsOf(route *routes.Route) []health.Target {
	if !hasChecks(route) {
		return nil
	}
	var out []health.Target
	for _, b := range route.Vhost.Backends {
		if t, ok := targetOf(route.Vhost, &b); ok && !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	return out
}

// targetOf is one backend as the vhost has it checked; false: it does not.
func targetOf(v *routes.Vhost, b *routes.Backend) (health.Target, bool) {
	h := v.Health().Resolved()
	if h == nil {
		return health.Target{}, false
	}
	host := h.Host
	if name, _ := routes.SplitName(v.Name); host == "" && !strings.Contains(name, "*") {
		host = name
	}
	return health.Target{
		Tenant: v.Tenant, Vhost: v.Name, URL: canonicalBackend(b.URL), TLS: tlsKey(b.TLS), Path: h.Path, Host: host, Status: h.Status, Body: h.Body,
		Interval: time.Duration(h.Interval), Timeout: time.Duration(h.Timeout), Rise: h.Rise, Fall: h.Fall,
	}, true
}

// of returns what is known of a target; nil: it is not checked.
func (c *checks) of(t health.Target) *checked {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.byTarget[t]
}

// found notes what a check has found.
func (c *checks) found(t health.Target, f *health.Finding) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if known := c.byTarget[t]; known != nil {
		known.finding = f
		known.Set(f != nil)
	}
}

// wrong returns what is wrong with a target; nil: nothing.
func (c *checks) wrong(t health.Target) *health.Finding {
	c.mu.Lock()
	defer c.mu.Unlock()
	if known := c.byTarget[t]; known != nil {
		return known.finding
	}
	return nil
}

// beginChecks has what is new in a change checked. It comes before requests see the change, endChecks after it.
func (s *Server) beginChecks(change routes.Replaced) {
	if !hasChecks(change.New) {
		return
	}
	v := change.New.Vhost
	for _, b := range v.Backends {
		t, _ := targetOf(v, &b)
		s.checks.mu.Lock()
		known := s.checks.byTarget[t] != nil
		if !known {
			if s.checks.byTarget == nil {
				s.checks.byTarget = map[health.Target]*checked{}
			}
			s.checks.byTarget[t] = s.openChecked(t, &b)
		}
		s.checks.mu.Unlock()
		if !known {
			s.prober.Add(t)
		}
	}
}

// openChecked makes what is known of a target: nothing yet.
func (s *Server) openChecked(t health.Target, b *routes.Backend) *checked {
	o, err := s.poolOptions(ownerOf(t.Tenant, t.Vhost), b, t.Timeout, t.Timeout)
	if err != nil {
		return &checked{err: err}
	}
	o.MaxIdle = -1
	pool, err := upstream.NewPool(o)
	return &checked{pool: pool, err: err}
}

// endChecks ends the checks of what is no more.
func (s *Server) endChecks(change routes.Replaced) {
	kept := targetsOf(change.New)
	for _, t := range targetsOf(change.Old) {
		if slices.Contains(kept, t) {
			continue
		}
		s.prober.Remove(t)
		s.checks.mu.Lock()
		if known := s.checks.byTarget[t]; known != nil && known.pool != nil {
			known.pool.Close()
		}
		delete(s.checks.byTarget, t)
		s.checks.mu.Unlock()
	}
}

// Prober checks the backends of vhosts that want that. Whoever runs it decides whether it is this node's turn.
func (s *Server) Prober() *health.Prober { return s.prober }

// newProber makes it.
func (s *Server) newProber() *health.Prober {
	return health.NewProber(health.ProberOptions{
		Probe: s.probeBackend, Found: s.checks.found, Logger: s.log,
		Counted: func(good bool) {
			result := "bad"
			if good {
				result = "good"
			}
			s.metrics.probes.WithLabelValues(result).Inc()
		},
	})
}

// errNotChecked is of a target that was removed while its check began: nobody hears of it.
var errNotChecked = errors.New("the backend is not checked any more")

// maxCheckedBody is how much of an answer's body a check reads.
const maxCheckedBody = 64 << 10

// probeBackend checks a backend once, as requests would reach it: with the same guard against forbidden addresses, and the same TLS.
// A connection of its own is part of what is checked.
func (s *Server) probeBackend(ctx context.Context, t health.Target) error {
	statuses, err := routes.ParseStatuses(t.Status)
	if err != nil {
		return err
	}
	known := s.checks.of(t)
	switch {
	case known == nil:
		return errNotChecked
	case known.err != nil:
		return known.err
	}
	pool := known.pool
	answer, err := pool.RoundTrip(ctx, &upstream.Request{
		Method: "GET", Target: t.Path, Host: checkHost(t, pool.Address()), Head: []byte("User-Agent: gatehouse-health\r\n"), Fresh: true,
	})
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("no answer within %v", t.Timeout)
		}
		return err
	}
	defer answer.Release()
	defer answer.Body.Close()
	if !statuses.Has(answer.Status) {
		return fmt.Errorf("GET %s: status %d, want %s", t.Path, answer.Status, t.Status)
	}
	if t.Body == "" {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxCheckedBody))
	if bytes.Contains(body, []byte(t.Body)) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("GET %s: read the body: %w", t.Path, err)
	}
	return fmt.Errorf("GET %s: %q is not in the body", t.Path, t.Body)
}

// checkHost is the Host of a check: the target's, else the backend's own address.
func checkHost(t health.Target, a upstream.Address) string {
	switch {
	case t.Host != "":
		return t.Host
	case a.Scheme == "unix":
		return "localhost"
	case a.Scheme == "http" && a.Port == 80, a.Scheme == "https" && a.Port == 443:
		return strings.TrimSuffix(net.JoinHostPort(a.Host, ""), ":")
	}
	return net.JoinHostPort(a.Host, strconv.Itoa(a.Port))
}
