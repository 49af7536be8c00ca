// Package wafrules holds the web application firewall's rule text as data: the base settings of
// this directory and the OWASP Core Rule Set (CRS), which comes from its own module and is never
// copied here.
//
// It compiles nothing and knows no engine; edge/waf does that. To start, read [Directives] with
// [FS] as the root:
//
//	coraza.NewWAFConfig().WithRootFS(wafrules.FS).WithDirectives(wafrules.Directives)
//
// This is the only package that imports the rule set's module, so that a new version of it
// is one change in one place.
package wafrules

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"sync"

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"
)

// Directives loads everything, in the order that the CRS needs: engine settings, CRS setup, rules.
//
// The CRS setup is the module's example as it stands: it sets no paranoia level, no threshold and
// no list of methods, and none may be added to it, since rules 901xxx fill in only what is not yet
// set, and that gap is where a tenant's own values go.
const Directives = `Include base.conf
Include @crs-setup.conf.example
Include @owasp_crs/*.conf
`

//go:embed base.conf
var own embed.FS

// FS is the root from which [Directives] is read: base.conf from this directory, and
// @crs-setup.conf.example and @owasp_crs/ from the CRS module. Read only, safe for concurrent use.
var FS fs.FS = layered{}

// layered answers for its own files first and leaves the rest to the CRS module, whose
// ReadFile also accepts a name with any directory before the "@".
type layered struct{}

var _ fs.ReadFileFS = layered{}

func (layered) Open(name string) (fs.File, error) {
	if name == "base.conf" {
		return own.Open(name)
	}
	return coreruleset.FS.Open(name)
}

func (layered) ReadFile(name string) ([]byte, error) {
	if name == "base.conf" {
		return own.ReadFile(name)
	}
	return fs.ReadFile(coreruleset.FS, name)
}

var signature = regexp.MustCompile(`SecComponentSignature "OWASP_CRS/([0-9.]+)"`)

// Version is the version of the CRS, such as "4.25.0", as its own text states it.
// It is empty only if that statement is missing.
var Version = sync.OnceValue(func() string {
	text, err := fs.ReadFile(FS, "@owasp_crs/REQUEST-901-INITIALIZATION.conf")
	if err != nil {
		return ""
	}
	if m := signature.FindSubmatch(text); m != nil {
		return string(m[1])
	}
	return ""
})

var tagAction = regexp.MustCompile(`tag:'([^']+)'`)

// ResponseTags are the tags of the rules that look at responses (95xxxx). The map is shared and must
// not be changed. It is computed once. It panics if embedded text cannot be read, which a built
// binary cannot meet.
var ResponseTags = sync.OnceValue(func() map[string]bool {
	tags := map[string]bool{}
	files, err := fs.Glob(coreruleset.FS, "@owasp_crs/RESPONSE-95*.conf")
	if err != nil || len(files) == 0 {
		panic(fmt.Sprintf("list embedded rules for responses: %v", err))
	}
	for _, name := range files {
		text, err := fs.ReadFile(coreruleset.FS, name)
		if err != nil {
			panic("read embedded rules: " + err.Error())
		}
		for _, m := range tagAction.FindAllSubmatch(text, -1) {
			tags[string(m[1])] = true
		}
	}
	return tags
})

// Digest identifies the rule text: the hexadecimal SHA-256 of [Directives] and of the name
// and content of every file that can be read through [FS]. Equal digests mean equal rules.
// It is computed once. It panics if embedded text cannot be read, which a built binary cannot meet.
var Digest = sync.OnceValue(func() string {
	sum := sha256.New()
	io.WriteString(sum, Directives) //nolint:errcheck // a hash never fails
	for _, layer := range []fs.FS{own, coreruleset.FS} {
		err := fs.WalkDir(layer, ".", func(name string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			text, err := fs.ReadFile(layer, name)
			fmt.Fprintf(sum, "\x00%s\x00%d\x00", name, len(text))
			sum.Write(text)
			return err
		})
		if err != nil {
			panic("read embedded rules: " + err.Error())
		}
	}
	return hex.EncodeToString(sum.Sum(nil))
})
