package main

import (
	"context"
	"time"

	"gatehouse/admin"
	"gatehouse/edge/waf/events"
)

// openEvents opens what keeps the WAF's events.
func (n *node) openEvents() (err error) {
	n.events, err = events.Open(events.Options{
		Node: n.cfg.Node, Dir: n.cfg.dataFile("events"), Logger: n.log, Registerer: n.metrics,
	})
	if err != nil {
		return err
	}
	n.onClose(func() error {
		if err := n.events.Close(); err != nil { // no reason to fail: the requests were served
			n.log.Warn("the waf events are not whole", "err", err)
		}
		return nil
	})
	return nil
}

// findEvents answers the admin API.
func (n *node) findEvents(ctx context.Context, q admin.EventQuery) (admin.EventList, error) {
	found, err := n.events.Find(ctx, eventQuery(q), q.Most)
	if err != nil {
		return admin.EventList{}, err
	}
	out := admin.EventList{More: found.More, Unreadable: found.Unreadable, Problem: found.Problem}
	for _, e := range found.Events {
		out.Events = append(out.Events, adminEvent(e))
	}
	if node, ok := n.events.Elsewhere(q.ID); ok {
		out.Elsewhere = node
	}
	return out, nil
}

// reportEvents answers the admin API.
func (n *node) reportEvents(ctx context.Context, q admin.EventQuery) (admin.EventReport, error) {
	r, err := n.events.Report(ctx, eventQuery(q))
	if err != nil {
		return admin.EventReport{}, err
	}
	out := admin.EventReport{
		Since: r.Since, Events: r.Events, LeftOut: r.LeftOut, Verdicts: r.Verdicts, Clients: r.Clients, Unreadable: r.Unreadable, Problem: r.Problem,
	}
	for _, g := range r.Groups {
		out.Groups = append(out.Groups, admin.EventGroup(g))
	}
	return out, nil
}

func eventQuery(q admin.EventQuery) events.Query {
	out := events.Query{Tenant: q.Tenant, Vhost: q.Vhost, ID: q.ID, Rule: q.Rule}
	if q.Since > 0 {
		out.Since = time.Now().Add(-q.Since)
	}
	return out
}

func adminEvent(e *events.Event) admin.Event {
	out := admin.Event{
		Time: e.Time, ID: e.ID, Node: e.Node, Tenant: e.Tenant, Vhost: e.Vhost, Method: e.Method, Path: e.Path,
		Phase: e.Phase, Mode: e.Mode, Verdict: e.Verdict, Score: e.Score, Threshold: e.Threshold, RefusedBy: e.RefusedBy, Cut: e.Cut, LeftOut: e.LeftOut,
		Rules: make([]admin.Match, len(e.Rules)),
	}
	if e.Client.IsValid() { // the peer on a unix socket has no address
		out.Client = e.Client.String()
	}
	for i, r := range e.Rules {
		out.Rules[i] = admin.Match(r)
	}
	return out
}
