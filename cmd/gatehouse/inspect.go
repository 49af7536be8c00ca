package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"

	"gatehouse/admin"
	"gatehouse/edge"
	"gatehouse/edge/waf"
	"gatehouse/routes"
)

// inspect shows a request to the server's own inspectRequest.
func inspect(s *edge.Server, r admin.InspectRequest) (admin.InspectResult, error) {
	probe := edge.Probe{Method: r.Method, URL: r.URL, Proto: r.Proto, Fields: r.Headers, Body: r.Body}
	if r.Client != "" {
		client, err := netip.ParseAddr(r.Client)
		if err != nil {
			return admin.InspectResult{}, fmt.Errorf("bad client address %q", r.Client)
		}
		probe.Client = client
	}
	found, err := s.Probe(probe)
	if errors.Is(err, edge.ErrNoVhost) {
		return admin.InspectResult{}, noVhost{err}
	}
	if err != nil {
		return admin.InspectResult{}, err
	}
	out := admin.InspectResult{
		Vhost: found.Vhost, Tenant: found.Tenant, Mode: found.Mode, Paranoia: found.Paranoia, Profile: found.Profile, Apps: found.Apps,
		Verdict: found.Verdict, Status: found.Status, BlockStatus: found.BlockStatus, Reason: found.Reason, RefusedBy: found.RefusedBy,
		Score: found.Score, Threshold: found.Threshold, Cut: found.Cut, Matches: []admin.Match{},
	}
	for _, m := range found.Matches {
		out.Matches = append(out.Matches, admin.Match{
			ID: m.ID, Message: m.Message, Severity: m.Severity, Tags: m.Tags, Target: m.Target, Data: m.Data, Score: m.Score, Partial: m.Partial,
		})
	}
	return out, nil
}

// noVhost is edge.ErrNoVhost by the name that package admin has for it.
type noVhost struct{ error }

func (e noVhost) Unwrap() error { return admin.ErrNoVhost }

// openOffline reads the routes once and judges requests without a node.
func openOffline(ctx context.Context, cfg *Config) (*offlineWAF, error) {
	log := slog.New(slog.DiscardHandler)
	store, client, err := openStore(cfg, log, nil)
	if err != nil {
		return nil, fmt.Errorf("routes: %w", err)
	}
	if client != nil {
		defer client.Close()
	}
	batch, err := store.Load(ctx)
	if err != nil {
		return nil, fmt.Errorf("routes: %w", err)
	}
	rules, err := openRules(cfg, waf.Options{Logger: log})
	if err != nil {
		return nil, err
	}
	server, err := edge.New(edge.Options{Node: cfg.Node, WAF: rules, Defaults: cfg.Defaults, Limits: edgeLimits(&cfg.Limits), Logger: log})
	if err != nil {
		return nil, errors.Join(err, rules.Close())
	}
	table, _ := (&routes.Table{}).With(batch.Changes)
	server.Apply(table, nil)
	return &offlineWAF{
		inspect: func(_ context.Context, r admin.InspectRequest) (admin.InspectResult, error) {
			return inspect(server, r)
		},
		close: rules.Close,
	}, nil
}

// judgeExclusions compiles the rules to compare exclusions with them, and those of a folder to see whether they
// can have a gate. That of the embedded ones takes longer to make than they do, and is tried by tests.
func judgeExclusions(cfg *Config) (judge exclusionJudge, ungated string, err error) {
	own := defaultConfig()
	if own.WAF.Gate = waf.GateOff.String(); cfg != nil {
		own.WAF.CRS = cfg.WAF.CRS
		if slices.Contains(gateWords, cfg.WAF.Gate) { // else loadConfig has said so
			own.WAF.Gate = cfg.WAF.Gate
		}
	}
	rules, err := openRules(own, waf.Options{})
	if err != nil {
		return nil, "", err
	}
	rules.MakeGate()
	if err := rules.Close(); err != nil { // what it knows of its rules stays
		return nil, "", err
	}
	return exclusionsAgainst(rules), rules.Gate().Problem(), nil
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
