package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"gatehouse/admin"
	"gatehouse/cache"
	"gatehouse/cache/redispurge"
	"gatehouse/edge"
)

// openPurges makes what brings purges to the nodes that share a Redis, if this one has one.
func (n *node) openPurges() (err error) {
	if n.shared == nil {
		return nil
	}
	n.purges, err = redispurge.New(redispurge.Options{
		Client: n.shared, Store: n.cache, Node: cmp.Or(n.cfg.Node, "gatehouse"), Logger: n.log, Registerer: n.metrics,
	})
	return err
}

// purge answers the admin API.
func (n *node) purge(ctx context.Context, r admin.PurgeRequest) (admin.PurgeResult, error) {
	purges, err := n.purgesOf(r)
	if errors.Is(err, edge.ErrNoVhost) {
		return admin.PurgeResult{}, noVhost{err}
	}
	if err != nil {
		return admin.PurgeResult{}, err
	}
	for i := range purges {
		purges[i].Soft = r.Soft
	}
	out := admin.PurgeResult{Purged: purgesText(purges), Soft: r.Soft}
	begin := time.Now()
	if n.purges == nil {
		out.Nodes = []admin.PurgeAnswer{n.purgeHere(purges, begin)}
		return out, nil
	}
	// Redis gets its own time to take them: that somebody does not wait is no reason not to tell the others. A node that has
	// applied the last one has applied those before it, too.
	for _, p := range purges {
		if out.ID, err = n.purges.Publish(context.WithoutCancel(ctx), p, r.By); err != nil {
			out.Nodes, out.Problem = []admin.PurgeAnswer{n.purgeHere(purges, begin)}, err.Error()
			return out, nil
		}
	}
	if r.Wait != nil && *r.Wait == 0 {
		return out, nil
	}
	answers, err := n.purges.Await(ctx, out.ID)
	if err != nil {
		out.Problem = "it is published, and which nodes have applied it is not known: " + err.Error()
	}
	for _, a := range answers {
		out.Nodes = append(out.Nodes, admin.PurgeAnswer{Node: a.Node, Purged: a.Applied, Seconds: a.After.Seconds(), Silent: a.Silent.Seconds()})
	}
	return out, nil
}

func (n *node) purgeHere(purges []cache.Purge, begin time.Time) admin.PurgeAnswer {
	for _, p := range purges {
		n.cache.Purge(p)
	}
	return admin.PurgeAnswer{Node: n.cfg.Node, Purged: true, Seconds: time.Since(begin).Seconds()}
}

// purgesOf makes the purges that are wanted, as the vhost counts its URLs: there is one at least.
func (n *node) purgesOf(r admin.PurgeRequest) ([]cache.Purge, error) {
	switch {
	case r.URL != "":
		p, err := n.edge.PurgeURL(r.URL)
		return []cache.Purge{p}, err
	case r.Prefix != "":
		return n.edge.PurgePrefix(r.Prefix)
	case r.Tag != "" && r.Host != "":
		return n.edge.PurgeTag(r.Host, r.Tag)
	case r.Tag != "":
		return []cache.Purge{{Tenant: r.Tenant, Kind: cache.PurgeTag, Arg: r.Tag}}, nil
	case r.Host != "":
		return n.edge.PurgeHost(r.Host)
	}
	return []cache.Purge{{Tenant: r.Tenant, Kind: cache.PurgeAll}}, nil // of a tenant, or all there is
}

// purgesText says what is purged.
func purgesText(purges []cache.Purge) string {
	text := purgeText(purges[0])
	if len(purges) > 1 {
		names := make([]string, 0, len(purges)-1)
		for _, p := range purges[1:] {
			names = append(names, p.Vhost)
		}
		const most = 5
		if len(names) > most {
			names = append(names[:most], fmt.Sprintf("%d more", len(purges)-1-most))
		}
		text += ", with " + strings.Join(names, ", ")
	}
	return text
}

// purgeText says what one purge purges.
func purgeText(p cache.Purge) string {
	of := "everything"
	switch {
	case p.Vhost != "":
		of = "vhost " + p.Vhost
	case p.Tenant != "":
		of = "tenant " + p.Tenant
	}
	switch p.Kind {
	case cache.PurgeAll:
		return of
	case cache.PurgeHost:
		return "host " + p.Arg
	case cache.PurgeURL, cache.PurgePrefix:
		return fmt.Sprintf("%s %s", p.Kind, p.Arg)
	}
	return fmt.Sprintf("%s %q of %s", p.Kind, p.Arg, of)
}

// cacheFigures answers the admin API.
func (n *node) cacheFigures() []admin.CacheFigures {
	figures := n.cache.Figures()
	out := make([]admin.CacheFigures, len(figures))
	for i, f := range figures {
		c := &out[i]
		*c = admin.CacheFigures{
			Tenant: f.Tenant, Vhost: f.Vhost, Bytes: f.Bytes, Entries: f.Entries, Evictions: f.Evictions, SavedBytes: f.Saved, HitForMiss: f.HitForMiss,
			Requests: map[string]uint64{},
		}
		for result, count := range f.Requests {
			c.Requests[cache.Result(result).String()] = count
		}
		if all := c.Total(); all > 0 {
			unasked := f.Requests[cache.ResultHit] + f.Requests[cache.ResultStale] + f.Requests[cache.ResultCollapsed]
			c.HitPercent = 100 * float64(unasked) / float64(all)
		}
	}
	return out
}
