package main

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"gatehouse/loadtest"
)

// An idle rule names flags that change nothing when it holds, and why.
type idle struct {
	holds bool
	why   string
	flags []string
}

// refuseIdle refuses flags that are given and change nothing: whoever gives them takes
// the result for that of another load.
func (f *loadFlags) refuseIdle(cmd *cobra.Command) error {
	p := &f.plan
	secure := slices.ContainsFunc(p.Targets, func(t loadtest.Target) bool { return strings.HasPrefix(t.URL, "https://") })
	for _, rule := range []idle{
		{!secure, "no URL begins with https://", []string{"tls", "curve", "ca", "insecure"}},
		{p.Handshakes, "--handshakes sends no request", []string{"method", "header", "data", "expect", "no-keepalive"}},
		{p.HTTP != "2", "only HTTP/2 has streams (--http 2)", []string{"streams"}},
		{p.Handshakes || p.NoKeepAlive, "each connection has one request at most", []string{"streams"}},
		{p.Insecure, "--insecure takes any certificate", []string{"ca"}},
	} {
		if !rule.holds {
			continue
		}
		for _, name := range rule.flags {
			if flag := cmd.Flags().Lookup(name); flag.Changed && flag.Value.String() != "false" {
				return usagef("--%s has no effect: %s", name, rule.why)
			}
		}
	}
	if planned := p.Rate * p.Duration.Seconds(); p.Rate > 0 && float64(p.Requests) > planned {
		return usagef("--requests has no effect: --rate %s plans %.0f requests in %v, so give --duration more time", f.rate, planned, p.Duration)
	}
	return nil
}

// refuseBareHandshakes: connecting to http:// alone is no handshake, and would be counted as
// one.
func (f *loadFlags) refuseBareHandshakes(*cobra.Command) error {
	for _, t := range f.plan.Targets {
		if f.plan.Handshakes && strings.HasPrefix(t.URL, "http://") {
			return usagef("--handshakes: %s has none: want https://", t.URL)
		}
	}
	return nil
}

// lowerConnections takes no more clients than there are requests: the others would have
// nothing to send. It is said where they were asked for.
func (f *loadFlags) lowerConnections(cmd *cobra.Command) error {
	p := &f.plan
	if p.Requests <= 0 || p.Warmup > 0 || int64(p.Connections) <= p.Requests {
		return nil
	}
	if cmd.Flags().Changed("connections") {
		fmt.Fprintf(cmd.ErrOrStderr(), "note: %d requests have no use for --connections %d: %[1]d are opened\n", p.Requests, p.Connections)
	}
	p.Connections = int(p.Requests)
	return nil
}

// checkPorts finds ports that there are not; what else is wrong with addresses the plan
// finds itself.
func (f *loadFlags) checkPorts(*cobra.Command) error {
	if f.plan.Connect != "" {
		host, port, err := net.SplitHostPort(f.plan.Connect)
		if err != nil || host == "" || !isPort(port) {
			return usagef("--connect %s: want HOST:PORT, such as 127.0.0.1:8443", f.plan.Connect)
		}
	}
	for _, t := range f.plan.Targets {
		_, rest, _ := strings.Cut(t.URL, "://")
		authority := rest
		if i := strings.IndexAny(rest, "/?#"); i >= 0 {
			authority = rest[:i]
		}
		u, err := url.Parse("//" + strings.ReplaceAll(authority, "{host}", "host"))
		if err == nil && u.Port() != "" && !isPort(u.Port()) {
			return usagef("%s: want a port from 1 to 65535", t.URL)
		}
	}
	return nil
}

func isPort(text string) bool {
	n, err := strconv.ParseUint(text, 10, 16)
	return err == nil && n > 0
}
