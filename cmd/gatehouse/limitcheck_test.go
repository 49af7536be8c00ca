package main

import (
	"reflect"
	"testing"
	"time"
)

func TestLimitsThatShutOutGoodClientsAreErrors(t *testing.T) {
	for _, tc := range []struct{ setting, message string }{
		{"header_bytes: 512", `limits.header_bytes: bad size "512": want 1KiB to 1MiB (each connection may hold a head in memory)`},
		{"header_bytes: 2MiB", `limits.header_bytes: bad size "2MiB": want 1KiB to 1MiB`},
		{"target_bytes: 100", `limits.target_bytes: bad size "100": want 256 to 1MiB`},
		{"target_bytes: 0", `limits.target_bytes: bad size "0": want 256 to 1MiB; there is no "off"`},
		{"header_fields: 5", `limits.header_fields: bad number "5": want 10 to 10000 (browsers send 10 and more)`},
		{"header_fields: -1", `limits.header_fields: bad number "-1": want 10 to 10000`},
		{"header_fields: 10001", `limits.header_fields: bad number "10001": want 10 to 10000`},
		{"connections: -1", `limits.connections: bad number "-1": want 0 (by the descriptor limit) or more`},
		{"connections_per_ip: -5", `limits.connections_per_ip: bad number "-5": want 0 (no bound) or more`},
		{"keepalive_requests: -5", `limits.keepalive_requests: bad number "-5": want 0 (no bound) or more`},
		{"handshakes_per_ip: -5", `limits.handshakes_per_ip: bad number "-5": want 0 (no bound) to 1000000 (a second)`},
		{"handshake_timeout: 10ms", `limits.handshake_timeout: bad duration "10ms": want 1s to 5m`},
		{"header_timeout: 0s", `limits.header_timeout: bad duration "0s": want 1s to 5m; there is no "off"`},
		{"header_timeout: 1h", `limits.header_timeout: bad duration "1h": want 1s to 5m`},
		{"idle_timeout: 2d", `limits.idle_timeout: bad duration "2d": want 1s to 1d`},
		{"idle_timeout: 0s", `limits.idle_timeout: bad duration "0s": want 1s to 1d; there is no "off"`},
		{"stall_timeout: 100ms", `limits.stall_timeout: bad duration "100ms": want 1s to 1h`},
		{"connection_age: 10ms", `limits.connection_age: bad duration "10ms": want 0s (no bound), 1s or more`},
		{"min_rate: 1GiB", `limits.min_rate: bad size "1GiB": want 0 (no bound) to 1MiB`},
		{"tenant_concurrency: -1", `limits.tenant_concurrency: bad number "-1": want 0 (no bound) to 1000000`},
		{"queue_timeout: 0s", `limits.queue_timeout: bad duration "0s": want 100ms to 5m`},
		{"response_header_bytes: 1KiB", `limits.response_header_bytes: bad size "1KiB": want 4KiB to 1MiB`},
		{"response_header_fields: 3", `limits.response_header_fields: bad number "3": want 20 to 10000`},
		{"drain_grace: 2d", `limits.drain_grace: bad duration "2d": want 1s to 1d`},
		{"drain_accept: 1h", `limits.drain_accept: bad duration "1h": want 0s (not at all) to 10m`},
		{"header_timeout: 10", "limits.header_timeout: bad duration"},
	} {
		_, problems := load(t, "limits: {"+tc.setting+"}\n", nil, nil)
		contains(t, tc.setting, problems.Error(), tc.message)
	}
	_, problems := load(t, "limits: {drain_accept: 0s, drain_grace: 1s, header_timeout: 1s, connection_age: 0s, min_rate: 0, connections: 10}\n", nil, nil)
	want(t, "at the bounds", len(problems), 0)
}

// Two settings that contradict each other are one problem, at the one that was
// written.
func TestTargetAndHeadContradictWhereItWasWritten(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"{header_bytes: 4KiB}", "1:24: limits.header_bytes: smaller than limits.target_bytes (8KiB by default): lower that too"},
		{"{target_bytes: 64KiB}", "1:24: limits.target_bytes: larger than limits.header_bytes (32KiB by default): raise that too"},
		{"{target_bytes: 5KiB, header_bytes: 4KiB}", "1:24: limits.target_bytes: larger than limits.header_bytes (4KiB)"},
	} {
		_, problems := load(t, "limits: "+tc.text+"\n", nil, nil)
		contains(t, tc.text, problems.Error(), tc.want)
		want(t, tc.text, len(problems), 1)
	}
	_, problems := load(t, "", []string{"GATEHOUSE_LIMITS_HEADER_BYTES=4KiB"}, nil)
	contains(t, "variable", problems.Error(), "GATEHOUSE_LIMITS_HEADER_BYTES: smaller than limits.target_bytes")
	_, problems = load(t, "limits: {header_bytes: 4KiB, target_bytes: 4KiB}\n", nil, nil)
	want(t, "both lowered", len(problems), 0)
}

// Without a network to believe, every client could say where it comes from.
func TestProxyProtocolNeedsTrustedProxies(t *testing.T) {
	_, problems := load(t, "proxy_protocol: true\n", nil, nil)
	contains(t, "nobody trusted", problems.Error(), "proxy_protocol: trusted_proxies is empty: name the networks whose PROXY headers are believed")
	_, problems = load(t, "trusted_proxies: [10.0.0.0/8]\nproxy_protocol: true\n", nil, nil)
	want(t, "somebody trusted", len(problems), 0)
	_, problems = load(t, "", []string{"GATEHOUSE_TRUSTED_PROXIES=10.0.0.0/8"}, map[string]string{"proxy_protocol": "true"})
	want(t, "by variable and flag", len(problems), 0)
}

// A limit that the edge has and no setting reaches would be no setting; two
// that are mixed up would bound the wrong thing.
func TestEveryLimitReachesTheEdge(t *testing.T) {
	var l Limits
	v := reflect.ValueOf(&l).Elem()
	for i := range v.NumField() {
		v.Field(i).SetInt(int64(i + 1)) // all different
	}
	got := reflect.ValueOf(edgeLimits(&l))
	seen := map[int64]string{}
	for f, value := range got.Fields() {
		n := value.Int()
		if n < 1 {
			t.Errorf("%s is %d: no setting reaches it", f.Name, n)
		}
		if other, twice := seen[n]; twice {
			t.Errorf("%s and %s come from one setting", f.Name, other)
		}
		seen[n] = f.Name
	}
	want(t, "limits", len(seen), v.NumField())
	want(t, "connection age", edgeLimits(&l).ConnectionAge, time.Duration(l.ConnectionAge))
	want(t, "header time", edgeLimits(&l).HeaderTime, time.Duration(l.HeaderTimeout))
	want(t, "grace", edgeLimits(&l).DrainGrace, time.Duration(l.DrainGrace))
}

func TestZeroMeansNoneAndDefaultsAreTheEdges(t *testing.T) {
	none := edgeLimits(&Limits{})
	for name, n := range map[string]int64{
		"body": none.Body, "per address": int64(none.ConnectionsPerIP), "requests": int64(none.KeepAliveRequests),
		"age": int64(none.ConnectionAge), "rate": int64(none.MinRate), "accept": int64(none.DrainAccept),
	} {
		if n >= 0 {
			t.Errorf("%s: 0 became %d, which is the default", name, n)
		}
	}
	want(t, "connections", none.Connections, 0) // which the edge takes from the machine
	c := defaultLimits()
	want(t, "stall", edgeLimits(&c).Stall, 30*time.Second)
}
