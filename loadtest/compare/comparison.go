package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"gatehouse/loadtest/report"
)

// A comparing collects the samples of all rounds.
type comparing struct {
	options *options
	peers   []peer
	bed     *bed
	stderr  io.Writer
	cells   map[place]*cells
	notes   []string
	noted   map[string]bool
}

// A place is a cell of the table.
type place struct{ scenario, peer string }

// cells are one place's samples, one for each round.
type cells struct {
	samples []report.Sample
	good    []report.Sample // those without an error
}

// runComparison measures all peers and writes what it found.
func runComparison(ctx context.Context, o options, stdout, stderr io.Writer) (err error) {
	peers, notes, err := o.installed()
	if err != nil {
		return err
	}
	b, err := newBed(ctx, o.keep)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	if o.keep {
		fmt.Fprintln(stderr, "run folder:", b.dir)
	}
	m := &comparing{options: &o, peers: peers, bed: b, stderr: stderr, cells: map[place]*cells{}, notes: notes, noted: map[string]bool{}}
	for round := range o.rounds {
		for i := range peers { // each begins once, so that a drift of the machine favours nobody
			if err := m.measure(ctx, round, peers[(i+round)%len(peers)]); err != nil {
				return err
			}
		}
	}
	c := m.comparison(ctx)
	if err := o.write(c, stdout); err != nil {
		return err
	}
	return verdict(c, o.check)
}

// measure runs all scenarios of one round with one peer. Only what ends the whole
// comparison is returned.
func (m *comparing) measure(ctx context.Context, round int, p peer) error {
	var loads, idle []scenario
	for _, s := range m.options.scenarios {
		switch {
		case !p.takesPart(s):
		case s.kind == byIdleness:
			idle = append(idle, s)
		default:
			loads = append(loads, s)
		}
	}
	// Idle connections get a fresh process: what they take of memory is not seen in one
	// in which a load has left room, and what they leave would be seen in the loads.
	return errors.Join(m.sitting(ctx, round, p, loads), m.sitting(ctx, round, p, idle))
}

// sitting starts a peer, runs scenarios one after the other, and ends it.
func (m *comparing) sitting(ctx context.Context, round int, p peer, scenarios []scenario) error {
	if len(scenarios) == 0 || ctx.Err() != nil {
		return ctx.Err()
	}
	st, startErr := m.bed.open(ctx, p, m.options)
	for _, s := range scenarios {
		sample, err := report.Sample{}, startErr
		if err == nil {
			sample, err = st.cell(ctx, s)
		}
		if ctx.Err() != nil {
			break
		}
		m.note(round, p, s, sample, err)
	}
	if startErr == nil {
		if err := st.close(); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// note keeps a sample and says on the terminal how far the run is.
func (m *comparing) note(round int, p peer, s scenario, sample report.Sample, err error) {
	var why absence
	if errors.As(err, &why) {
		m.remark(fmt.Sprintf("%s %s: n/a: %s", s.name, p.name, why))
		return
	}
	at := place{s.name, p.name}
	c := m.cells[at]
	if c == nil {
		c = &cells{samples: make([]report.Sample, m.options.rounds)}
		m.cells[at] = c
	}
	line := fmt.Sprintf("round %d  %-11s %-10s", round+1, p.name, s.name)
	if err != nil {
		// No numbers of a run that went wrong: they would be compared.
		c.samples[round] = report.Sample{Errors: 1}
		m.remark(fmt.Sprintf("round %d, %s %s failed: %s", round+1, s.name, p.name, oneLine(err)))
		fmt.Fprintln(m.stderr, line, "failed:", oneLine(err))
		return
	}
	c.samples[round] = sample
	c.good = append(c.good, sample)
	fmt.Fprintf(m.stderr, "%s %9.1f µs (user %.1f, sys %.1f) %9.0f/s  rss %.0f MB\n", line, sample.CPU, sample.User, sample.Sys, sample.Rate, sample.RSS)
}

// remark adds a line below the table, once.
func (m *comparing) remark(text string) {
	if !m.noted[text] {
		m.noted[text] = true
		m.notes = append(m.notes, text)
	}
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// comparison puts together what was measured.
func (m *comparing) comparison(ctx context.Context) *report.Comparison {
	o := m.options
	c := &report.Comparison{
		Schema: 1, Date: time.Now().UTC().Truncate(time.Second), Machine: machine(), Commit: commit(ctx, o),
		Rounds: o.rounds, Seconds: o.seconds, Connections: o.connections, Command: o.command(nameList(m.peers)),
		Targets: chosenTargets(o.scenarios, m.peers),
	}
	for _, p := range m.peers {
		version := p.version(ctx, o)
		if p.settings != "" {
			version += ", " + p.settings
		}
		c.Peers = append(c.Peers, report.Peer{Name: p.name, Version: version})
	}
	for _, s := range o.scenarios {
		for _, p := range m.peers {
			found := m.cells[place{s.name, p.name}]
			if found == nil {
				continue
			}
			row := report.Row{Scenario: s.name, Title: s.title, Peer: p.name, Samples: found.samples, Median: report.MedianOf(found.good)}
			for _, sample := range found.samples {
				row.Median.Errors += sample.Errors
			}
			c.Rows = append(c.Rows, row)
			if s.kind == byIdleness && len(found.good) > 0 {
				m.remark(fmt.Sprintf("%s %s: %.1f KB of memory for each of %d connections; all together %.0f ms of CPU in %d s",
					s.name, p.name, row.Median.RSS*1000/idleConnections, idleConnections, row.Median.CPU*idleConnections/1000, idleSeconds))
			}
		}
	}
	c.Notes = append(m.notes, memoryVerdict(c)...)
	return c
}

// machine says what the numbers were measured on.
func machine() string {
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
	kernel, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		kernel = []byte("unknown")
	}
	return fmt.Sprintf("%s, %d CPUs, Linux %s", model, cores, strings.TrimSpace(string(kernel)))
}

// commit names the tree that was built, as far as git or the binary knows.
func commit(ctx context.Context, o *options) string {
	output, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty").Output()
	if err != nil {
		return ownVersion(ctx, o)
	}
	return strings.TrimSpace(string(output))
}
