package main

import (
	"bytes"
	"io"
	"os"

	"gatehouse/loadtest"
	"gatehouse/loadtest/report"
)

// writeLoadText prints a result for a person.
func writeLoadText(w io.Writer, r *loadtest.Result) error { return report.Text(w, r) }

// writeLoadPage writes a result as one HTML page.
func writeLoadPage(file string, r *loadtest.Result) error {
	var page bytes.Buffer
	if err := report.HTML(&page, report.Named{Result: r}); err != nil {
		return err
	}
	return os.WriteFile(file, page.Bytes(), 0o644)
}
