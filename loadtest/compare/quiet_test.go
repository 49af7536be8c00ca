package main

import (
	"slices"
	"strings"
	"testing"
)

func TestParseTimes(t *testing.T) {
	const before = "cpu  100 0 50 800 50 0 0 0 0 0\ncpu0 1 2 3\n"
	const after = "cpu  150 10 60 820 60 5 5 40 30 0\ncpu0 1 2 3\n" // 150 ticks later, 30 of them idle
	a, err := parseTimes(before)
	if err != nil || a != (times{idle: 850, total: 1000}) {
		t.Fatalf("got %+v, %v", a, err)
	}
	b, err := parseTimes(after)
	if err != nil {
		t.Fatal(err)
	}
	if got := b.busySince(a); got != 80 {
		t.Errorf("busy %v %%, want 80", got)
	}
	if got := a.busySince(a); got != 0 {
		t.Errorf("within no time: %v %%", got)
	}
	for _, bad := range []string{"", "cpu 1 2 3", "intr 1 2 3 4 5 6 7 8 9", "cpu 1 2 3 4 x 6 7 8"} {
		if got, err := parseTimes(bad); err == nil {
			t.Errorf("%q: got %+v", bad, got)
		}
	}
	if _, err := processorTimes(); err != nil {
		t.Errorf("the kernel that runs here: %v", err)
	}
}

func TestParseLoad(t *testing.T) {
	if got, err := parseLoad("0.52 1.30 0.90 2/345 6789\n"); err != nil || !slices.Equal(got, []float64{0.52, 1.3, 0.9}) {
		t.Errorf("got %v, %v", got, err)
	}
	for _, bad := range []string{"", "0.5 0.4", "a b c"} {
		if got, err := parseLoad(bad); err == nil {
			t.Errorf("%q: got %v", bad, got)
		}
	}
}

// TestABusyMachineIsNamed on the terminal and in the notes; a quiet one is not.
func TestABusyMachineIsNamed(t *testing.T) {
	var said strings.Builder
	w := watch{stderr: &said}
	w.note(0, mostBusy, nil)
	if said.Len() > 0 || len(w.notes()) > 0 {
		t.Errorf("quiet: %q, %q", said.String(), w.notes())
	}
	w.note(1, 35.4, []float64{1, 2, 3})
	if !strings.Contains(said.String(), "warning: the machine is 35 % busy before round 2") || !strings.Contains(said.String(), "load average 1.00 2.00 3.00") {
		t.Errorf("said %q", said.String())
	}
	if n := w.notes(); len(n) != 1 || !strings.HasPrefix(n[0], "the machine was 35 % busy before round 2") {
		t.Errorf("noted %q", n)
	}
	if w.keep(1); len(w.busy) != 1 || len(w.notes()) != 0 {
		t.Errorf("of the first round alone: %v, %q", w.busy, w.notes())
	}
}

func TestTheMethodIsStated(t *testing.T) {
	o, err := parseOptions(nil, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOGC", "50")
	var all []string
	for _, f := range o.method(t.Context(), &watch{load: []float64{0.25, 0, 0}, busy: []float64{2, 7}}) {
		all = append(all, f.Name+": "+f.Text)
	}
	text := strings.Join(all, "\n")
	for _, want := range []string{
		"pinned to CPU 0; load and origin pinned to CPU 1", "3 planned", "4 s of load", "connections: 64",
		"access log and metrics on; each peer: access log on", "kernel: Linux ", "CPU: ", "load average: 0.25 0.00 0.00", "2 %, 7 %", "GOGC=50",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the method does not say %q:\n%s", want, text)
		}
	}
}
