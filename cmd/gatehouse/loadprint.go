package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"gatehouse/loadtest"
)

// printLoad prints the result, then writes it to where the flags say: who cannot have
// the file still has the result.
func (s *session) printLoad(f *loadFlags, r *loadtest.Result) error {
	var printed error
	if s.json() {
		printed = s.printJSON(r)
	} else {
		printed = writeLoadText(s.Out, r)
	}
	return errors.Join(printed, f.writeFiles(r))
}

func (f *loadFlags) writeFiles(r *loadtest.Result) error {
	if f.json != "" {
		var raw bytes.Buffer
		if err := writeJSON(&raw, r); err != nil {
			return fmt.Errorf("write the result: %w", err)
		}
		if err := os.WriteFile(f.json, raw.Bytes(), 0o644); err != nil {
			return fmt.Errorf("write the result: %w", err)
		}
	}
	if f.html != "" {
		if err := writeLoadPage(f.html, r); err != nil {
			return fmt.Errorf("write the page: %w", err)
		}
	}
	return nil
}

// tryFiles finds out before an hour of load whether its result can be written.
func (f *loadFlags) tryFiles() error {
	for _, name := range []string{f.json, f.html} {
		if name == "" {
			continue
		}
		file, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return fmt.Errorf("write the result: %w", err)
		}
		if err := file.Close(); err != nil {
			return fmt.Errorf("write the result: %w", err)
		}
	}
	return nil
}

// judgeLoad says what makes the exit status 1.
func judgeLoad(w io.Writer, r *loadtest.Result) error {
	failed := r.Interrupted
	if r.Interrupted {
		fmt.Fprintf(w, "gatehouse: interrupted after %.1f s of %.0f s: nothing is proven by a part\n", r.Seconds, r.Load.Duration)
	}
	if r.Requests-r.Unexpected <= 0 {
		fmt.Fprintln(w, "gatehouse: no request succeeded")
		failed = true
	}
	for _, o := range r.SLOs {
		if o.Missed {
			fmt.Fprintf(w, "gatehouse: missed %s: %s\n", o.Text, measured(o))
			failed = true
		}
	}
	if failed {
		return errFailed
	}
	return nil
}

// measured is an objective's value in the unit in which people give its limit.
func measured(o loadtest.Objective) string {
	if o.Unit == "us" {
		return microText(o.Value)
	}
	return fmt.Sprintf("%.4g%s", o.Value, o.Unit)
}

// microText writes a time that is given in microseconds, with three digits or so.
func microText(us float64) string {
	d := time.Duration(us * 1e3)
	switch {
	case d >= 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d >= 10*time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	case d >= 100*time.Microsecond:
		return d.Round(time.Microsecond).String()
	}
	return d.Round(100 * time.Nanosecond).String()
}

// progressOn returns what shows the progress on a terminal, on one line that is
// rewritten, and what wipes it at the end; nothing is shown elsewhere.
func progressOn(w io.Writer) (show func(loadtest.Progress), wipe func()) {
	f, ok := w.(*os.File)
	if !ok {
		return nil, func() {}
	}
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return nil, func() {}
	}
	const start = "\r\x1b[K" // of the line, and clear it
	return func(p loadtest.Progress) { fmt.Fprint(f, start+progressLine(p)) }, func() { fmt.Fprint(f, start) }
}

func progressLine(p loadtest.Progress) string {
	left := p.Left.Round(time.Second).String() + " left"
	switch {
	case p.Warming:
		return "warming up, " + left
	case p.Left == 0:
		left = "waiting for the last answers"
	}
	rate := 0.0
	if p.Last.Seconds > 0 {
		rate = float64(p.Last.Requests) / p.Last.Seconds
	}
	return fmt.Sprintf("%.0f/s  p50 %s  p99 %s  %d errors  %s", rate, microText(p.Last.P50), microText(p.Last.P99), p.Errors, left)
}
