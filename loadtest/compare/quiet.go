package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"time"
)

// mostBusy is how much of the processors others may use before it is worth a warning,
// in percent.
const mostBusy = 5

// A watch finds out how busy the machine is while nothing of ours runs.
type watch struct {
	stderr io.Writer
	load   []float64 // average of 1, 5, 15 minutes before the first round
	busy   []float64 // percent before each round
}

// look measures for a second, before round (from 0), and says what it found.
func (w *watch) look(ctx context.Context, round int) error {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return err
	}
	load, err := parseLoad(string(text))
	if err != nil {
		return err
	}
	if round == 0 {
		w.load = load
	}
	before, err := processorTimes()
	if err != nil {
		return err
	}
	pause(ctx, time.Second)
	after, err := processorTimes()
	if err != nil {
		return err
	}
	w.note(round, after.busySince(before), load)
	return ctx.Err()
}

// note keeps what was measured before a round, to a tenth of a percent.
func (w *watch) note(round int, percent float64, load []float64) {
	percent = math.Round(percent*10) / 10
	w.busy = append(w.busy, percent)
	if percent > mostBusy {
		fmt.Fprintf(w.stderr, "warning: the machine is %.0f %% busy before round %d, without us (load average %s): figures will scatter; `top` shows who it is\n",
			percent, round+1, average(load))
	}
}

// keep forgets all but the first rounds.
func (w *watch) keep(rounds int) { w.busy = w.busy[:min(rounds, len(w.busy))] }

// notes say before which rounds the machine was not quiet.
func (w *watch) notes() []string {
	var out []string
	for round, percent := range w.busy {
		if percent > mostBusy {
			out = append(out, fmt.Sprintf("the machine was %.0f %% busy before round %d, without us", percent, round+1))
		}
	}
	return out
}

// average returns a load average in words.
func average(load []float64) string {
	var out []string
	for _, n := range load {
		out = append(out, strconv.FormatFloat(n, 'f', 2, 64))
	}
	return strings.Join(out, " ")
}

// percents returns how busy the machine was before the rounds, in words.
func (w *watch) percents() string {
	var out []string
	for _, n := range w.busy {
		out = append(out, strconv.FormatFloat(n, 'f', 0, 64)+" %")
	}
	return strings.Join(out, ", ")
}

// times are what all processors have spent since the machine began, in ticks.
type times struct{ idle, total int64 }

// busySince returns the share that was not idle, in percent.
func (t times) busySince(earlier times) float64 {
	total := t.total - earlier.total
	if total <= 0 {
		return 0
	}
	return max(0, 100*(1-float64(t.idle-earlier.idle)/float64(total)))
}

func processorTimes() (times, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return times{}, err
	}
	return parseTimes(string(text))
}

// parseTimes reads the first line of /proc/stat, see proc_stat(5): cpu, user, nice,
// system, idle, iowait, irq, softirq, steal, and guests, which are in user and nice
// already. What the host of a virtual machine takes away (steal) is busy to us.
func parseTimes(text string) (times, error) {
	line, _, _ := strings.Cut(text, "\n")
	f := strings.Fields(line)
	if len(f) < 9 || f[0] != "cpu" {
		return times{}, fmt.Errorf("/proc/stat begins with %q", line)
	}
	var out times
	for i, field := range f[1:9] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return times{}, fmt.Errorf("/proc/stat: %w", err)
		}
		out.total += n
		if i == 3 || i == 4 {
			out.idle += n
		}
	}
	return out, nil
}

// parseLoad reads the three averages of /proc/loadavg.
func parseLoad(text string) ([]float64, error) {
	f := strings.Fields(text)
	if len(f) < 3 {
		return nil, errors.New("/proc/loadavg has another form")
	}
	var out []float64
	for _, field := range f[:3] {
		n, err := strconv.ParseFloat(field, 64)
		if err != nil {
			return nil, fmt.Errorf("/proc/loadavg: %w", err)
		}
		out = append(out, n)
	}
	return out, nil
}
