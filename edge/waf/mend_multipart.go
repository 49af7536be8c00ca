package waf

import (
	"bytes"
	"mime"
	"strings"
)

// mendMultipart ends the open part and the body (RFC 2046, section 5.1.1). A cut may fall into a
// part's content, its header or a delimiter line. Delimiters are what the reader (mime/multipart) takes
// for them: any other text would make content of a header, and end what is not at an end.
func mendMultipart(contentType string, body []byte) []byte {
	_, params, err := mime.ParseMediaType(contentType)
	if err != nil || params["boundary"] == "" {
		return body
	}
	m := multipartCut{delimiter: []byte("--" + params["boundary"]), newline: []byte("\r\n")}
	// No line end behind it: the reader wants the one that the body's first delimiter has.
	switch open, in := m.find(body); in {
	case inDelimiter:
		return m.mendDelimiter(body, open)
	case inHeader:
		body = append(body[:open:open], mendPartHeader(body[open:])...)
		return m.end(body)
	case inContent:
		return m.end(body)
	}
	return body
}

// multipartCut finds where in a multipart body a cut falls.
type multipartCut struct {
	delimiter []byte // without its line ends
	newline   []byte // before a delimiter, and behind it: CRLF, or LF if the first one has that
}

// cutIn is what a multipart body ends in.
type cutIn uint8

const (
	inNothing   cutIn = iota // behind the last delimiter, or malformed before
	inDelimiter              // a line that is one, or may become one
	inHeader                 // of a part
	inContent                // of a part, or the preamble
)

// find returns what the cut falls into, and where that begins.
func (m *multipartCut) find(body []byte) (open int, in cutIn) {
	for at, first := 0, true; ; {
		line, _, whole := bytes.Cut(body[at:], []byte("\n"))
		switch {
		case !whole && bytes.HasPrefix(line, m.delimiter):
			return at, inDelimiter
		case !whole:
			return at, inContent
		}
		line = body[at : at+len(line)+1]
		switch {
		case m.begins(line, first):
			first = false
			at += len(line)
		case m.ends(line):
			return at, inNothing
		case first: // the preamble
			at += len(line)
			continue
		default:
			return at, inNothing
		}
		header := headerLength(body[at:])
		if header < 0 {
			return at, inHeader
		}
		at += header
		content := m.contentLength(body[at:])
		if content < 0 {
			return at, inContent
		}
		at += content
	}
}

// begins reports whether the line is a delimiter before a part. The first one may set the line end.
func (m *multipartCut) begins(line []byte, first bool) bool {
	rest, ok := bytes.CutPrefix(line, m.delimiter)
	rest = bytes.TrimLeft(rest, " \t")
	if ok && first && string(rest) == "\n" {
		m.newline = []byte("\n")
	}
	return ok && bytes.Equal(rest, m.newline)
}

// ends reports whether the line is the last delimiter.
func (m *multipartCut) ends(line []byte) bool {
	rest, ok := bytes.CutPrefix(line, m.delimiter)
	rest, dashes := bytes.CutPrefix(rest, []byte("--"))
	return ok && dashes && bytes.Equal(bytes.TrimLeft(rest, " \t"), m.newline)
}

// contentLength returns where the delimiter behind a part's content starts, or -1.
func (m *multipartCut) contentLength(content []byte) int {
	if rest, ok := bytes.CutPrefix(content, m.delimiter); ok && maybeDelimiter(rest) {
		return 0
	}
	before := append(append([]byte{}, m.newline...), m.delimiter...)
	for at := 0; ; {
		n := bytes.Index(content[at:], before)
		if n < 0 {
			return -1
		}
		if at += n; maybeDelimiter(content[at+len(before):]) {
			return at + len(m.newline)
		}
		at += len(before)
	}
}

// maybeDelimiter reports whether the reader ends a part at a delimiter that rest follows, or might if
// more came.
func maybeDelimiter(rest []byte) bool {
	switch {
	case len(rest) == 0:
		return true
	case rest[0] == '-':
		return len(rest) == 1 || rest[1] == '-'
	}
	return bytes.IndexByte([]byte(" \t\r\n"), rest[0]) >= 0
}

// mendDelimiter makes the delimiter line at which the body is cut the last one. Nothing but blanks is removed.
func (m *multipartCut) mendDelimiter(body []byte, at int) []byte {
	line := bytes.TrimRight(body[at:], " \t\r")
	switch string(line[len(m.delimiter):]) {
	case "", "-", "--":
		return append(body[:at+len(m.delimiter)], "--"...)
	}
	if at > 0 {
		return body // the reader calls it an error
	}
	return m.end(body) // of the preamble
}

func (m *multipartCut) end(body []byte) []byte {
	return append(append(append(body, m.newline...), m.delimiter...), "--"...)
}

// headerLength returns the length of a part's header with the empty line that ends it, or -1.
func headerLength(header []byte) int {
	for at := 0; ; {
		n := bytes.IndexByte(header[at:], '\n')
		if n < 0 {
			return -1
		}
		line := header[at : at+n]
		at += n + 1
		if len(line) == 0 || string(line) == "\r" {
			return at
		}
	}
}

// mendPartHeader returns the header with its last line made good and the empty line after it.
func mendPartHeader(header []byte) []byte {
	text := strings.TrimSuffix(string(header), "\r")
	at := strings.LastIndexByte(text, '\n') + 1
	complete, line := text[:at], text[at:]
	if line = mendHeaderLine(line); line != "" {
		line += "\r\n"
	}
	return []byte(complete + line + "\r\n")
}

// mendHeaderLine gives a field name its colon, closes an open quoted string and completes a parameter.
// Removed is only what the cut made and no rule has use for.
func mendHeaderLine(line string) string {
	if line == "" || line[0] == ' ' || line[0] == '\t' {
		return line // folded: not sent by anything since RFC 7230
	}
	name, value, found := strings.Cut(line, ":")
	if !found {
		return line + ":"
	}
	if openQuote(value) {
		if trailing := len(value) - len(strings.TrimRight(value, `\`)); trailing%2 == 1 {
			value = value[:len(value)-1]
		}
		return name + ":" + value + `"`
	}
	value = string(mendForm([]byte(value))) // of filename*=UTF-8''a%20b
	start := lastParam(value)
	if start < 0 {
		return name + ":" + value
	}
	param := value[start:]
	switch strings.ToLower(strings.TrimSpace(name)) {
	case "content-disposition":
		return name + ":" + value + missingOfParam(param)
	case "content-type":
		// A rule knows the charsets that are allowed; half the name of one is none of them.
		if len(param) < 64 && strings.Trim(strings.ToLower(param), " \t=-_.0123456789abcdefghijklmnopqrstuvwxyz") == "" {
			return name + ":" + value[:start-1]
		}
	}
	return name + ":" + value
}

// missingOfParam returns what completes a parameter of Content-Disposition that is cut outside of quotes.
func missingOfParam(param string) string {
	key, value, found := strings.Cut(param, "=")
	key = strings.TrimSpace(key)
	switch {
	case !found && key == "":
		return ""
	case !found:
		return `x=""` // another name: "filename" before "filename*" would be there twice
	case strings.EqualFold(key, "filename*"):
		return strings.Repeat("'", max(0, 2-strings.Count(value, "'")))
	case strings.TrimSpace(value) == "":
		return `""`
	}
	return ""
}

// openQuote reports whether s ends within a quoted string (RFC 9110, section 5.6.4).
func openQuote(s string) bool {
	open := false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && open:
			i++
		case s[i] == '"':
			open = !open
		}
	}
	return open
}

// lastParam returns where the last parameter starts, behind a semicolon outside of quotes, or -1.
func lastParam(value string) int {
	last := -1
	open := false
	for i := 0; i < len(value); i++ {
		switch {
		case value[i] == '\\' && open:
			i++
		case value[i] == '"':
			open = !open
		case value[i] == ';' && !open:
			last = i + 1
		}
	}
	return last
}
