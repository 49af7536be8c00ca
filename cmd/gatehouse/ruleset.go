package main

import (
	"context"

	"gatehouse/admin"
	"gatehouse/edge"
	"gatehouse/edge/waf"
	"gatehouse/edge/waf/events"
	"gatehouse/routes"
)

// ruleset tells the admin API of the engine's rules.
type ruleset struct{ engine *waf.Engine }

func (r ruleset) Version() string { return r.engine.Set().Version() }

func (r ruleset) Gate() admin.Gate {
	g := r.engine.Gate()
	return admin.Gate{Mode: g.Mode.String(), Active: g.Active(), Made: g.Made, Missed: g.Missed, Problem: g.Problem()}
}

func (r ruleset) Rules() []admin.Rule {
	rules := r.engine.Rules()
	out := make([]admin.Rule, len(rules))
	for i, known := range rules {
		out[i] = admin.Rule{
			ID: known.ID, Message: known.Message, Severity: known.Severity, Paranoia: known.Paranoia, Phase: known.Phase,
			Tags: known.Tags, Targets: known.Targets, Refuses: known.Refuses, Fixed: routes.BookkeepingRule(known.ID),
		}
	}
	return out
}

func (r ruleset) Mean(list []routes.Exclusion) []int { return r.engine.Mean(edge.Exclusions(list)) }

func (r ruleset) Preset(name string) []routes.Exclusion { return edge.Preset(name) }

func (r ruleset) PlainPath(path string) (string, bool) { return waf.PlainPath(path) }

func (r ruleset) Replay(list []routes.Exclusion) func(method, path string, m admin.Match) bool {
	replay := r.engine.Replay(edge.Exclusions(list))
	return func(method, path string, m admin.Match) bool {
		return replay.Removes(method, path, waf.Match{ID: m.ID, Target: m.Target, Partial: m.Partial})
	}
}

// eachEvent answers the admin API.
func (n *node) eachEvent(ctx context.Context, q admin.EventQuery, visit func(*admin.Event)) (admin.EventsMissing, error) {
	missing, err := n.events.Each(ctx, eventQuery(q), func(e *events.Event) {
		out := adminEvent(e)
		visit(&out)
	})
	return admin.EventsMissing{Unreadable: missing.Unreadable, Problem: missing.Problem}, err
}
