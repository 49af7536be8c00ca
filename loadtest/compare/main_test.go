package main

import (
	"errors"
	"flag"
	"io"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestOptions(t *testing.T) {
	tests := []struct {
		name string
		line string
		want string // rounds, seconds, peers, scenarios; or part of what is said of a wrong line
		bad  bool
	}{
		{name: "defaults", line: "", want: "3 4 " + nameList(allPeers) + " " + nameList(allScenarios)},
		{name: "defaults of flat", line: "--flat", want: "10 2  "},
		{name: "chosen, in the order of the table", line: "--rounds 5 --seconds 1 --peers nginx,gatehouse --scenarios hit1k,pass1k", want: "5 1 gatehouse,nginx pass1k,hit1k"},
		{name: "unknown peer", line: "--peers nginx,apache", want: "no \"apache\"; there are gatehouse,", bad: true},
		{name: "unknown scenario", line: "--scenarios pass2k", want: "no \"pass2k\"; there are pass1k,", bad: true},
		{name: "out of bounds", line: "--rounds 1000", want: "--rounds 1000: want 1 to 100", bad: true},
		{name: "no rounds", line: "--rounds 0", want: "--rounds 0: want 1 to 100", bad: true},
		{name: "rounds below none", line: "--rounds -2", want: "--rounds -2: want 1 to 100", bad: true},
		{name: "no seconds", line: "--seconds 0", want: "--seconds 0: want 1 to 60", bad: true},
		{name: "rounds that are no number", line: "--rounds many", want: "invalid value", bad: true},
		{name: "an empty name", line: "--peers nginx,", want: "no \"\"; there are gatehouse,", bad: true},
		{name: "a verdict on two rounds", line: "--check --rounds 2", want: "--rounds 2: want 3 to 100, since --check gives a verdict", bad: true},
		{name: "a verdict on nothing", line: "--check --scenarios idle", want: "nothing would be judged", bad: true},
		{name: "a verdict without us", line: "--check --peers nginx,caddy", want: "nothing would be judged", bad: true},
		{name: "scenarios of flat", line: "--flat --scenarios pass1k", want: "no \"pass1k\"; there are pass,hit", bad: true},
		{name: "only what", line: "--flat --only sites", want: "no \"sites\"; there are vhosts,tenants", bad: true},
		{name: "only without flat", line: "--only vhosts", want: "--only goes with --flat", bad: true},
		{name: "peers of flat", line: "--flat --peers nginx", want: "--flat measures gatehouse alone", bad: true},
		{name: "a list with spaces", line: "--peers nginx, haproxy", want: "what is \"haproxy\"?", bad: true},
		{name: "an empty choice of scenarios", line: "--scenarios=", want: "--scenarios: it is empty; leave it out for all", bad: true},
		{name: "an empty choice of pairs", line: "--flat --only=", want: "--only: it is empty", bad: true},
		{name: "unknown flag", line: "--round 3", want: "not defined", bad: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var said strings.Builder
			o, err := parseOptions(strings.Fields(tt.line), &said)
			if tt.bad {
				if !errors.Is(err, errUsage) || !strings.Contains(said.String(), tt.want) {
					t.Fatalf("got %v, said %q; want a usage error that says %q", err, said.String(), tt.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join([]string{itoa(o.rounds), itoa(o.seconds), nameList(o.peers), nameList(o.scenarios)}, " "); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
	if _, err := parseOptions([]string{"-h"}, io.Discard); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("-h: %v", err)
	}
}

func itoa(n int) string { return strings.TrimSuffix(seconds(n), "s") }

// TestAMissingToolIsNamed: a run without wrk must not begin.
func TestAMissingToolIsNamed(t *testing.T) {
	err := requireTools("sh", "no-such-tool")
	if err == nil || !strings.Contains(err.Error(), "no-such-tool") || strings.Contains(err.Error(), "sh,") || !strings.Contains(err.Error(), "make bench-deps") {
		t.Errorf("got %v", err)
	}
}

func TestAPeerThatIsNotInstalled(t *testing.T) {
	o := options{peers: []peer{{name: "here"}, {name: "away", programs: []string{"no-such-proxy"}}}}
	peers, notes, err := o.installed()
	if err != nil || nameList(peers) != "here" || len(notes) != 1 || !strings.Contains(notes[0], "no-such-proxy") {
		t.Errorf("by default it is left out with a note: %v, %q, %v", nameList(peers), notes, err)
	}
	o.named = true
	if _, _, err := o.installed(); err == nil || !strings.Contains(err.Error(), "away") {
		t.Errorf("where it was named that is an error: %v", err)
	}
}

// TestScenarioNamesAreUnique: a name is a row, a flag's value and a target.
func TestScenarioNamesAreUnique(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range allScenarios {
		if seen[s.name] || s.title == "" {
			t.Errorf("scenario %q: twice, or without a title", s.name)
		}
		seen[s.name] = true
	}
	for _, target := range targets {
		if !seen[target.Scenario] || target.AtMostMB == 0 && !slices.ContainsFunc(allPeers, func(p peer) bool { return p.name == target.Peer }) {
			t.Errorf("target %q is of nothing that is measured", target.Text)
		}
	}
}

func TestWhoTakesPart(t *testing.T) {
	part := func(peerName string) []string {
		var out []string
		for _, p := range allPeers {
			for _, s := range allScenarios {
				if p.name == peerName && p.takesPart(s) {
					out = append(out, s.name)
				}
			}
		}
		return out
	}
	if got := part("gatehouse"); len(got) != len(allScenarios) {
		t.Errorf("gatehouse takes part in %v only", got)
	}
	for _, tt := range []struct {
		peer, in, out string
	}{
		{"nginx", "hit1k", "wafget"},
		{"caddy", "pass1k", "hit1k"},
		{"modsecurity", "wafjsonu", "pass1k"},
		{"modsecurity", "rss64", "idle"},
	} {
		if got := part(tt.peer); !slices.Contains(got, tt.in) || slices.Contains(got, tt.out) {
			t.Errorf("%s takes part in %v, want %s and not %s", tt.peer, got, tt.in, tt.out)
		}
	}
}
