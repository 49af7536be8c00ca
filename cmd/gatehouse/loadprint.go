package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"gatehouse/loadtest"
	"gatehouse/loadtest/report"
)

// standardOutput is the FILE of --json and --html that is none.
const standardOutput = "-"

// checkOutputs finds results that would be written over each other.
func (f *loadFlags) checkOutputs(cmd *cobra.Command) error {
	output, err := cmd.Flags().GetString("output")
	switch {
	case err != nil:
		return err
	case f.json != "" && f.json == f.html:
		return usagef("--html %s: --json goes there already", f.html)
	case output == "json" && f.json == standardOutput:
		return usagef("--json - has no effect: -o json writes the result there already")
	case output == "json" && f.html == standardOutput:
		return usagef("--html -: -o json writes to standard output already")
	}
	return nil
}

// printLoad prints the result, then writes it to where the flags say: who cannot have
// the file still has the result.
func (s *session) printLoad(f *loadFlags, r *loadtest.Result) error {
	var printed error
	switch {
	case s.json():
		printed = s.printJSON(r)
	case f.json == standardOutput || f.html == standardOutput:
		printed = report.Text(s.Err, r)
	default:
		printed = report.Text(s.Out, r)
	}
	return errors.Join(printed, s.writeLoad(f, r))
}

// writeLoad writes what --json and --html ask for.
func (s *session) writeLoad(f *loadFlags, r *loadtest.Result) error {
	for _, form := range []struct {
		file  string
		write func(io.Writer) error
	}{
		{f.json, func(w io.Writer) error { return writeJSON(w, r) }},
		{f.html, func(w io.Writer) error { return report.HTML(w, report.Named{Result: r}) }},
	} {
		if form.file == "" {
			continue
		}
		var whole bytes.Buffer
		err := form.write(&whole)
		switch {
		case err != nil:
		case form.file == standardOutput:
			_, err = s.Out.Write(whole.Bytes())
		default:
			err = os.WriteFile(form.file, whole.Bytes(), 0o644)
		}
		if err != nil {
			return fmt.Errorf("write the result: %w", err)
		}
	}
	return nil
}

// tryFiles finds out before an hour of load whether its result can be written. undo
// removes the files that were not there before.
func (f *loadFlags) tryFiles() (undo func(), err error) {
	var made []string
	undo = func() {
		for _, name := range made {
			_ = os.Remove(name) // an empty file is left at worst
		}
	}
	for _, name := range []string{f.json, f.html} {
		if name == "" || name == standardOutput {
			continue
		}
		_, absent := os.Lstat(name)
		file, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o644)
		if err == nil {
			if absent != nil {
				made = append(made, name)
			}
			err = file.Close()
		}
		if err != nil {
			undo()
			return nil, fmt.Errorf("write the result: %w", err)
		}
	}
	return undo, nil
}

// judgeLoad says what makes the exit status 1.
func judgeLoad(w io.Writer, r *loadtest.Result) error {
	failed := r.Interrupted
	if r.Interrupted {
		fmt.Fprintf(w, "gatehouse: interrupted after %.1f s of %.0f s: nothing is proven by a part\n", r.Seconds, r.Load.Duration)
	}
	if r.Requests-r.Unexpected <= 0 {
		fmt.Fprintln(w, "gatehouse: no request succeeded"+portHint(r))
		failed = true
	}
	for _, o := range r.SLOs {
		if o.Missed {
			fmt.Fprintf(w, "gatehouse: missed %s: %s\n", o.Text, report.Measured(o, r))
			failed = true
		}
	}
	if failed {
		return errFailed
	}
	return nil
}

// portHint knows what servers for https say to plain requests.
func portHint(r *loadtest.Result) string {
	plain := func(t loadtest.TargetPart) bool { return strings.Contains(t.Name, " http://") }
	if len(r.Statuses) == 1 && r.Statuses["400"] > 0 && len(r.Targets) > 0 && plain(r.Targets[0]) {
		return ": every answer has the status 400; is this the port for https?"
	}
	return ""
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
	return func(p loadtest.Progress) { fmt.Fprint(f, start+report.Progress(p)) }, func() { fmt.Fprint(f, start) }
}
