package main

import (
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"gatehouse/routes"
)

// outline is where the documents of a file stand, in the order in which
// routes.ParseFile returns them: for problems that only show between documents.
type outline struct{ entries []*entry }

// entry is a place in a file: that of a document, or of a field in it.
type entry struct {
	path   string
	source []byte
	token  *token.Token // nil: only the file is known
	value  ast.Node
}

// outlineOf reads the places of a file's documents; none of a file that is not YAML.
func outlineOf(path string, source []byte) *outline {
	o := &outline{}
	for _, section := range topLevel(source) {
		if section.Key != "tenants" && section.Key != "vhosts" {
			continue
		}
		documents, _ := routes.Entries(section.Value)
		for _, d := range documents {
			o.entries = append(o.entries, &entry{path: path, source: source, token: d.Token, value: d.Value})
		}
	}
	if len(o.entries) == 0 {
		o.entries = []*entry{{path: path, source: source}}
	}
	return o
}

// entry returns the place of document i.
func (o *outline) entry(i int) *entry { return o.entries[min(i, len(o.entries)-1)] }

// topLevel returns the keys of a YAML mapping; nil for anything else.
func topLevel(source []byte) []routes.Entry {
	parsed, err := parser.ParseBytes(source, 0, parser.AllowDuplicateMapKey())
	if err != nil || len(parsed.Docs) == 0 || parsed.Docs[0].Body == nil {
		return nil
	}
	entries, _ := routes.Entries(parsed.Docs[0].Body)
	return entries
}

// holdsSettings tells a gatehouse.yaml from a file of routes by its keys; where
// none is known, by what they were probably meant to be.
func holdsSettings(source []byte) bool {
	known := []string{"tenants", "vhosts"}
	for _, s := range settings {
		top, _, _ := strings.Cut(s.path, ".")
		known = append(known, top)
	}
	for _, e := range topLevel(source) {
		switch routes.Nearest(e.Key, known) {
		case "":
		case "tenants", "vhosts":
			return false
		default:
			return true
		}
	}
	return false
}

func (e *entry) file() string { return e.path }

// place is "FILE:LINE".
func (e *entry) place() string {
	if e.token == nil {
		return e.path
	}
	return e.path + ":" + itoa(e.token.Position.Line)
}

// at returns the place of a field ("aliases[0]", "tls.certificate.cert"), or the
// nearest place above it.
func (e *entry) at(field string) *entry {
	here := *e
	for step := range strings.FieldsFuncSeq(field, func(r rune) bool { return r == '.' || r == '[' || r == ']' }) {
		var next ast.Node
		if i, err := strconv.Atoi(step); err == nil {
			if list, ok := here.value.(*ast.SequenceNode); ok && i < len(list.Values) {
				next = list.Values[i]
			}
		} else {
			entries, _ := routes.Entries(here.value)
			for _, entry := range entries {
				if entry.Key == step {
					next = entry.Value
				}
			}
		}
		if next == nil {
			break
		}
		here.value, here.token = next, next.GetToken()
	}
	return &here
}

// problem returns a problem at a field of the document; "": at its name.
func (e *entry) problem(field, reason string) *routes.Problem {
	at := e.at(field)
	p := &routes.Problem{File: e.path, Field: field, Reason: reason}
	if at.token != nil {
		p.Line, p.Column = at.token.Position.Line, at.token.Position.Column
		p.Excerpt = routes.Excerpt(e.source, p.Line, p.Column)
	}
	return p
}

func itoa(n int) string { return strconv.Itoa(n) }
