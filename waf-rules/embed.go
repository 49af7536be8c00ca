// Package wafrules holds the web application firewall's rule text as data: the base settings of
// this directory and the OWASP Core Rule Set (CRS), which comes from its own module and is never
// copied here, or from a directory of the operator's.
//
// It compiles nothing and knows no engine; edge/waf does that. To start, take [Embedded] and read
// its directives with its files as the root:
//
//	set := wafrules.Embedded()
//	coraza.NewWAFConfig().WithRootFS(set.FS()).WithDirectives(set.Directives())
//
// This is the only package that imports the rule set's module, so that a new version of it
// is one change in one place.
package wafrules

import (
	"embed"
	"fmt"
	"io/fs"
	"sync"

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"
)

//go:embed base.conf
var own embed.FS

// baseFile has our own settings, which come before everything else of every set.
const baseFile = "base.conf"

// Embedded is the set that the program carries: base.conf from this directory, and
// @crs-setup.conf.example and @owasp_crs/ from the CRS module.
//
// The CRS setup is the module's example as it stands: it sets no paranoia level, no threshold and
// no list of methods, and none may be added to it, since rules 901xxx fill in only what is not yet
// set, and that gap is where a tenant's own values go.
//
// It is made once. It panics if embedded text cannot be read, which a built binary cannot meet.
var Embedded = sync.OnceValue(func() *Set {
	names := []string{baseFile}
	for _, pattern := range []string{"@crs-setup.conf.example", "@owasp_crs/*"} {
		found, err := fs.Glob(coreruleset.FS, pattern)
		if err != nil || len(found) == 0 {
			panic(fmt.Sprintf("list embedded rules %s: %v", pattern, err))
		}
		names = append(names, found...)
	}
	files := map[string][]byte{}
	for _, name := range names {
		text, err := fs.ReadFile(layered{}, name)
		if err != nil {
			panic("read embedded rules: " + err.Error())
		}
		files[name] = text
	}
	return newSet("", layered{}, files, embeddedOrder)
})

// BaseDirectives loads our own settings alone, with which every set begins.
const BaseDirectives = "Include " + baseFile + "\n"

// embeddedOrder is what the CRS needs: engine settings, CRS setup, rules.
const embeddedOrder = BaseDirectives + `Include @crs-setup.conf.example
Include @owasp_crs/*.conf
`

// layered answers for its own files first and leaves the rest to the CRS module, whose
// ReadFile also accepts a name with any directory before the "@".
type layered struct{}

var _ fs.ReadFileFS = layered{}

func (layered) Open(name string) (fs.File, error) {
	if name == baseFile {
		return own.Open(name)
	}
	return coreruleset.FS.Open(name)
}

func (layered) ReadFile(name string) ([]byte, error) {
	if name == baseFile {
		return own.ReadFile(name)
	}
	return fs.ReadFile(coreruleset.FS, name)
}
