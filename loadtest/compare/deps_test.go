package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// depsScript runs bench-deps.sh in a tree of its own, with programs that only pretend.
func depsScript(t *testing.T, programs map[string]string) (said string, err error) {
	t.Helper()
	text, err := os.ReadFile("../../scripts/bench-deps.sh")
	if err != nil {
		t.Fatal(err)
	}
	tree := t.TempDir()
	write := func(name, text string) {
		file := filepath.Join(tree, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write("scripts/bench-deps.sh", string(text))
	for name, body := range programs {
		write("fake/"+name, "#!/bin/sh\n"+body+"\n")
	}
	command := exec.CommandContext(t.Context(), "sh", filepath.Join(tree, "scripts/bench-deps.sh"), filepath.Join(tree, "fake/go"), "v9.8.7")
	command.Env = append(os.Environ(), "PATH="+filepath.Join(tree, "fake")+":"+os.Getenv("PATH"))
	output, err := command.CombinedOutput()
	return string(output), err
}

// TestBenchDepsSaysWhatItDoes: never as root here, where it would install.
func TestBenchDepsSaysWhatItDoes(t *testing.T) {
	const builds = `[ "$1" = version ] || echo "built $*"`
	for name, tt := range map[string]struct {
		query, goTool string
		want          []string
		fails         bool
	}{
		"all there": {"printf installed", "echo mod caddy v9.8.7", []string{"installed already: nginx haproxy", "built already: bin/caddy v9.8.7", "is here"}, false},
		"builds":    {"printf installed", builds, []string{"building bin/caddy v9.8.7", "built install github.com/caddyserver", "is here"}, false},
		"cannot":    {"printf installed", "exit 1", []string{"building bin/caddy", "could not be had: caddy"}, true},
		"not root":  {`[ "$4" = haproxy ] || printf installed`, builds, []string{"sudo apt-get install haproxy", "built install", "could not be had: haproxy"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			said, err := depsScript(t, map[string]string{"id": "echo 1000", "dpkg-query": tt.query, "go": tt.goTool})
			if (err != nil) != tt.fails {
				t.Errorf("got %v", err)
			}
			for _, want := range tt.want {
				if !strings.Contains(said, want) {
					t.Errorf("does not say %q:\n%s", want, said)
				}
			}
		})
	}
}
