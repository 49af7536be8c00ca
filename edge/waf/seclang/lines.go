package seclang

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// A line is one directive: the lines of the text that a backslash at their end joins, put together as
// the engine does it, and where each part came from.
type line struct {
	text  string
	parts []part
}

// A part is where the bytes of a line from start on stand in the text.
type part struct {
	start        int
	line, column int
}

// place returns where a byte of the joined line stands.
func (l *line) place(at int) (row, column int) {
	found := l.parts[0]
	for _, p := range l.parts {
		if p.start > at {
			break
		}
		found = p
	}
	at = min(at, len(l.text))
	return found.line, found.column + utf8.RuneCountInString(l.text[found.start:max(at, found.start)])
}

// problem says what is wrong at a byte of the joined line.
func (l *line) problem(at int, format string, args ...any) *Problem {
	row, column := l.place(at)
	return &Problem{Line: row, Column: column, Reason: fmt.Sprintf(format, args...)}
}

// checkText refuses what is no text, or too much of it.
func checkText(text string) *Problem {
	if len(text) > MaxText {
		return &Problem{Line: 1, Column: 1, Reason: fmt.Sprintf("the text has %d bytes; at most %d are read", len(text), MaxText)}
	}
	row, column := 1, 1
	for i, c := range text {
		bad := c < ' ' && c != '\t' && c != '\n' && c != '\r' || c == 0x7f || c == utf8.RuneError
		if bad || c == '\r' && !strings.HasPrefix(text[i+1:], "\n") {
			return &Problem{Line: row, Column: column, Reason: fmt.Sprintf("the character %q does not belong in a text", c)}
		}
		if column++; c == '\n' {
			row, column = row+1, 1
		}
	}
	return nil
}

// logicalLines joins continued lines. A line of nothing, or one that begins with #, is left out even
// between the parts of a directive, as the engine does. It returns a problem if the text ends within
// a directive, which the engine would lose without a word.
func logicalLines(text string) ([]*line, *Problem) {
	var out []*line
	var open *line
	var joined strings.Builder
	row := 0
	for raw := range strings.Lines(text) {
		row++
		trimmed := strings.TrimSpace(raw)
		if trimmed == "" || trimmed[0] == '#' {
			continue
		}
		if open == nil {
			open = &line{}
		}
		column := utf8.RuneCountInString(raw[:strings.Index(raw, trimmed)]) + 1
		open.parts = append(open.parts, part{joined.Len(), row, column})
		rest, continued := strings.CutSuffix(trimmed, `\`)
		joined.WriteString(rest)
		if continued {
			continue
		}
		open.text = joined.String()
		out = append(out, open)
		open = nil
		joined.Reset()
	}
	if open != nil {
		open.text = joined.String()
		return out, open.problem(0, `the text ends within this directive: its last line has a \ at the end`)
	}
	return out, nil
}
