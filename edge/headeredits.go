package edge

import (
	"bytes"
	"maps"
	"slices"
	"strings"

	"gatehouse/routes"
)

// headerEdits are a vhost's edits of one direction, compiled. nil: there are none.
type headerEdits struct {
	gone  map[string]bool // removed or replaced, in lower case
	lines []byte          // set and added
}

// newHeaderEdits compiles edits; nil gives nil.
func newHeaderEdits(e *routes.HeaderEdits) *headerEdits {
	if e == nil {
		return nil
	}
	out := &headerEdits{gone: map[string]bool{}}
	for _, name := range e.Remove {
		out.gone[strings.ToLower(name)] = true
	}
	for _, name := range slices.Sorted(maps.Keys(e.Set)) {
		out.gone[strings.ToLower(name)] = true
		out.lines = appendLine(out.lines, name+": ", e.Set[name])
	}
	for _, name := range slices.Sorted(maps.Keys(e.Add)) {
		out.lines = appendLine(out.lines, name+": ", e.Add[name])
	}
	return out
}

// drops reports whether a field is taken out.
func (e *headerEdits) drops(name []byte) bool {
	if e == nil || len(e.gone) == 0 {
		return false
	}
	var lower [64]byte
	return e.gone[string(appendLower(lower[:0], name))]
}

// appendKept appends those of field lines that are not taken out.
func (e *headerEdits) appendKept(dst, lines []byte) []byte {
	if e == nil || len(e.gone) == 0 {
		return append(dst, lines...)
	}
	for len(lines) > 0 {
		end := bytes.Index(lines, crlf) + len(crlf)
		line := lines[:end]
		if name, _, _ := bytes.Cut(line, colon); !e.drops(name) {
			dst = append(dst, line...)
		}
		lines = lines[end:]
	}
	return dst
}

var crlf, colon = []byte("\r\n"), []byte(":")

// appendOwn appends the fields that are set and added.
func (e *headerEdits) appendOwn(dst []byte) []byte {
	if e == nil {
		return dst
	}
	return append(dst, e.lines...)
}

// answerEdits are those of answers, whoever made the answer; nil where no vhost was found.
func (r *request) answerEdits() *headerEdits {
	if r.site == nil {
		return nil
	}
	return r.site.answerEdits
}
