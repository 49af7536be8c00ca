package main

import (
	"os"
	"strings"
	"testing"

	"gatehouse/routes"
)

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
	judge, err := openJudge(nil)
	if err != nil {
		t.Fatal(err)
	}
	list := exclusionsOf(docs[0])
	if got := judge(list); len(list) != 3 || len(got) > 0 {
		t.Errorf("%d exclusions: %v", len(list), got)
	}
}
