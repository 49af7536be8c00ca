package routes

import (
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

const (
	// maxProblems are told of one document. A list of a hundred thousand bad entries is one slip, or somebody
	// who wants all others to wait until each of them has been described.
	maxProblems = 40
	// maxSaid bounds each text of a problem, in bytes: it quotes the document, and is kept as long as that is there.
	maxSaid = 1000
)

// Problems returns what is wrong so far, in the order of the text.
func (d *Decoder) Problems() Problems {
	slices.SortStableFunc(d.problems, func(a, b *Problem) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	return withRest(d.file, d.problems, d.more)
}

// withRest adds to problems that there are more.
func withRest(source string, problems Problems, more int) Problems {
	if more == 0 {
		return problems
	}
	return append(slices.Clip(problems), &Problem{File: source, Reason: fmt.Sprintf("and %d more problems", more)})
}

// full reports whether there is no room for another problem, which then is only counted.
func (d *Decoder) full() bool {
	if len(d.problems) < maxProblems {
		return false
	}
	d.more++
	return true
}

// found is how many problems there are so far.
func (d *Decoder) found() int { return len(d.problems) + d.more }

// Report adds a problem with the value of a field; the position is that of the
// field or of the nearest field above it.
func (d *Decoder) Report(field, reason, guess string) {
	if !d.full() {
		d.problems = append(d.problems, d.Problem(field, reason, guess))
	}
}

// Problem returns what Report would add, for those who find a problem later.
func (d *Decoder) Problem(field, reason, guess string) *Problem {
	var at *token.Token
	for path := field; ; path = path[:max(0, strings.LastIndexAny(path, ".["))] {
		if at = d.positions[path]; at != nil || path == "" {
			break
		}
	}
	p := d.problemAt(at, field, reason)
	p.Guess = said(guess)
	return p
}

func (d *Decoder) problemAt(at *token.Token, field, reason string) *Problem {
	p := &Problem{File: d.file, Field: said(field), Reason: said(reason)}
	if at != nil && at.Position != nil {
		p.Line, p.Column = at.Position.Line, at.Position.Column
		p.Excerpt = Excerpt(d.source, p.Line, p.Column)
	}
	return p
}

func (d *Decoder) fail(n ast.Node, field, format string, args ...any) {
	if !d.full() {
		d.problems = append(d.problems, d.problemAt(n.GetToken(), field, fmt.Sprintf(format, args...)))
	}
}

func (d *Decoder) failAt(at *token.Token, field, reason string) {
	if !d.full() {
		d.problems = append(d.problems, d.problemAt(at, field, reason))
	}
}

// said is a text of a problem within its bound, with no part of a character.
func said(text string) string {
	if len(text) <= maxSaid {
		return text
	}
	return strings.ToValidUTF8(text[:maxSaid], "") + "…"
}
