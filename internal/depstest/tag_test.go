package depstest

import (
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gatehouse/internal/edgetest"
)

// goCommand is a go command that compiles our packages, as shells, make and documents write it.
var goCommand = regexp.MustCompile(`(?:^|[\s;&|(@"` + "`" + `])(?:go|\$\(GO\)|\$go|"\$go")"? (?:-C \S+ )?(?:build|test|vet|run|install)\b[^` + "`" + `]*`)

// tagGiven is the tag, or what carries it.
var tagGiven = regexp.MustCompile(`coraza\.no_memoize|-tags "?\$\(?(?:TAGS|tags)\)?"?|"\$@"`)

// untagged returns the go commands of a text that lack the tag. Of a document only what names
// packages counts: the rest is prose.
func untagged(name, text string) (out []string) {
	prose := path.Ext(name) == ".md"
	for line := range strings.SplitSeq(strings.ReplaceAll(text, "\\\n", " "), "\n") {
		if !prose && strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		for _, command := range goCommand.FindAllString(line, -1) {
			switch {
			case strings.Contains(command, "-C tools "), strings.Contains(command, "$1"): // a module of its own; a program that is fetched
			case prose && !strings.Contains(command, "./"):
			case !tagGiven.MatchString(command):
				out = append(out, strings.TrimSpace(command))
			}
		}
	}
	return out
}

// Whoever builds as a document, the Makefile, an image or CI says gets a binary whose WAF starts.
func TestEveryGoCommandHasTheTag(t *testing.T) {
	edgetest.Sequential(t)
	found := 0
	for _, s := range sources(t) {
		base := path.Base(s.path)
		if !slices.Contains([]string{".md", ".sh", ".yml"}, path.Ext(base)) && !slices.Contains([]string{"Makefile", "Dockerfile"}, base) && path.Dir(s.path) != ".ci" {
			continue
		}
		found += len(goCommand.FindAllString(string(s.text), -1))
		for _, command := range untagged(base, string(s.text)) {
			t.Errorf("%s: without -tags coraza.no_memoize: %s", s.path, command)
		}
	}
	if found < 10 {
		t.Errorf("only %d go commands found: the pattern is out of date", found)
	}
}

func TestACommandWithoutTheTagIsFound(t *testing.T) {
	for _, bad := range []struct{ name, text string }{
		{"Makefile", "build:\n\tCGO_ENABLED=0 $(GO) build -o bin/gatehouse ./cmd/gatehouse\n"},
		{"Makefile", "\t@$(GO) -C edge test ./waf\n"},
		{"Dockerfile", "RUN go build \\\n  -o /out ./cmd/gatehouse\n"},
		{"run.sh", "cd x && go vet ./...\n"},
		{"README.md", "Build it: `go build ./cmd/gatehouse`.\n"},
		{"README.md", "```sh\ngo install ./cmd/gatehouse\n```\n"},
	} {
		if got := untagged(bad.name, bad.text); len(got) != 1 {
			t.Errorf("%s %q: %q", bad.name, bad.text, got)
		}
	}
	for _, good := range []struct{ name, text string }{
		{"Makefile", "\t$(GO) vet -tags $(TAGS) $(PKGS)\n\t$(GO) -C tools build -o ../bin/x example.test/x\n# Not by `go run`: it hides the status.\n"},
		{"Dockerfile", "RUN CGO_ENABLED=0 go build -trimpath \\\n -tags coraza.no_memoize ./cmd/gatehouse\n"},
		{"run.sh", "go test -tags \"$tags\" \"$@\"\n"},
		{"README.md", "`go test -v` shows more; `go build -tags coraza.no_memoize ./cmd/gatehouse`\n"},
	} {
		if got := untagged(good.name, good.text); len(got) != 0 {
			t.Errorf("%s %q: %q", good.name, good.text, got)
		}
	}
}
