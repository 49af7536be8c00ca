package main

import (
	"os"
	"strings"
	"testing"

	"gatehouse/routes"
)

// The example of profiles and apps is one that a node takes.
func TestExampleOfProfilesAndAppsIsTaken(t *testing.T) {
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## WAF profiles and apps\n")
	_, example, _ := strings.Cut(section, "```yaml\n")
	example, _, found := strings.Cut(example, "```")
	docs, problems := routes.ParseFile("operations.md", []byte(example))
	if err := problems.Err(); !found || err != nil || len(docs) != 3 {
		t.Fatal(found, err, len(docs))
	}
	for _, doc := range docs {
		if err := doc.Problems.Err(); err != nil {
			t.Error(err)
		}
	}
	section, _, _ = strings.Cut(section, "\n## ")
	for _, word := range append(routes.WAFProfiles(), routes.WAFApps()...) {
		if !strings.Contains(section, "\n| `"+word+"`") {
			t.Errorf("no row for %s", word)
		}
	}
}

// The example of exclusions is one that a node takes, and each of them has an effect.
func TestExampleOfExclusionsIsTaken(t *testing.T) {
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## WAF exclusions\n")
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
	judge, _, err := openJudge(nil)
	if err != nil {
		t.Fatal(err)
	}
	list := exclusionsOf(docs[0])
	if got := judge(list); len(list) != 3 || len(got) > 0 {
		t.Errorf("%d exclusions: %v", len(list), got)
	}
}
