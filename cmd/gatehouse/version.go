package main

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is the release; set by the linker (-X main.version=…).
var version = ""

// versionInfo is what `gatehouse version -o json` prints.
type versionInfo struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Dirty   bool   `json:"dirty,omitempty"` // built from a tree with changes
	Go      string `json:"go"`
	CRS     string `json:"crs,omitempty"` // the OWASP Core Rule Set that is built in
	Coraza  string `json:"coraza,omitempty"`
	Tags    string `json:"tags,omitempty"` // build tags
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

// readVersion collects what the binary knows of itself.
func readVersion() versionInfo {
	v := versionInfo{Version: version, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		v.Version = cmp.Or(v.Version, "unknown")
		return v
	}
	v.Version = cmp.Or(v.Version, info.Main.Version, "(devel)")
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Commit = s.Value
		case "vcs.modified":
			v.Dirty = s.Value == "true"
		case "-tags":
			v.Tags = s.Value
		}
	}
	for _, dep := range info.Deps {
		switch dep.Path {
		case "github.com/corazawaf/coraza/v3":
			v.Coraza = dep.Version
		case "github.com/corazawaf/coraza-coreruleset/v4":
			v.CRS = dep.Version
		}
	}
	return v
}

func newVersionCommand(s *session) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version and what is built in",
		Example: "  gatehouse version -o json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			v := readVersion()
			if s.json() {
				return s.printJSON(v)
			}
			commit := cmp.Or(v.Commit, "unknown")
			if v.Dirty {
				commit += " (with changes)"
			}
			return s.printTable(nil, [][]string{
				{"gatehouse", v.Version},
				{"commit", commit},
				{"go", v.Go + " " + v.OS + "/" + v.Arch},
				{"crs", cmp.Or(v.CRS, "none")},
				{"coraza", cmp.Or(v.Coraza, "none")},
				{"tags", cmp.Or(v.Tags, "none")},
			})
		},
	}
}

// userAgent names us to the node.
func userAgent() string { return fmt.Sprintf("gatehouse/%s", readVersion().Version) }
