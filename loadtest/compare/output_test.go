package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestOnlyAFullRunHasThePlainName.
func TestOnlyAFullRunHasThePlainName(t *testing.T) {
	for _, tt := range []struct {
		line string
		done int
		want string
	}{
		{"", 3, "bench"},
		{"--rounds 10 --seconds 8", 10, "bench"},
		{"--scenarios " + nameList(allScenarios) + " --peers " + nameList(allPeers), 3, "bench"},
		{"", 2, "partial-bench-2x4s-interrupted"},
		{"--rounds 9", 5, "partial-bench-5x4s-interrupted"},
		{"--rounds 2", 2, "partial-bench-2x4s"},
		{"--seconds 1", 3, "partial-bench-3x1s"},
		{"--connections 128", 3, "partial-bench-c128-3x4s"},
		{"--scenarios pass1k,hit1k --peers gatehouse,nginx", 3, "partial-bench-pass1k+hit1k-gatehouse+nginx-3x4s"},
		{"--flat", 10, "flat"},
		{"--flat --rounds 1", 1, "partial-flat-1x2s"},
		{"--flat --only tenants --scenarios hit", 10, "partial-flat-tenants-hit-10x2s"},
		{"--flat --vhosts 500", 10, "partial-flat-500vhosts-10x2s"},
	} {
		o, err := parseOptions(strings.Fields("--out some/where "+tt.line), t.Output())
		if err != nil {
			t.Fatal(err)
		}
		if got := o.file(tt.done); got != filepath.Join("some/where", tt.want) {
			t.Errorf("%q: got %s, want %s", tt.line, got, tt.want)
		}
	}
	if got := (&options{}).file(3); got != "" {
		t.Errorf("without a folder: %q", got)
	}
	long := brief(nameList(allScenarios))
	if len(long) > 60 || long == brief(nameList(allScenarios[1:])) || strings.Contains(long, ",") {
		t.Errorf("a long list becomes %q", long)
	}
}
