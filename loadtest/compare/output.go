package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"gatehouse/loadtest/report"
)

// write prints the table and writes the files that were asked for.
func (o *options) write(c *report.Comparison, stdout io.Writer) error {
	if err := writeJSON(o.json, c); err != nil {
		return err
	}
	if err := writeFile(o.html, func(w io.Writer) error { return report.ComparisonHTML(w, c) }); err != nil {
		return err
	}
	if err := writeFile(o.markdown, func(w io.Writer) error { return report.ComparisonMarkdown(w, c) }); err != nil {
		return err
	}
	return report.ComparisonText(stdout, c)
}

// writeJSON writes v to a file; no name, no file.
func writeJSON(name string, v any) error {
	return writeFile(name, func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(v)
	})
}

// writeFile makes a file, its folder too, and has it filled; no name, no file.
func writeFile(name string, fill func(io.Writer) error) error {
	if name == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	if err := fill(f); err != nil {
		f.Close()
		return fmt.Errorf("write %s: %w", name, err)
	}
	return f.Close()
}
