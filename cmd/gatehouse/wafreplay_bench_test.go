package main

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	"gatehouse/admin"
	"gatehouse/admin/admintest"
)

// What a proposal costs with as many events as memory holds.
func BenchmarkWAFAllow(b *testing.B) {
	rules, err := engine()
	if err != nil {
		b.Fatal(err)
	}
	list := make([]admin.Event, 20_000)
	for i := range list {
		list[i] = admin.Event{
			ID: fmt.Sprintf("n1-%d", i), Tenant: "shop", Vhost: "www.shop.test", Client: "192.0.2.1", Method: "POST", Path: "/upload",
			Mode: "block", Verdict: admin.VerdictBlock, Score: 15, Threshold: 5, Rules: []admin.Match{match(932120, "ARGS:icon"), match(942100, "ARGS:q"), match(941100, "ARGS:r")},
		}
		if i%2 == 1 {
			list[i].Path = "/other"
		}
	}
	n := admintest.Start(b, allowSites, admin.Options{
		Node: "n1", Ruleset: ruleset{rules}, ExclusionProblems: exclusionsAgainst(rules),
		Events: func(context.Context, admin.EventQuery) (admin.EventList, error) {
			return admin.EventList{Events: list[:1]}, nil
		},
		EachEvent: func(_ context.Context, _ admin.EventQuery, visit func(*admin.Event)) (admin.EventsMissing, error) {
			for i := range list {
				visit(&list[i])
			}
			return admin.EventsMissing{}, nil
		},
	})
	c, err := (&session{terminal: &terminal{}, admin: n.Socket}).newClient(eventsTimeout)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		var out admin.AllowResult
		if err := c.do(b.Context(), http.MethodPost, "/waf/allow", admin.AllowRequest{ID: "n1-0", Scope: admin.ScopeParam, DryRun: true}, &out); err != nil || out.Replay.LetThrough != len(list)/2-1 {
			b.Fatal(err, out.Replay)
		}
	}
}
