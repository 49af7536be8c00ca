package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
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
	watch   watch
	done    int // rounds that were finished
	cells   map[place]*cells
	notes   []string
	noted   map[string]bool
}

// A place is a cell of the table.
type place struct{ scenario, peer string }

// cells are one place's samples, one for each round.
type cells struct{ samples []report.Sample }

// good returns the samples without an error.
func (c *cells) good() []report.Sample {
	return slices.DeleteFunc(slices.Clone(c.samples), func(s report.Sample) bool { return s == report.Sample{} || s.Errors > 0 })
}

// runComparison measures all peers and writes what it found: also of a run that was
// interrupted, the rounds that were finished.
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
	m := newComparing(&o, peers, b, stderr)
	m.notes = notes
	done, stopped := m.rounds(ctx)
	if stopped != nil {
		stopped = m.cut(ctx, done, stopped)
		if done == 0 {
			return stopped
		}
	}
	// Whoever interrupts a run wants it written, and that takes a moment.
	c := m.comparison(context.WithoutCancel(ctx))
	if err := o.write(c, stdout, stderr); err != nil {
		return errors.Join(stopped, err)
	}
	return errors.Join(stopped, verdict(c, o.check))
}

func newComparing(o *options, peers []peer, b *bed, stderr io.Writer) *comparing {
	return &comparing{
		options: o, peers: peers, bed: b, stderr: stderr, done: o.rounds,
		watch: watch{stderr: stderr}, cells: map[place]*cells{}, noted: map[string]bool{},
	}
}

// rounds measures round after round and returns how many were finished; the error is
// what ended them before the last.
func (m *comparing) rounds(ctx context.Context) (done int, err error) {
	p := progress{stderr: m.stderr, rounds: m.options.rounds}
	p.cells, p.about = m.options.roundTime(m.peers)
	for round := range m.options.rounds {
		p.round(round, time.Now())
		if err := m.watch.look(ctx, round); err != nil {
			return round, err
		}
		for i := range m.peers { // each begins once, so that a drift of the machine favours nobody
			if err := m.measure(ctx, round, m.peers[(i+round)%len(m.peers)]); err != nil {
				return round, err
			}
		}
	}
	return m.options.rounds, nil
}

// errInterrupted: a signal ended the run. What was finished is written.
var errInterrupted = errors.New("interrupted")

// cut leaves out what the round that was not finished has measured, which is not there
// for every peer, and returns why the run ended.
func (m *comparing) cut(ctx context.Context, done int, why error) error {
	m.done = done
	for _, c := range m.cells {
		c.samples = c.samples[:done]
	}
	m.watch.keep(done)
	return stopped(ctx, done, m.options.rounds, why)
}

// stopped says after which round a run ended, and why.
func stopped(ctx context.Context, done, rounds int, why error) error {
	if ctx.Err() == nil {
		return fmt.Errorf("ended after round %d of %d: %w", done, rounds, why)
	}
	if done == 0 {
		return fmt.Errorf("%w in round 1 of %d: no round was finished, so nothing is written", errInterrupted, rounds)
	}
	return fmt.Errorf("%w after round %d of %d", errInterrupted, done, rounds)
}

// measure runs all scenarios of one round with one peer. Only what ends the whole
// comparison is returned.
func (m *comparing) measure(ctx context.Context, round int, p peer) error {
	loads, idle := m.options.scenariosOf(p)
	// Idle connections get a fresh process: what they take of memory is not seen in one
	// in which a load has left room, and what they leave would be seen in the loads.
	return errors.Join(m.sitting(ctx, round, p, loads), m.sitting(ctx, round, p, idle))
}

// scenariosOf returns those in which p takes part: with load, and with idle connections.
func (o *options) scenariosOf(p peer) (loads, idle []scenario) {
	for _, s := range o.scenarios {
		switch {
		case !p.takesPart(s):
		case s.kind == byIdleness:
			idle = append(idle, s)
		default:
			loads = append(loads, s)
		}
	}
	return loads, idle
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
		Rounds: m.done, Seconds: o.seconds, Connections: o.connections, Command: o.command(),
		Method: o.method(ctx, &m.watch), LoadAverage: m.watch.load, Busy: m.watch.busy,
	}
	if m.done < o.rounds {
		c.Planned = o.rounds
	}
	c.Targets, c.LeftOut = o.targets()
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
			row := report.Row{Scenario: s.name, Title: s.title, Peer: p.name, Samples: found.samples, Median: report.MedianOf(found.good())}
			for _, sample := range found.samples {
				row.Median.Errors += sample.Errors
			}
			c.Rows = append(c.Rows, row)
			if s.kind == byIdleness && len(found.good()) > 0 {
				m.remark(fmt.Sprintf("%s %s: %.1f KB of memory for each of %d connections; all together %.0f ms of CPU in %d s",
					s.name, p.name, row.Median.RSS*1000/idleConnections, idleConnections, row.Median.CPU*idleConnections/1000, idleSeconds))
			}
		}
	}
	c.Notes = append(m.notes, m.watch.notes()...)
	return c
}
