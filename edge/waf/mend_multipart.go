package waf

import (
	"bytes"
	"mime"
	"strings"
)

// mendMultipart ends the open part and the body (RFC 2046, section 5.1.1). A cut may fall into a
// part's content, its header or a delimiter line.
func mendMultipart(contentType string, body []byte) []byte {
	_, params, err := mime.ParseMediaType(contentType)
	if err != nil || params["boundary"] == "" {
		return body
	}
	delimiter := []byte("--" + params["boundary"])
	// No line end behind it: the parser wants the one that the body's first delimiter has.
	end := append(append([]byte("\r\n"), delimiter...), "--"...)

	at := lastDelimiter(body, delimiter)
	if at < 0 {
		return append(body, end...)
	}
	line := body[at+len(delimiter):]
	newline := bytes.IndexByte(line, '\n')
	if newline < 0 { // the cut is in a delimiter line, which may be the last
		return append(body[:at], end[len("\r\n"):]...)
	}
	if bytes.HasPrefix(line, []byte("--")) {
		return body // the last delimiter: what follows is nobody's
	}
	start := at + len(delimiter) + newline + 1
	if header := body[start:]; !endsHeader(header) {
		body = append(body[:start], mendPartHeader(header)...)
	}
	return append(body, end...)
}

// lastDelimiter returns where the last delimiter line starts, or -1. A cut right behind the
// boundary counts; more letters behind it make it another text.
func lastDelimiter(body, delimiter []byte) int {
	for search := body; ; {
		at := bytes.LastIndex(search, delimiter)
		if at < 0 {
			return -1
		}
		atLineStart := at == 0 || body[at-1] == '\n'
		after := body[at+len(delimiter):]
		if atLineStart && (len(after) == 0 || bytes.IndexByte([]byte("-\r\n \t"), after[0]) >= 0) {
			return at
		}
		search = body[:at]
	}
}

// endsHeader reports whether the empty line that ends a part's header has come.
func endsHeader(header []byte) bool {
	return bytes.HasPrefix(header, []byte("\n")) || bytes.HasPrefix(header, []byte("\r\n")) ||
		bytes.Contains(header, []byte("\n\n")) || bytes.Contains(header, []byte("\n\r\n"))
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

// mendHeaderLine closes an open quoted string and removes a parameter that is not whole. A field name
// without its colon is removed.
func mendHeaderLine(line string) string {
	if strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t") {
		return line // folded: not sent by anything since RFC 7230
	}
	name, value, found := strings.Cut(line, ":")
	if !found {
		return ""
	}
	quoted := openQuote(value)
	if quoted {
		if trailing := len(value) - len(strings.TrimRight(value, `\`)); trailing%2 == 1 {
			value = value[:len(value)-1]
		}
		value += `"`
	} else {
		value = string(mendForm([]byte(value))) // of filename*=UTF-8''a%20b
	}
	if strings.EqualFold(strings.TrimSpace(name), "Content-Disposition") {
		if dispositionOf(strings.TrimSpace(value)).malformed {
			value = dropLastParam(value)
		}
	} else if !quoted {
		value = dropLastParam(value)
	}
	return name + ":" + value
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

// dropLastParam removes everything from the last semicolon that is outside of quotes.
func dropLastParam(value string) string {
	last := -1
	open := false
	for i := 0; i < len(value); i++ {
		switch {
		case value[i] == '\\' && open:
			i++
		case value[i] == '"':
			open = !open
		case value[i] == ';' && !open:
			last = i
		}
	}
	if last < 0 {
		return value
	}
	return value[:last]
}
