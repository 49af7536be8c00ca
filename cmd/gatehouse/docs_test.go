package main

import (
	"os"
	"strings"
	"testing"
)

// TestOperationsListsEverySetting: docs/operations.md has a row for each process setting and no other.
func TestOperationsListsEverySetting(t *testing.T) {
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "## Process settings")
	table, _, _ = strings.Cut(table, "\n## ")
	documented := map[string]bool{}
	for line := range strings.SplitSeq(table, "\n") {
		if cell, ok := strings.CutPrefix(line, "| `"); ok {
			path, _, _ := strings.Cut(cell, "`")
			documented[path] = true
		}
	}
	for _, s := range settings {
		if !documented[s.path] {
			t.Errorf("docs/operations.md has no row for %s", s.path)
		}
		delete(documented, s.path)
	}
	for path := range documented {
		t.Errorf("docs/operations.md has a row for %s, which is no setting", path)
	}
}
