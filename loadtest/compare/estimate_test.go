package main

import (
	"strings"
	"testing"
	"time"
)

func TestEstimate(t *testing.T) {
	o, err := parseOptions([]string{"--scenarios", "pass1k,idle", "--peers", "gatehouse,nginx,modsecurity"}, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	cells, about := o.roundTime(o.peers)
	// A look, two starts of each, a load of 1 + 4 s and idle connections; ModSecurity takes no part.
	want := lookTime + 2*(rulesTime+startTime) + 2*(setUp+5*time.Second) + 2*(setUp+idleOpen+6*time.Second)
	if cells != 4 || about != want {
		t.Errorf("%d figures in %v, want 4 in %v", cells, about, want)
	}
	flat, err := parseOptions([]string{"--flat", "--only", "vhosts"}, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	if cells, _ := flat.flatRoundTime(); cells != 6 {
		t.Errorf("--flat has %d figures in a round, want two loads and nginx, each on two sides", cells)
	}
}

// TestProgress: the rest is estimated by the rounds that are over.
func TestProgress(t *testing.T) {
	var said strings.Builder
	p := progress{stderr: &said, rounds: 3, cells: 20, about: 10 * time.Minute}
	begin := time.Date(2026, 3, 4, 15, 4, 0, 0, time.UTC)
	p.round(0, begin)
	if want := "3 rounds of 20 figures: about 30 min, until 15:34;"; !strings.HasPrefix(said.String(), want) {
		t.Errorf("got %q, want %q", said.String(), want)
	}
	said.Reset()
	p.round(2, begin.Add(24*time.Minute))
	if got, want := said.String(), "round 3 of 3: about 12 min left\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWords(t *testing.T) {
	for d, want := range map[time.Duration]string{
		45 * time.Second: "45 s", 10 * time.Minute: "10 min", 3 * time.Hour: "3.0 h", 0: "0 s",
	} {
		if got := words(d); got != want {
			t.Errorf("%v: got %q, want %q", d, got, want)
		}
	}
}
