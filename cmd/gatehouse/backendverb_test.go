package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/admin"
	"gatehouse/admin/admintest"
)

// drainer answers for one backend, to which fewer requests are under way each time somebody asks.
func drainer(asked *admin.DrainRequest, underWay *atomic.Int64) admin.Options {
	since := time.Date(2026, 11, 29, 10, 0, 0, 0, time.UTC)
	return admin.Options{Node: "n1", Backends: admin.Backends{
		List: func(_ context.Context, host, _ string) (admin.BackendList, error) {
			list := admin.BackendList{Node: "n1", Backends: []admin.Backend{
				{
					URL: "http://10.0.0.1", Tenant: "shop", Vhosts: []string{"www.shop.test"}, Admin: admin.AdminDrained, By: "ops", Since: &since,
					Health: admin.HealthEjected, Detail: "unreachable, for 7s more", InFlight: 0, Nodes: map[string]int64{"n1": 0, "n2": 0},
				},
				{URL: "http://10.0.0.2", Vhosts: []string{"a.test", "b.test", "c.test", "d.test"}, Admin: admin.AdminActive, Health: admin.HealthUp, InFlight: 3},
				{URL: "http://10.0.0.3", Vhosts: []string{}, Admin: admin.AdminDrained, Since: &since, Health: admin.HealthUp},
			}}
			if host != "" {
				list.Backends = list.Backends[:1]
			}
			return list, nil
		},
		UnderWay: func(_ context.Context, url, tenant string) admin.UnderWay {
			if url == "http://10.0.0.5" {
				return admin.UnderWay{Nodes: map[string]int64{"n1": 0}, Problem: "redis does not answer"}
			}
			left := max(underWay.Add(-1), 0)
			return admin.UnderWay{Nodes: map[string]int64{"n1": left, "n2": 0}}
		},
		Set: func(_ context.Context, r admin.DrainRequest, drained bool) (admin.DrainResult, error) {
			*asked = r
			out := admin.DrainResult{URL: r.URL, Tenant: r.Tenant, Drained: drained}
			switch {
			case r.URL == "http://10.0.0.9":
				return out, fmt.Errorf("%w: no vhost names it", admin.ErrNoBackend)
			case r.URL == "http://10.0.0.2" && !r.Yes:
				return out, fmt.Errorf("%w of a.test; --yes drains it all the same", admin.ErrLastBackend)
			case r.URL == "http://10.0.0.4":
				out.Behind, out.Problem = []string{"n3"}, "redis does not answer"
			}
			return out, nil
		},
	}}
}

func TestBackendsAreListedInThreeColumns(t *testing.T) {
	var asked admin.DrainRequest
	var underWay atomic.Int64
	n := admintest.Start(t, sites, drainer(&asked, &underWay))
	t.Chdir(n.Dir)
	code, out, errOut := invoke(t, "backend", "list")
	want(t, "list"+errOut, code, exitOK)
	contains(t, "list", out, "BACKEND", "CONFIGURED", "ADMIN", "HEALTH", "IN FLIGHT", "WAITING",
		"drained 2026-11-29 10:00 UTC by ops", "ejected (unreachable, for 7s more)", "a.test and 3 more vhosts", "active", "  no  ")
	code, out, _ = invoke(t, "backend", "list", "www.shop.test", "-o", "json")
	want(t, "JSON", code, exitOK)
	contains(t, "JSON", out, `"admin": "drained"`, `"health": "ejected"`, `"in_flight": 0`, `"waiting": 0`)
	code, _, errOut = invoke(t, "backend", "list", "nobody.test")
	want(t, "nobody's", code, exitFailed)
	contains(t, "nobody's", errOut, "no vhost answers for nobody.test")
}

// Whoever has a URL at hand need not know which vhost answers for it.
func TestBackendsAreListedOfWhoeverAnswersForAHostAndPath(t *testing.T) {
	t.Parallel()
	asked := ""
	n := admintest.Start(t, shopPaths, admin.Options{Backends: admin.Backends{List: func(_ context.Context, host, _ string) (admin.BackendList, error) {
		asked = host
		return admin.BackendList{}, nil
	}}})
	for host, vhost := range map[string]string{
		"www.shop.test": "www.shop.test", "WWW.shop.test:8080": "www.shop.test", "www.shop.test/a": "www.shop.test/a", "www.shop.test:8080/a/b": "www.shop.test/a",
		"www.shop.test/c": "www.shop.test", "www.shop.test/": "www.shop.test", "nobody.test/a": "", "www.shop.test/x/%2e%2e/a": "",
	} {
		asked = ""
		code, _, errOut := invoke(t, atNode(n, "backend", "list", host)...)
		want(t, host, asked, vhost)
		if vhost == "" {
			want(t, host, code, exitFailed)
			contains(t, host, errOut, "no vhost answers for "+host)
		}
	}
}

func TestBackendDrainSaysWhatIsUnderWay(t *testing.T) {
	var asked admin.DrainRequest
	var underWay atomic.Int64
	n := admintest.Start(t, sites, drainer(&asked, &underWay))
	t.Chdir(n.Dir)
	underWay.Store(2)
	code, out, errOut := invoke(t, "backend", "drain", "HTTP://10.0.0.1:80/", "--tenant", "shop", "--wait", "10s")
	want(t, "drain"+errOut, code, exitOK)
	contains(t, "drain", out, "http://10.0.0.1: 1 under way (n1 1, n2 0)", "http://10.0.0.1: 0 under way", "http://10.0.0.1 of tenant shop is drained, and nothing is under way")
	want(t, "asked", asked.URL+" "+asked.Tenant, "http://10.0.0.1 shop")
	want(t, "by", asked.By != "", true)

	underWay.Store(1000)
	code, out, _ = invoke(t, "backend", "drain", "http://10.0.0.1", "--wait", "1ms")
	want(t, "late", code, exitFailed)
	contains(t, "late", out, "requests are still under way")
	code, out, _ = invoke(t, "backend", "drain", "http://10.0.0.1", "--wait", "1ms", "-o", "json")
	want(t, "JSON", code, exitFailed)
	contains(t, "JSON", out, `"drained": true`, `"in_flight": 99`)

	// Where other nodes cannot be asked, nothing is said of them.
	code, out, errOut = invoke(t, "backend", "drain", "http://10.0.0.5", "--wait", "1ms")
	want(t, "unknown", code, exitFailed)
	want(t, "unknown", out, "http://10.0.0.5: 0 under way\nhttp://10.0.0.5 is drained\n")
	contains(t, "unknown", errOut, "redis does not answer")

	code, _, errOut = invoke(t, "backend", "drain", "http://10.0.0.2")
	want(t, "last", code, exitFailed)
	contains(t, "last", errOut, "it is the last one of a.test; --yes drains it all the same")
	code, out, _ = invoke(t, "backend", "drain", "http://10.0.0.2", "--yes")
	want(t, "yes", code, exitOK)
	want(t, "yes", out, "http://10.0.0.2 is drained\n")
	code, out, _ = invoke(t, "backend", "undrain", "http://10.0.0.1")
	want(t, "undrain", code, exitOK)
	want(t, "undrain", out, "http://10.0.0.1 gets requests again\n")

	code, _, errOut = invoke(t, "backend", "drain", "http://10.0.0.4")
	want(t, "behind", code, exitFailed)
	contains(t, "behind", errOut, "n3 does not act by it yet", "redis does not answer")
	code, _, errOut = invoke(t, "backend", "drain", "http://10.0.0.9")
	want(t, "none", code, exitFailed)
	contains(t, "none", errOut, "no vhost names it")
	code, _, errOut = invoke(t, "backend", "drain", "10.0.0.1:80")
	want(t, "bad", code, exitFailed)
	contains(t, "bad", errOut, "want http://host:port")
	for _, args := range [][]string{{"drain"}, {"drain", "a", "b"}, {"drain", "http://a", "--wait", "-1s"}, {"drain", "http://a", "--tenant", ""}, {"list", "a", "b"}, {}} {
		code, _, _ = invoke(t, append([]string{"backend"}, args...)...)
		want(t, fmt.Sprint(args), code, exitUsage)
	}
}
