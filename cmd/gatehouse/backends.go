package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"gatehouse/admin"
	"gatehouse/edge"
	"gatehouse/edge/health"
	"gatehouse/edge/health/redishealth"
)

// backendsFile holds, in the data folder, which backends are drained, and the key of sticky cookies.
const backendsFile = "backends.json"

// openBackends makes what knows which backends are drained, here and on the nodes that share a Redis.
func (n *node) openBackends() error {
	o := health.Options{
		File: n.cfg.dataFile(backendsFile), Node: cmp.Or(n.cfg.Node, "gatehouse"), Logger: n.log,
		Prober: n.edge.Prober(), Apply: n.edge.SetDrains, InFlight: n.edge.DrainedInFlight,
		UseKey: func(k health.Key) { n.edge.SetStickyKey(edge.StickyKey(k)) },
	}
	if n.shared != nil {
		o.Shared = redishealth.New(n.shared)
	}
	n.backends = health.Open(o)
	return nil
}

// backendsAPI is what the API needs to know and drain backends.
func (n *node) backendsAPI() admin.Backends {
	return admin.Backends{List: n.listBackends, UnderWay: n.underWay, Set: n.drainBackend, Drained: n.edge.IsDrained}
}

func (n *node) listBackends(ctx context.Context, host, url string) (admin.BackendList, error) {
	out := admin.BackendList{Node: n.cfg.Node, Backends: []admin.Backend{}}
	standing, err := n.backends.Standing(ctx)
	if err != nil {
		out.Problem = unknownInFlight + err.Error()
	}
	for _, b := range n.edge.Backends(host, url) {
		row := admin.Backend{URL: b.URL, Tenant: b.Tenant, Vhosts: b.Vhosts, Admin: admin.AdminActive, InFlight: b.InFlight, Waiting: b.Waiting}
		if row.Vhosts == nil {
			row.Vhosts = []string{}
		}
		row.Health, row.Detail = healthText(&b)
		if d := b.Drain; d != nil {
			row.Admin, row.By, row.Since = admin.AdminDrained, d.By, &d.Since
			row.InFlight, row.Nodes = 0, standing.InFlight(d)
			for _, inFlight := range row.Nodes {
				row.InFlight += inFlight
			}
		}
		out.Backends = append(out.Backends, row)
	}
	return out, nil
}

func (n *node) underWay(ctx context.Context, url, tenant string) admin.UnderWay {
	standing, err := n.backends.Standing(ctx)
	out := admin.UnderWay{Nodes: standing.InFlight(&health.Drain{URL: url, Tenant: tenant})}
	if err != nil {
		out.Problem = unknownInFlight + err.Error()
	}
	return out
}

// unknownInFlight begins what is said where Redis does not answer.
const unknownInFlight = "what is in flight on other nodes is not known: "

// healthText says how a backend is, and why.
func healthText(b *edge.BackendStatus) (state, detail string) {
	switch {
	case b.Down != nil:
		return admin.HealthDown, fmt.Sprintf("%s, for %s since %s", b.Down.Reason, b.Down.Vhost, b.Down.Since.UTC().Format("2006-01-02 15:04:05 UTC"))
	case b.Ejected > 0:
		return admin.HealthEjected, fmt.Sprintf("%s, for %v more", b.Why, b.Ejected.Round(time.Second)) + lastFailure(b)
	case b.Failures > 0:
		return admin.HealthFailing, fmt.Sprintf("%d in a row", b.Failures) + lastFailure(b)
	}
	return admin.HealthUp, ""
}

func lastFailure(b *edge.BackendStatus) string {
	if b.Reason == "" {
		return ""
	}
	return "; the last: " + b.Reason
}

// drainBackend answers the admin API.
func (n *node) drainBackend(ctx context.Context, r admin.DrainRequest, drained bool) (admin.DrainResult, error) {
	d := health.Drain{URL: r.URL, Tenant: r.Tenant, By: r.By, Since: time.Now()}
	if err := n.mayDrain(d, r.Yes, drained); err != nil {
		return admin.DrainResult{}, err
	}
	unsaved := n.backends.Set(ctx, d, drained)
	if unsaved != nil && !errors.Is(unsaved, health.ErrUnsaved) {
		return admin.DrainResult{}, unsaved
	}
	out := admin.DrainResult{URL: r.URL, Tenant: r.Tenant, Drained: drained}
	behind, err := n.backends.Await(ctx)
	out.Behind = behind
	if err != nil {
		out.Problem = "which nodes act by it is not known: " + err.Error()
	}
	if drained && !r.Yes { // on another node somebody may have drained the others at the same time
		if bare, _ := n.edge.LeftBare(d); len(bare) > 0 {
			return admin.DrainResult{}, errors.Join(n.lastBackend(d, bare, wouldBeBare), n.backends.Set(context.WithoutCancel(ctx), d, false))
		}
	}
	return out, unsaved
}

// mayDrain refuses what would do nothing, and what would leave a vhost without backends unless that is wanted.
func (n *node) mayDrain(d health.Drain, yes, drained bool) error {
	if !drained {
		return isDrained(n.backends.Drains(), &d)
	}
	if !n.edge.IsBackend(d.URL, d.Tenant) {
		return fmt.Errorf("%w: no vhost%s names %s (see gatehouse backend list)", admin.ErrNoBackend, ofTenant(d.Tenant), d.URL)
	}
	if yes {
		return nil
	}
	bare, unwell := n.edge.LeftBare(d)
	switch {
	case len(bare) > 0:
		return n.lastBackend(d, bare, wouldBeBare)
	case len(unwell) > 0:
		return n.lastBackend(d, unwell, wouldBeUnwell)
	}
	return nil
}

// isDrained returns nil if there is that very drain, else an error that names those of the same backend that there are.
func isDrained(drains []health.Drain, d *health.Drain) error {
	var others []string
	for i := range drains {
		switch have := &drains[i]; {
		case have.Key() == d.Key():
			return nil
		case have.URL == d.URL && have.Tenant == "":
			others = append(others, "for everybody (without --tenant)")
		case have.URL == d.URL:
			others = append(others, "for tenant "+have.Tenant+" (--tenant "+have.Tenant+")")
		}
	}
	err := fmt.Errorf("%w that is drained%s: %s", admin.ErrNoBackend, ofTenant(d.Tenant), d.URL)
	if len(others) > 0 {
		return fmt.Errorf("%w; it is drained %s", err, some(others))
	}
	return fmt.Errorf("%w (see gatehouse backend list)", err)
}

// What becomes of vhosts that would have no backend left, or none that is well.
const (
	wouldBeBare   = " of %s, which would answer 503"
	wouldBeUnwell = " that is well of %s"
)

// lastBackend is why a drain is refused for the sake of vhosts. Some may be another tenant's, who names the same URL: whoever drains it for his own
// is told how.
func (n *node) lastBackend(d health.Drain, vhosts []string, would string) error {
	table := n.table()
	whose := map[string]string{}
	for _, name := range vhosts {
		if route := table.Vhost(name); route != nil && route.Vhost != nil {
			whose[name] = route.Vhost.Tenant
		}
	}
	var naming []string
	if d.Tenant == "" {
		for _, b := range n.edge.Backends("", d.URL) {
			if len(b.Vhosts) > 0 {
				naming = append(naming, b.Tenant)
			}
		}
	}
	return refusedDrain(d, vhosts, would, whose, naming)
}

// refusedDrain is lastBackend's error: whose says which tenants the vhosts are of, naming which name the backend.
func refusedDrain(d health.Drain, vhosts []string, would string, whose map[string]string, naming []string) error {
	several := slices.ContainsFunc(naming, func(tenant string) bool { return tenant != naming[0] })
	named, bereft := make([]string, len(vhosts)), map[string]bool{}
	for i, name := range vhosts {
		named[i] = name
		if tenant := whose[name]; tenant != "" && several {
			named[i] += " (tenant " + tenant + ")"
		}
		bereft[whose[name]] = true
	}
	var spared []string
	for _, tenant := range naming {
		if tenant != "" && !bereft[tenant] && !slices.Contains(spared, tenant) {
			spared = append(spared, tenant)
		}
	}
	slices.Sort(spared)
	hint := "--yes drains it all the same"
	switch {
	case len(spared) == 1:
		hint = "--tenant " + spared[0] + " drains it as that tenant's alone, " + hint
	case len(spared) > 1:
		hint = "--tenant drains it as one tenant's alone (" + some(spared) + " have others), " + hint
	}
	return fmt.Errorf("%s is not drained: %w"+would+"; %s", d.URL, admin.ErrLastBackend, some(named), hint)
}

func ofTenant(tenant string) string {
	if tenant == "" {
		return ""
	}
	return " of tenant " + tenant
}

// some names the first few of many.
func some(names []string) string {
	const few = 3
	if len(names) <= few {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:few], ", "), len(names)-few)
}
