package wafrules

import (
	"bufio"
	"fmt"
	"strings"
)

// A Problem is why a rule text is refused, and where.
type Problem struct {
	File   string // in the set; empty: no one file is to blame
	Line   int    // from 1; 0: no one line is
	Reason string // lower case, without the place
}

// Error writes "rules/a.conf:3: reason".
func (p *Problem) Error() string {
	switch {
	case p.File == "":
		return p.Reason
	case p.Line == 0:
		return p.File + ": " + p.Reason
	}
	return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Reason)
}

// A statement is one directive as the engine takes it: the lines that a backslash
// joins, put together.
type statement struct {
	file string
	line int // of its beginning
	text string
}

// name is the directive in lower case; args is the rest, as the engine's parser cuts it.
func (s *statement) name() string {
	name, _, _ := strings.Cut(s.text, " ")
	return strings.ToLower(name)
}

func (s *statement) args() string {
	_, args, _ := strings.Cut(s.text, " ")
	if len(args) >= 3 && args[0] == '"' && args[len(args)-1] == '"' {
		args = strings.Trim(args, `"`)
	}
	return args
}

func (s *statement) problem(format string, args ...any) *Problem {
	return &Problem{File: s.file, Line: s.line, Reason: fmt.Sprintf(format, args...)}
}

// maxLine is the longest line: the engine reads a file up to a longer one (bufio.MaxScanTokenSize), and
// silently not on.
const maxLine = bufio.MaxScanTokenSize - 64

// statements cuts a file as the engine does (internal/seclang/parser.go, v3.8.1). What the engine would
// lose without a word is a problem: the rest of a file after a very long line, and a directive whose
// last line wants another.
func statements(file string, text []byte) (out []statement, problems []*Problem) {
	var joined strings.Builder
	begin, row := 0, 0
	for raw := range strings.Lines(string(text)) {
		row++
		if len(raw) > maxLine {
			return out, append(problems, &Problem{file, row, fmt.Sprintf("a line of %d bytes; the engine reads no line over %d", len(raw), maxLine)})
		}
		line := strings.TrimSpace(raw)
		if line == "" || line[0] == '#' {
			continue
		}
		if line[0] == '`' || line[len(line)-1] == '`' {
			problems = append(problems, &Problem{file, row, "a list in backquotes, which no rule of the CRS needs"})
			continue
		}
		if joined.Len() == 0 {
			begin = row
		}
		rest, continued := strings.CutSuffix(line, `\`)
		joined.WriteString(rest)
		if continued {
			continue
		}
		out = append(out, statement{file, begin, joined.String()})
		joined.Reset()
	}
	if joined.Len() > 0 {
		problems = append(problems, &Problem{file, begin, "the file ends within this directive: it is not whole"})
	}
	return out, problems
}

// ruleParts cuts what follows SecRule: what is looked at, the operator and the actions.
func ruleParts(args string) (vars, operator, actions string, ok bool) {
	vars, rest, _ := strings.Cut(strings.Trim(args, " "), " ")
	rest = strings.TrimLeft(rest, " ")
	if rest == "" || rest[0] != '"' {
		return vars, "", "", false
	}
	end, escapes := 0, 0
	for i := 1; i < len(rest) && end == 0; i++ {
		switch {
		case rest[i] == '\\':
			escapes++
			continue
		case rest[i] == '"' && escapes%2 == 0:
			end = i
		}
		escapes = 0
	}
	if end == 0 {
		return vars, "", "", false
	}
	operator = strings.ReplaceAll(rest[1:end], `\"`, `"`)
	return vars, operator, unquoted(strings.TrimLeft(rest[end+1:], " ")), true
}

// operatorOf returns an operator's name in lower case, and its argument.
func operatorOf(text string) (name, arg string) {
	text = strings.TrimPrefix(text, "!")
	if !strings.HasPrefix(text, "@") {
		return "rx", text
	}
	name, arg, _ = strings.Cut(text[1:], " ")
	return strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(arg)
}

// An action is one of a rule's, its name in lower case.
type action struct{ name, value string }

// actionsOf cuts a list of actions.
func actionsOf(list string) (out []action) {
	begin, colon, quoted := 0, -1, false
	end := func(i int) {
		a := action{name: list[begin:i]}
		if colon >= 0 {
			a = action{list[begin:colon], list[colon+1 : i]}
		}
		a.name, a.value = strings.ToLower(strings.TrimSpace(a.name)), unquoted(strings.TrimSpace(a.value))
		out = append(out, a)
		begin, colon = i+1, -1
	}
	for i := 1; i < len(list); i++ {
		switch c := list[i]; {
		case list[i-1] == '\\':
		case c == '\'':
			quoted = !quoted
		case quoted:
		case c == ':' && colon < 0:
			colon = i
		case c == ',':
			end(i)
		}
	}
	end(len(list))
	return out
}

// unquoted takes off one pair of quotes around all of s.
func unquoted(s string) string {
	if len(s) >= 2 && (s[0] == '"' || s[0] == '\'') && s[len(s)-1] == s[0] {
		return s[1 : len(s)-1]
	}
	return s
}
