package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

// flatOf is a result of vhosts and cache hits alone.
func flatOf(t *testing.T, few, many []float64) *flatResult {
	t.Helper()
	o, err := parseOptions([]string{"--flat", "--only", "vhosts", "--scenarios", "hit"}, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	r := newFlatResult(t.Context(), &o)
	if len(r.Series) != 1 || len(r.LeftOut) != 3 {
		t.Fatalf("of one choice: %+v, left out %q", r.Series, r.LeftOut)
	}
	r.Series[0].FewUS, r.Series[0].ManyUS = few, many
	return r
}

func TestFlatResult(t *testing.T) {
	r := flatOf(t, []float64{10, 12, 11, 10, 12}, []float64{12, 12, 13, 14, 12})
	r.finish(5, 5)
	s := r.Series[0]
	if math.Abs(s.Change-100.0/11) > 1e-9 { // 12 after 11
		t.Errorf("the medians change by %v %%", s.Change)
	}
	if s.Changes.Min != 0 || math.Abs(s.Changes.Max-40) > 1e-9 || math.Abs(s.Changes.Median-200.0/11) > 1e-9 {
		t.Errorf("got %+v", s.Changes)
	}
}

func TestFlatVerdict(t *testing.T) {
	for _, tt := range []struct {
		name   string
		rounds int
		many   float64
		says   string
		fault  string // of a check
	}{
		{"met", 10, 10.99, "+9.9 %, at most 10 %: met", ""},
		{"missed", 10, 11.05, "+10.5 %, at most 10 %: missed", "missed: cache hit: from 1 to 10000 vhosts a request costs 10.5 % more"},
		{"too few rounds", 9, 10, "+0.0 %, at most 10 %: not judged: 9 rounds, and a verdict needs 10", "not judged: cache hit, vhosts: 9 rounds"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := flatOf(t, slices.Repeat([]float64{10}, 10), slices.Repeat([]float64{tt.many}, 10))
			r.finish(tt.rounds, 10)
			var text strings.Builder
			if err := r.print(&text); err != nil {
				t.Fatal(err)
			}
			want := []string{tt.says, "pass-through, tenants: left out by choice, not judged", "make bench-flat ROUNDS=10 SECONDS=2 SCENARIOS=hit ONLY=vhosts"}
			if tt.rounds < 10 {
				want = append(want, "interrupted after round 9 of 10")
			}
			for _, part := range want {
				if !strings.Contains(text.String(), part) {
					t.Errorf("the text does not say %q:\n%s", part, text.String())
				}
			}
			if err := r.verdict(false); err != nil {
				t.Errorf("nobody checks: %v", err)
			}
			if err := r.verdict(true); err == nil != (tt.fault == "") || err != nil && !strings.Contains(err.Error(), tt.fault) {
				t.Errorf("got %v, want %q", err, tt.fault)
			}
		})
	}
}

// TestTheYardstickIsNotJudged: what nginx grows by is printed, and no promise of ours.
func TestTheYardstickIsNotJudged(t *testing.T) {
	r := flatOf(t, slices.Repeat([]float64{10}, 10), slices.Repeat([]float64{10}, 10))
	beside := r.Series[0]
	beside.Server, beside.ManyUS = "nginx", slices.Repeat([]float64{20}, 10)
	r.Series = append(r.Series, beside)
	r.finish(10, 10)
	var text strings.Builder
	if err := r.print(&text); err != nil {
		t.Fatal(err)
	}
	if want := "nginx: cache hit, vhosts\n"; !strings.Contains(text.String(), want) || !strings.Contains(text.String(), "change of the median +100.0 %; by rounds") {
		t.Errorf("the text does not say %q and its growth without a verdict:\n%s", want, text.String())
	}
	if err := r.verdict(true); err != nil {
		t.Errorf("got %v", err)
	}
}

// TestNginxHasAServerForEachVhost: and connections of its own for each tenant, as ours.
func TestNginxHasAServerForEachVhost(t *testing.T) {
	text, err := render("flat.nginx.conf", flatNginx(flatCase{vhosts: 7, tenants: 3}, testSettings(t)))
	if err != nil {
		t.Fatal(err)
	}
	for part, want := range map[string]int{"server_name ": 7, "upstream ": 3, "proxy_pass http://tenant00000;": 3, "proxy_pass http://tenant00002;": 2} {
		if n := strings.Count(string(text), part); n != want {
			t.Errorf("%q stands there %d times, want %d", part, n, want)
		}
	}
}

// TestTheFlatPromiseIsAboutMany: a few vhosts that cost nothing keep no promise.
func TestTheFlatPromiseIsAboutMany(t *testing.T) {
	r := flatOf(t, slices.Repeat([]float64{10}, 10), slices.Repeat([]float64{10}, 10))
	r.Series[0].Many = 50
	r.finish(10, 10)
	if err := r.verdict(true); err == nil || !strings.Contains(err.Error(), "not judged: cache hit, vhosts: the promise is about 10000 vhosts, and there were 50") {
		t.Errorf("got %v", err)
	}
}

// TestAFlatRoundThatWasNotFinished: the side that was measured last has one more.
func TestAFlatRoundThatWasNotFinished(t *testing.T) {
	r := flatOf(t, []float64{10, 10, 99}, []float64{11, 11})
	r.finish(2, 3)
	if s := r.Series[0]; len(s.FewUS) != 2 || len(s.ManyUS) != 2 || s.Changes.Max > 10.1 || r.Planned != 3 {
		t.Errorf("got %+v", r)
	}
}

// A slowMachine answers so many requests in each run of wrk, and has a cache.
type slowMachine struct {
	perRun int
	total  int
	cached map[int]bool
	runs   int
}

// wrk does what the script says, of which it only looks at the beginning.
func (m *slowMachine) wrk(_ context.Context, script string, _ int) (tally, int64, error) {
	var first int
	if _, err := fmt.Sscanf(script, "local requests, next = {}, %d", &first); err != nil {
		return tally{}, 0, err
	}
	first++ // of which wrk sends the first to nobody
	var missed int64
	for i := range m.perRun {
		if n := (first + i) % m.total; !m.cached[n] {
			m.cached[n] = true
			missed++
		}
	}
	m.runs++
	return tally{requests: int64(m.perRun), duration: 1, bytes: int64(m.perRun) * 2000}, missed, nil
}

// TestTheWarmUpGoesRoundAllHosts, also where one run of wrk does not.
func TestTheWarmUpGoesRoundAllHosts(t *testing.T) {
	for _, perRun := range []int{300, 999, 1000, 2500} {
		m := &slowMachine{perRun: perRun, total: 1000, cached: map[int]bool{}}
		f := &flatTour{load: flatLoads[1], vhosts: 1000, requests: 1000}
		if err := f.warm(t.Context(), m.wrk); err != nil {
			t.Errorf("%d in each run: %v", perRun, err)
		}
		if len(m.cached) != 1000 {
			t.Errorf("%d in each run: %d of 1000 are in the cache", perRun, len(m.cached))
		}
		if _, reached, err := f.run(t.Context(), m.wrk, 1); err != nil || reached != 0 {
			t.Errorf("%d in each run: after the warm-up %d missed, %v", perRun, reached, err)
		}
	}
	never := &slowMachine{perRun: 10, total: 1000, cached: map[int]bool{}}
	if err := (&flatTour{load: flatLoads[1], vhosts: 1000, requests: 1000}).warm(t.Context(), never.wrk); err == nil || !strings.Contains(err.Error(), "too slow") {
		t.Errorf("a machine that never gets round: %v", err)
	}
	broken := func(context.Context, string, int) (tally, int64, error) { return tally{}, 0, errors.New("no wrk") }
	if err := (&flatTour{load: flatLoads[0], vhosts: 1, requests: 1}).warm(t.Context(), broken); err == nil {
		t.Error("wrk that fails warms nothing")
	}
}
