package main

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"

	"gatehouse/loadtest/report"
)

// write writes the files, if a folder is given, says where, and prints the table.
func (o *options) write(c *report.Comparison, stdout, stderr io.Writer) error {
	forms := []struct {
		ending string
		form   func(io.Writer, *report.Comparison) error
	}{
		{".html", report.ComparisonHTML},
		{".md", report.ComparisonMarkdown},
	}
	base := o.file(c.Rounds)
	if base != "" {
		if err := writeJSON(base+".json", c); err != nil {
			return err
		}
		for _, f := range forms {
			if err := writeFile(base+f.ending, func(w io.Writer) error { return f.form(w, c) }); err != nil {
				return err
			}
		}
		fmt.Fprintf(stderr, "written: %s.json, .html and .md\n", base)
	}
	return report.ComparisonText(stdout, c)
}

// file returns the name of the files of a run without its ending, or nothing if none
// are to be written. Only a full run, to its end and with no less than the default of
// everything, has the plain name: the table that somebody waited for half an hour for
// is not replaced by a look at one cell.
func (o *options) file(done int) string {
	if o.out == "" {
		return ""
	}
	name, rounds, seconds := "bench", fullRounds, fullSeconds
	var parts []string
	add := func(names, all string, chosen bool) {
		if chosen && names != all {
			parts = append(parts, brief(names))
		}
	}
	if o.flat {
		name, rounds, seconds = "flat", fullFlatRounds, fullFlatSeconds
		add(nameList(o.pairs), nameList(flatPairs(o)), true)
		add(nameList(o.loads), nameList(flatLoads), true)
		add(fmt.Sprintf("%dvhosts", o.vhosts), "", o.vhosts != fullVhosts)
		add(fmt.Sprintf("%dtenants", o.tenants), "", o.tenants != fullTenants)
	} else {
		add(nameList(o.scenarios), nameList(allScenarios), true)
		add(nameList(o.peers), nameList(allPeers), o.named)
	}
	add(fmt.Sprintf("c%d", o.connections), "", o.connections != fullConnections)
	if len(parts) > 0 || done < max(rounds, o.rounds) || o.seconds < seconds {
		parts = append(parts, fmt.Sprintf("%dx%ds", done, o.seconds))
		if done < o.rounds {
			parts = append(parts, "interrupted")
		}
		name = "partial-" + name + "-" + strings.Join(parts, "-")
	}
	return filepath.Join(o.out, name)
}

// brief makes a list of names a part of a file's name; a long one becomes its digest.
func brief(list string) string {
	if len(list) > 60 {
		return fmt.Sprintf("%dof-%08x", strings.Count(list, ",")+1, crc32.ChecksumIEEE([]byte(list)))
	}
	return strings.ReplaceAll(list, ",", "+")
}

// writeJSON writes v to a file.
func writeJSON(name string, v any) error {
	return writeFile(name, func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(v)
	})
}

// writeFile makes a file, its folder too, and has it filled.
func writeFile(name string, fill func(io.Writer) error) error {
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
