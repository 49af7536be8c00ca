package main

import (
	"os"
	"slices"
	"strings"
	"testing"

	"gatehouse/edge/waf"
	"gatehouse/loadtest"
	"gatehouse/routes"
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

// TestSecurityListsEveryLimit: docs/security.md has one row for each limit, with
// its default, its range and what it is for.
func TestSecurityListsEveryLimit(t *testing.T) {
	text, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	allowed := map[string]string{}
	for _, b := range bounds(defaultConfig()) {
		allowed[b.path] = b.allowed()
	}
	documented := map[string]string{}
	for line := range strings.SplitSeq(string(text), "\n") {
		cells := strings.Split(line, " | ")
		path, ok := strings.CutPrefix(cells[0], "| `limits.")
		if !ok {
			continue
		}
		path = "limits." + strings.TrimSuffix(path, "`")
		if _, twice := documented[path]; twice {
			t.Errorf("docs/security.md has two rows for %s", path)
		}
		if len(cells) != 6 || slices.Contains(cells, "") {
			t.Errorf("docs/security.md: the row of %s has %d cells, or an empty one; want 6", path, len(cells))
			continue
		}
		if cells[2] != allowed[path] {
			t.Errorf("docs/security.md has %q as the range of %s, want %q", cells[2], path, allowed[path])
		}
		documented[path] = strings.Trim(cells[1], "`")
	}
	defaults := defaultConfig()
	for _, s := range settings {
		if !strings.HasPrefix(s.path, "limits.") {
			continue
		}
		given := defaultConfig()
		if err := given.assign(s.path, documented[s.path]); err != nil || given.text(s.path) != defaults.text(s.path) {
			t.Errorf("docs/security.md has %q as the default of %s, want %q", documented[s.path], s.path, or(defaults.text(s.path), "0"))
		}
		delete(documented, s.path)
	}
	for path := range documented {
		t.Errorf("docs/security.md has a row for %s, which is no setting", path)
	}
}

// TestOperationsScenarioIsOne: the scenario in docs/operations.md is taken.
func TestOperationsScenarioIsOne(t *testing.T) {
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## Load tests\n")
	_, block, _ := strings.Cut(section, "```yaml\n")
	block, _, _ = strings.Cut(block, "```")
	t.Chdir(t.TempDir())
	write(t, "mix.yaml", block)
	var plan loadtest.Plan
	if err := readScenario("mix.yaml", &plan); err != nil {
		t.Fatalf("%v\n%s", err, block)
	}
	want(t, "targets", len(plan.Targets), 3)
	want(t, "hosts", len(plan.Hosts), 10_001)
}

// The example of rate limits is one that a node takes.
func TestExampleOfRateLimitsIsTaken(t *testing.T) {
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## Rate limits\n")
	_, example, _ := strings.Cut(section, "```yaml\n")
	example, _, _ = strings.Cut(example, "```")
	docs, problems := routes.ParseFile("operations.md", []byte(example))
	if err := problems.Err(); err != nil || len(docs) != 2 {
		t.Fatal(err, len(docs))
	}
	for _, doc := range docs {
		if err := doc.Problems.Err(); err != nil {
			t.Error(err)
		}
	}
}

// The example of own rules is one that a node takes.
func TestExampleOfOwnRulesIsTaken(t *testing.T) {
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## Own rules\n")
	_, example, _ := strings.Cut(section, "```yaml\n")
	example, _, found := strings.Cut(example, "```")
	if !found {
		t.Fatal("no example")
	}
	docs, problems := routes.ParseFile("operations.md", []byte(example))
	if err := problems.Err(); err != nil || len(docs) != 1 {
		t.Fatal(err, len(docs))
	}
	if err := docs[0].Problems.Err(); err != nil {
		t.Fatal(err)
	}
	if _, err := waf.CompileOwn(docs[0].Tenant.WAF.Rules); err != nil {
		t.Error(err)
	}
}

// TestDocumentsInOperationsAreGood: the examples of tenants and vhosts in docs/operations.md are documents without problems,
// where they are whole.
func TestDocumentsInOperationsAreGood(t *testing.T) {
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	read := 0
	for i, block := range strings.Split(string(text), "```yaml\n")[1:] {
		block, _, _ = strings.Cut(block, "\n```")
		if !strings.HasPrefix(block, "tenants:") && !strings.HasPrefix(block, "vhosts:") {
			continue
		}
		docs, problems := routes.ParseFile("operations.md", []byte(block))
		for _, doc := range docs {
			read++
			problems = append(problems, doc.Problems...)
		}
		if len(problems) > 0 {
			t.Errorf("example %d: %v\n%s", i, problems, block)
		}
	}
	if read < 7 {
		t.Errorf("only %d documents were read", read)
	}
}
