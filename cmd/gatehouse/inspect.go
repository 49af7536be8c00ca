package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"

	"gatehouse/admin"
	"gatehouse/edge"
	"gatehouse/edge/waf"
	"gatehouse/routes"
)

// inspect shows a request to the server's own inspectRequest.
func inspect(s *edge.Server, r admin.InspectRequest) (admin.InspectResult, error) {
	probe := edge.Probe{Method: r.Method, URL: r.URL, Fields: r.Headers, Body: r.Body}
	if r.Client != "" {
		client, err := netip.ParseAddr(r.Client)
		if err != nil {
			return admin.InspectResult{}, fmt.Errorf("bad client address %q", r.Client)
		}
		probe.Client = client
	}
	found, err := s.Probe(probe)
	if err != nil {
		return admin.InspectResult{}, err
	}
	out := admin.InspectResult{
		Vhost: found.Vhost, Tenant: found.Tenant, Mode: found.Mode, Paranoia: found.Paranoia,
		Verdict: found.Verdict, Score: found.Score, Threshold: found.Threshold, Matches: []admin.Match{},
	}
	for _, m := range found.Matches {
		out.Matches = append(out.Matches, admin.Match{
			ID: m.ID, Message: m.Message, Severity: m.Severity, Target: m.Target, Data: m.Data, Score: m.Score,
		})
	}
	return out, nil
}

// inspectOffline reads the routes once and judges the request without a node.
func inspectOffline(ctx context.Context, cfg *Config, r admin.InspectRequest) (admin.InspectResult, error) {
	var none admin.InspectResult
	log := slog.New(slog.DiscardHandler)
	store, client, err := openStore(cfg, log)
	if err != nil {
		return none, fmt.Errorf("routes: %w", err)
	}
	if client != nil {
		defer client.Close()
	}
	batch, err := store.Load(ctx)
	if err != nil {
		return none, fmt.Errorf("routes: %w", err)
	}
	rules, err := openRules(cfg, waf.Options{Logger: log})
	if err != nil {
		return none, err
	}
	defer rules.Close()
	server, err := edge.New(edge.Options{Node: cfg.Node, WAF: rules, Defaults: cfg.Defaults, Logger: log})
	if err != nil {
		return none, err
	}
	table, _ := (&routes.Table{}).With(batch.Changes)
	server.Apply(table, nil)
	return inspect(server, r)
}

// judgeExclusions compiles the rules to compare exclusions with them.
func judgeExclusions(cfg *Config) (exclusionJudge, error) {
	if cfg == nil {
		cfg = defaultConfig()
	}
	rules, err := openRules(cfg, waf.Options{})
	if err != nil {
		return nil, err
	}
	if err := rules.Close(); err != nil { // what it knows of its rules stays
		return nil, err
	}
	return exclusionsAgainst(rules), nil
}

// exclusionsAgainst compares exclusions with the rules of an engine.
func exclusionsAgainst(rules *waf.Engine) exclusionJudge {
	return func(list []routes.Exclusion) (out routes.Problems) {
		for _, x := range rules.Ignored(edge.Exclusions(list)) {
			out = append(out, &routes.Problem{Field: fmt.Sprintf("[%d].%s", x.Index, x.Field), Reason: "without effect: " + x.Reason})
		}
		return out
	}
}
