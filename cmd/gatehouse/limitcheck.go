package main

import (
	"fmt"
	"strconv"
	"time"

	"gatehouse/routes"
)

// A bound is the range of one setting: below it good clients are shut out, above
// it nothing is bounded.
type bound struct {
	path, kind  string
	value       int64
	least, most int64 // most 0: there is none
	show        func(int64) string
	zero        string // what 0 means, which is allowed then; "": it is no value
	why         string // what the range is for, where that is not plain
}

// allowed is the range in words, as messages and docs/security.md have it.
func (b bound) allowed() string {
	least, to := b.show(b.least), " or more"
	if b.most > 0 {
		to = " to " + b.show(b.most)
	}
	switch {
	case b.zero == "":
		return least + to
	case b.least == 0:
		return least + " (" + b.zero + ")" + to
	}
	return b.show(0) + " (" + b.zero + "), " + least + to
}

// problem says what is wrong with the value; "": nothing.
func (b bound) problem() string {
	if b.value == 0 && b.zero != "" || b.value >= b.least && (b.most == 0 || b.value <= b.most) {
		return ""
	}
	text := fmt.Sprintf("bad %s %q: want %s", b.kind, b.show(b.value), b.allowed())
	if b.why != "" {
		text += " (" + b.why + ")"
	}
	if b.value == 0 {
		text += `; there is no "off"`
	}
	return text
}

// bounds are the ranges of c's settings that have one.
func bounds(c *Config) []bound {
	l := &c.Limits
	size := func(path string, value routes.Size, least, most int64, zero, why string) bound {
		return bound{path, "size", int64(value), least, most, func(n int64) string { return routes.Size(n).String() }, zero, why}
	}
	count := func(path string, value int, least, most int64, zero, why string) bound {
		return bound{path, "number", int64(value), least, most, func(n int64) string { return strconv.FormatInt(n, 10) }, zero, why}
	}
	span := func(path string, value routes.Duration, least, most time.Duration, zero string) bound {
		return bound{path, "duration", int64(value), int64(least), int64(most), func(n int64) string { return routes.Duration(n).String() }, zero, ""}
	}
	const day = 24 * time.Hour
	return []bound{
		size("cache.memory", c.Cache.Memory, 1<<20, 1<<40, "", "the cache is turned on and off per vhost"),
		span("addresses.refresh", c.Addresses.Refresh, time.Minute, 7*day, ""),
		count("waf.shadow", c.WAF.Shadow, 0, 0, "none", "one of so many requests"),
		size("limits.header_bytes", l.HeaderBytes, 1<<10, 1<<20, "", "each connection may hold a head in memory"),
		size("limits.target_bytes", l.TargetBytes, 256, 1<<20, "", ""),
		count("limits.header_fields", l.HeaderFields, 10, 10_000, "", "browsers send 10 and more"),
		size("limits.body_bytes", l.BodyBytes, 0, 0, "no bound", ""),
		count("limits.connections", l.Connections, 0, 0, "by the descriptor limit", ""),
		count("limits.connections_per_ip", l.ConnectionsPerIP, 0, 0, "no bound", ""),
		count("limits.handshakes_per_ip", l.HandshakesPerIP, 0, 1_000_000, "no bound", "a second"),
		count("limits.keepalive_requests", l.KeepaliveRequests, 0, 0, "no bound", ""),
		span("limits.connection_age", l.ConnectionAge, time.Second, 0, "no bound"),
		span("limits.idle_timeout", l.IdleTimeout, time.Second, day, ""),
		span("limits.handshake_timeout", l.HandshakeTimeout, time.Second, 5*time.Minute, ""),
		span("limits.header_timeout", l.HeaderTimeout, time.Second, 5*time.Minute, ""),
		span("limits.stall_timeout", l.StallTimeout, time.Second, time.Hour, ""),
		size("limits.min_rate", l.MinRate, 0, 1<<20, "no bound", "a second; more would cut clients on slow networks"),
		count("limits.tenant_concurrency", l.TenantConcurrency, 0, 1_000_000, "no bound", "at a time"),
		count("limits.tenant_queue", l.TenantQueue, 0, 100_000, "none", "each holds a client's connection"),
		span("limits.queue_timeout", l.QueueTimeout, 100*time.Millisecond, 5*time.Minute, ""),
		size("limits.response_header_bytes", l.ResponseHeaderBytes, 4<<10, 1<<20, "", "each request may hold an answer's head in memory"),
		count("limits.response_header_fields", l.ResponseHeaderFields, 20, 10_000, "", "answers have 20 and more"),
		span("limits.drain_accept", l.DrainAccept, 0, 10*time.Minute, "not at all"),
		span("limits.drain_grace", l.DrainGrace, time.Second, day, ""),
	}
}

// checkLimits reports values beyond their range, and two that contradict each
// other.
func (l *loader) checkLimits() {
	bad := map[string]bool{}
	for _, b := range bounds(l.cfg) {
		if text := b.problem(); text != "" {
			l.fail(b.path, text, "")
			bad[b.path] = true
		}
	}
	if !bad["limits.header_bytes"] && !bad["limits.target_bytes"] {
		l.checkTarget()
	}
}

// checkTarget reports a target that the head has no room for, where it was
// written: a default is nobody's slip.
func (l *loader) checkTarget() {
	c, usual := l.cfg.Limits, defaultLimits()
	switch {
	case c.TargetBytes <= c.HeaderBytes:
	case c.TargetBytes == usual.TargetBytes:
		l.fail("limits.header_bytes", fmt.Sprintf("smaller than limits.target_bytes (%s by default): lower that too", c.TargetBytes), "")
	case c.HeaderBytes == usual.HeaderBytes:
		l.fail("limits.target_bytes", fmt.Sprintf("larger than limits.header_bytes (%s by default): raise that too", c.HeaderBytes), "")
	default:
		l.fail("limits.target_bytes", fmt.Sprintf("larger than limits.header_bytes (%s)", c.HeaderBytes), "")
	}
}

// checkProxyProtocol refuses PROXY headers that nobody could be believed for.
func (l *loader) checkProxyProtocol() {
	if l.cfg.ProxyProtocol && len(l.cfg.TrustedProxies) == 0 {
		l.fail("proxy_protocol", "trusted_proxies is empty: name the networks whose PROXY headers are believed", "")
	}
}
