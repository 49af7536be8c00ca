package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"gatehouse/loadtest/report"
)

// method says how a comparison was measured, so that its pages stand for themselves.
func (o *options) method(ctx context.Context, w *watch) []report.Fact {
	facts := []report.Fact{
		{Name: "placement", Text: fmt.Sprintf("one proxy at a time, pinned to CPU %d; load and origin pinned to CPU %d", peerCPU, loadCPU)},
		{Name: "rounds", Text: fmt.Sprintf("%d planned, each with every peer and scenario, peers begin in turn; %d s of load for each figure after %d s of warm-up; medians", o.rounds, o.seconds, warmup)},
		{Name: "connections", Text: fmt.Sprintf("%d; at most %d to a WAF; %d that do nothing but shake hands; %d idle ones", o.connections, wafConnections, handshakeConnections, idleConnections)},
		{Name: "TLS", Text: "1.3, one ECDSA P-256 certificate for all, session tickets; connections to the origin are kept; no compression"},
		{Name: "logs", Text: "gatehouse: access log and metrics on; each peer: access log on; all to files"},
		{Name: "figure", Text: "CPU time of all of a proxy's processes, divided by the answers; that of load and origin is not in it"},
		{Name: "load", Text: "wrk " + wrkVersion(ctx) + "; handshakes and HTTP/2 by gatehouse loadtest; origin: nginx " + versionOf(ctx, "nginx", "-v")},
	}
	return append(facts, surroundings(w)...)
}

// surroundings are the facts of the machine.
func surroundings(w *watch) []report.Fact {
	return []report.Fact{
		{Name: "CPU", Text: processors()},
		{Name: "kernel", Text: "Linux " + kernel()},
		{Name: "load average", Text: average(w.load) + " before the first round (1, 5, 15 minutes)"},
		{Name: "busy without us", Text: w.percents() + " before the rounds"},
		{Name: "Go programs", Text: "GOGC=" + gogc() + ", GOMAXPROCS=1"},
	}
}

// gogc returns what the Go programs that we start take from our environment.
func gogc() string {
	if value := os.Getenv("GOGC"); value != "" {
		return value
	}
	return "100"
}

// wrkVersion asks wrk, which calls being asked an error.
func wrkVersion(ctx context.Context) string {
	output, err := exec.CommandContext(ctx, "wrk", "-v").CombinedOutput()
	if v := firstVersion(string(output)); v != "" {
		return v
	}
	if err != nil {
		return "of unknown version"
	}
	return tail(string(output))
}

// machine says what the numbers were measured on.
func machine() string {
	return fmt.Sprintf("%s, Linux %s", processors(), kernel())
}

// processors returns their model and number.
func processors() string {
	model := "unknown CPU"
	info, err := os.ReadFile("/proc/cpuinfo")
	if err == nil {
		for line := range strings.Lines(string(info)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	cores := strings.Count("\n"+string(info), "\nprocessor")
	return fmt.Sprintf("%s, %d CPUs", model, cores)
}

func kernel() string {
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(release))
}

// commit names the tree that was built, as far as git or the binary knows.
func commit(ctx context.Context, o *options) string {
	output, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty").Output()
	if err != nil {
		return ownVersion(ctx, o)
	}
	return strings.TrimSpace(string(output))
}
