package main

import (
	"fmt"
	"time"

	"gatehouse/routes"
)

// checkLimits reports limits that would shut out good clients or bound nothing.
func (l *loader) checkLimits() {
	c := l.cfg.Limits
	l.atLeast("cache.memory", int64(l.cfg.Cache.Memory), 1<<20, "the cache takes at least 1MiB; it is turned off per vhost")
	l.atLeast("limits.header_bytes", int64(c.HeaderBytes), 1<<10, "the head of a request takes at least 1KiB")
	l.atMost("limits.header_bytes", int64(c.HeaderBytes), 1<<20, "each connection may hold a head in memory: want 1MiB at most")
	l.atLeast("limits.target_bytes", int64(c.TargetBytes), 256, "a request target takes at least 256 bytes")
	l.atLeast("limits.header_fields", int64(c.HeaderFields), 10, "browsers send 10 header fields and more")
	l.atMost("limits.header_fields", int64(c.HeaderFields), 10_000, "want 10000 at most")
	l.atLeast("limits.connections", int64(c.Connections), 0, "want 0 (what the descriptor limit leaves) or more")
	l.atLeast("limits.connections_per_ip", int64(c.ConnectionsPerIP), 0, "want 0 (no bound) or more")
	l.atLeast("limits.keepalive_requests", int64(c.KeepaliveRequests), 0, "want 0 (no bound) or more")
	l.atLeast("limits.response_header_bytes", int64(c.ResponseHeaderBytes), 4<<10, "the head of an answer takes at least 4KiB")
	l.atMost("limits.response_header_bytes", int64(c.ResponseHeaderBytes), 1<<20, "each request may hold a head in memory: want 1MiB at most")
	l.atLeast("limits.response_header_fields", int64(c.ResponseHeaderFields), 20, "answers have 20 header fields and more")
	l.atMost("limits.response_header_fields", int64(c.ResponseHeaderFields), 10_000, "want 10000 at most")
	if c.TargetBytes > c.HeaderBytes {
		l.fail("limits.target_bytes", "longer than the whole head may be (limits.header_bytes)", "")
	}
	l.checkTimes()
}

// checkTimes reports times in which no good client gets done, or which hold a
// bad one for ever.
func (l *loader) checkTimes() {
	c := l.cfg.Limits
	for _, b := range []struct {
		path        string
		value       routes.Duration
		least, most time.Duration
	}{
		{"limits.handshake_timeout", c.HandshakeTimeout, time.Second, 5 * time.Minute},
		{"limits.header_timeout", c.HeaderTimeout, time.Second, 5 * time.Minute},
		{"limits.idle_timeout", c.IdleTimeout, time.Second, 24 * time.Hour},
		{"limits.stall_timeout", c.StallTimeout, time.Second, time.Hour},
		{"limits.drain_accept", c.DrainAccept, 0, 10 * time.Minute},
		{"limits.drain_grace", c.DrainGrace, time.Second, 24 * time.Hour},
	} {
		if d := time.Duration(b.value); d < b.least || d > b.most {
			l.fail(b.path, fmt.Sprintf("bad duration %q: want %s to %s", b.value.String(), routes.Duration(b.least), routes.Duration(b.most)), "")
		}
	}
	if age := time.Duration(c.ConnectionAge); age > 0 && age < time.Second {
		l.fail("limits.connection_age", fmt.Sprintf("bad duration %q: want 1s or more, or 0s for no bound", c.ConnectionAge.String()), "")
	}
	l.atMost("limits.min_rate", int64(c.MinRate), 1<<20, "clients on slow networks would be cut: want 1MiB (per second) at most")
}

// checkProxyProtocol refuses PROXY headers that nobody could be believed for.
func (l *loader) checkProxyProtocol() {
	if l.cfg.ProxyProtocol && len(l.cfg.TrustedProxies) == 0 {
		l.fail("proxy_protocol", "trusted_proxies is empty: name the networks whose PROXY headers are believed", "")
	}
}

func (l *loader) atLeast(path string, value, least int64, reason string) {
	if value < least {
		l.fail(path, reason, "")
	}
}

func (l *loader) atMost(path string, value, most int64, reason string) {
	if value > most {
		l.fail(path, reason, "")
	}
}
