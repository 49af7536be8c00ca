package wafrules

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
)

// A Set is the whole rule text that an engine compiles: base.conf, the CRS's setup and its rules. It
// is immutable and safe for concurrent use. [Embedded] and [FromDir] make sets; the zero value is none.
type Set struct {
	origin       string
	root         fs.FS
	directives   string
	version      string
	digest       string
	responseTags map[string]bool
}

// newSet sums up files, all that can be read through root, by their names there.
func newSet(origin string, root fs.FS, files map[string][]byte, directives string) *Set {
	s := &Set{origin: origin, root: root, directives: directives, responseTags: map[string]bool{}}
	sum := sha256.New()
	io.WriteString(sum, directives) //nolint:errcheck // a hash never fails
	for _, name := range slices.Sorted(maps.Keys(files)) {
		text := files[name]
		fmt.Fprintf(sum, "\x00%s\x00%d\x00", name, len(text))
		sum.Write(text)
		if s.version == "" && strings.HasSuffix(name, "REQUEST-901-INITIALIZATION.conf") {
			s.version = versionOf(text)
		}
		if onResponses(name) {
			for _, m := range tagAction.FindAllSubmatch(text, -1) {
				s.responseTags[string(m[1])] = true
			}
		}
	}
	s.digest = hex.EncodeToString(sum.Sum(nil))
	return s
}

var (
	signature = regexp.MustCompile(`(?m)^SecComponentSignature "OWASP_CRS/([0-9A-Za-z.+-]+)"`)
	tagAction = regexp.MustCompile(`tag:'([^']+)'`)
)

func versionOf(text []byte) string {
	if m := signature.FindSubmatch(text); m != nil {
		return string(m[1])
	}
	return ""
}

// onResponses reports whether a file holds rules that look at responses (95xxxx).
func onResponses(name string) bool {
	return strings.HasPrefix(path.Base(name), "RESPONSE-95") && path.Ext(name) == ".conf"
}

// Origin is the directory that the set was read from; empty: it is the embedded one.
func (s *Set) Origin() string { return s.origin }

// FS is the root from which Directives is read. Read only.
func (s *Set) FS() fs.FS { return s.root }

// Directives loads everything, in the order that the CRS needs.
func (s *Set) Directives() string { return s.directives }

// Version is the version of the CRS, such as "4.25.0", as its own text states it.
func (s *Set) Version() string { return s.version }

// Digest identifies the rule text: the hexadecimal SHA-256 of Directives and of the name and content
// of every file of the set. Equal digests mean equal rules.
func (s *Set) Digest() string { return s.digest }

// ResponseTags are the tags of the rules that look at responses (95xxxx). The map is shared and must
// not be changed.
func (s *Set) ResponseTags() map[string]bool { return s.responseTags }

// Place says where a directive stands, in the form in which the engine reads it: lines that a
// backslash joins as one. Nth counts equal ones, from 1. Not ok: it is not in the set.
func (s *Set) Place(directive string, nth int) (file string, line int, ok bool) {
	for name := range strings.Lines(s.directives) {
		name = strings.TrimSpace(strings.TrimPrefix(name, "Include "))
		text, err := fs.ReadFile(s.root, name)
		if err != nil {
			continue // a pattern
		}
		all, _ := statements(name, text)
		for i := range all {
			if all[i].text != directive {
				continue
			}
			if nth--; nth == 0 {
				return name, all[i].line, true
			}
		}
	}
	return "", 0, false
}
