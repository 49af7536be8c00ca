package filestore

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"gatehouse/routes"
)

// errFlow is returned where lines cannot be told apart.
var errFlow = errors.New("it stands within { } on a line with others: write it as a block, one key a line, first")

// A text is a file as lines, with what the YAML parser says of them.
type text struct {
	lines    []string       // without line ends
	newline  string         // as the file has it
	last     string         // the end of the last line: newline or nothing
	comments map[int]string // comments behind something on the line (from 1)
	root     ast.Node
}

func parseText(source []byte) (*text, error) {
	t := &text{newline: "\n", comments: map[int]string{}}
	if bytes.Contains(source, []byte("\r\n")) {
		t.newline = "\r\n"
		source = bytes.ReplaceAll(source, []byte("\r\n"), []byte("\n"))
	}
	body := strings.TrimPrefix(string(source), "\ufeff")
	if rest, ok := strings.CutSuffix(string(source), "\n"); ok {
		t.last = t.newline
		t.lines = strings.Split(rest, "\n")
	} else {
		t.lines = strings.Split(string(source), "\n")
	}
	parsed, err := parser.ParseBytes([]byte(body), 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, err
	}
	if len(parsed.Docs) > 0 {
		t.root = parsed.Docs[0].Body
	}
	for _, tk := range lexer.Tokenize(body) {
		if tk.Type != token.CommentType || tk.Position.Line > len(t.lines) {
			continue
		}
		line := t.lines[tk.Position.Line-1]
		if at := tk.Position.Column - 1; at > 0 && at < len(line) && line[at] == '#' && strings.TrimSpace(line[:at]) != "" {
			start := len(strings.TrimRight(line[:at], " \t"))
			t.comments[tk.Position.Line] = line[start:]
		}
	}
	return t, nil
}

func (t *text) bytes() []byte {
	if len(t.lines) == 0 {
		return nil
	}
	return []byte(strings.Join(t.lines, t.newline) + t.last)
}

// A span is an entry of a block mapping: its lines are [from, to), from 0.
type span struct {
	entry    routes.Entry
	from, to int
	indent   int
}

// spans returns the entries of a block mapping, each with the lines that belong
// to it. limit is the line after the mapping's last.
func (t *text) spans(mapping ast.Node, limit int) ([]span, error) {
	entries, ok := routes.Entries(mapping)
	if !ok {
		return nil, errFlow
	}
	out := make([]span, len(entries))
	for i, e := range entries {
		at := e.Token.Position
		from := at.Line - 1
		if from < 0 || from >= limit || at.Column < 1 || at.Column > len(t.lines[from]) {
			return nil, errFlow
		}
		if lead := strings.TrimPrefix(t.lines[from][:at.Column-1], "\ufeff"); strings.Trim(lead, " ") != "" {
			return nil, errFlow
		}
		out[i] = span{entry: e, from: from, indent: at.Column - 1}
		if i > 0 && from <= out[i-1].from {
			return nil, errFlow
		}
	}
	for i := range out {
		next := limit
		if i+1 < len(out) {
			next = out[i+1].from
		}
		out[i].to = t.contentEnd(&out[i], next)
	}
	return out, nil
}

// contentEnd leaves out what stands after an entry and is none of its own: blank
// lines, and comments that are not further in than its key.
func (t *text) contentEnd(s *span, next int) int {
	end := next
	for ; end > s.from+1; end-- {
		line := t.lines[end-1]
		trimmed := strings.TrimLeft(line, " \t")
		marker := strings.HasPrefix(line, "...") || strings.HasPrefix(line, "---")
		foreign := strings.HasPrefix(trimmed, "#") && len(line)-len(trimmed) <= s.indent
		if strings.TrimSpace(line) != "" && !foreign && !marker {
			break
		}
	}
	return end
}

// find returns the spans of all entries with the document's name.
func (t *text) find(key routes.Key) ([]span, error) {
	if t.root == nil {
		return nil, nil
	}
	top, err := t.spans(t.root, len(t.lines))
	if err != nil {
		return nil, err
	}
	var out []span
	for _, section := range top {
		if section.entry.Key != sections[key.Kind] || section.entry.Value.Type() == ast.NullType {
			continue
		}
		docs, err := t.spans(section.entry.Value, section.to)
		if err != nil {
			return nil, err
		}
		for _, s := range docs {
			name := s.entry.Key
			if canonical, err := routes.CanonicalVhost(name); err == nil && key.Kind == routes.KindVhost {
				name = canonical
			}
			if name == key.Name {
				out = append(out, s)
			}
		}
	}
	return out, nil
}

// An edit replaces the lines [from, to) by others.
type edit struct {
	from, to int
	lines    []string
}

func (t *text) apply(edits []edit) {
	slices.SortStableFunc(edits, func(a, b edit) int { return b.from - a.from })
	for _, e := range edits {
		if e.to == len(t.lines) && len(e.lines) > 0 && t.last == "" {
			t.last = t.newline
		}
		t.lines = slices.Replace(t.lines, e.from, e.to, e.lines...)
	}
}

// replaceDocument changes the lines of those fields in which want differs from
// have, which is what the file holds now.
func replaceDocument(source []byte, have *routes.Document, want routes.Document) ([]byte, error) {
	t, err := parseText(source)
	if err != nil {
		return nil, err
	}
	found, err := t.find(want.Key)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%s was not found in it", want.Key)
	}
	s := found[0]
	fields := documentFields(&want)
	edits, ok := t.editFields(&s, documentFields(have), fields)
	if !ok || have == nil || len(have.Problems) > 0 {
		lines := documentLines(s.indent, s.entry.Key, fields)
		lines[0] += t.comments[s.from+1]
		edits = []edit{{s.from, s.to, lines}}
	}
	t.apply(edits)
	return t.bytes(), nil
}

// editFields returns the edits that turn the mapping of s from have into want;
// false if its lines cannot be told apart, or nothing of them would stay.
func (t *text) editFields(s *span, have, want []field) ([]edit, bool) {
	lines, err := t.spans(s.entry.Value, s.to)
	if err != nil || len(lines) == 0 || len(want) == 0 || lines[0].from <= s.from {
		return nil, false
	}
	var edits []edit
	kept := 0
	for i := range lines {
		e := &lines[i]
		was, is := lookup(have, e.entry.Key), lookup(want, e.entry.Key)
		switch {
		case reflect.DeepEqual(was, is):
			kept++
		case is == nil:
			edits = append(edits, edit{e.from, e.to, nil})
		default:
			kept++
			edits = append(edits, t.editField(e, was, field{e.entry.Key, is})...)
		}
	}
	if kept == 0 {
		return nil, false
	}
	var added []string
	for _, f := range want {
		if !slices.ContainsFunc(lines, func(e span) bool { return e.entry.Key == f.name }) {
			added = append(added, block(lines[0].indent, f)...)
		}
	}
	if len(added) > 0 {
		end := lines[len(lines)-1].to
		edits = append([]edit{{end, end, added}}, edits...)
	}
	return edits, true
}

// editField changes one field: within it where it is a block, else as a whole.
func (t *text) editField(e *span, was any, is field) []edit {
	old, wasMapping := was.([]field)
	now, isMapping := is.value.([]field)
	if wasMapping && isMapping {
		if edits, ok := t.editFields(e, old, now); ok {
			return edits
		}
	}
	lines := block(e.indent, is)
	lines[0] += t.comments[e.from+1]
	return []edit{{e.from, e.to, lines}}
}

func lookup(fields []field, name string) any {
	for _, f := range fields {
		if f.name == name {
			return f.value
		}
	}
	return nil
}

// deleteDocument removes the lines of a document.
func deleteDocument(source []byte, key routes.Key) ([]byte, error) {
	t, err := parseText(source)
	if err != nil {
		return nil, err
	}
	found, err := t.find(key)
	if err != nil {
		return nil, err
	}
	var edits []edit
	for _, s := range found {
		edits = append(edits, edit{s.from, s.to, nil})
	}
	t.apply(edits)
	return t.bytes(), nil
}
