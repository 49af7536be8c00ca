package waf

import (
	"bytes"
	"unicode/utf8"
)

// mend makes the end of a body good that was cut at an arbitrary byte, so that it parses exactly if
// what stands before the cut does. It may append to body's array. The kind is the engine's
// REQBODY_PROCESSOR.
//
// The alternative, switching rules 200002 and 200003 off for cut bodies, would drop more than an
// alarm: an unfinished JSON string or XML attribute is not in the arguments at all then, so an attack
// followed by padding up to the cut would pass unseen.
func mend(kind, contentType string, body []byte) []byte {
	switch kind {
	case "JSON":
		return mendJSON(body)
	case "MULTIPART":
		return mendMultipart(contentType, body)
	case "XML":
		return mendXML(body)
	}
	return mendForm(body)
}

// mendForm removes a cut percent escape, which rule 920240 takes for an evasion.
func mendForm(body []byte) []byte {
	n := len(body)
	switch {
	case n >= 1 && body[n-1] == '%':
		return body[:n-1]
	case n >= 2 && body[n-2] == '%':
		return body[:n-2]
	}
	return body
}

// mendXML closes what is open, as far as the engine's parser (encoding/xml, not strict) looks at it: a
// start tag and a character data section. An unfinished end tag, comment, declaration or processing
// instruction holds nothing that rules see, and is removed. Elements may stay open.
func mendXML(body []byte) []byte {
	body = trimPartialRune(body)
	for at := 0; ; {
		open := bytes.IndexByte(body[at:], '<')
		if open < 0 {
			return body // the cut is in text
		}
		at += open
		markup := body[at:]
		switch {
		case bytes.HasPrefix(markup, []byte("<![CDATA[")):
			end := bytes.Index(markup, []byte("]]>"))
			if end < 0 {
				return append(body, "]]>"...)
			}
			at += end + len("]]>")
		case bytes.HasPrefix(markup, []byte("<!--")):
			end := bytes.Index(markup[len("<!--"):], []byte("-->"))
			if end < 0 {
				return body[:at]
			}
			at += len("<!--") + end + len("-->")
		case bytes.HasPrefix(markup, []byte("<?")):
			end := bytes.Index(markup, []byte("?>"))
			if end < 0 {
				return body[:at]
			}
			at += end + len("?>")
		default:
			end, quote := xmlTagEnd(markup)
			if end < 0 {
				return mendXMLTag(body, at, quote)
			}
			at += end
		}
	}
}

// xmlTagEnd returns the length of the tag or declaration at the start of markup, or -1 and the
// quote that is open at its end, if any. Brackets nest in declarations only.
func xmlTagEnd(markup []byte) (end int, quote byte) {
	depth, declaration := 0, bytes.HasPrefix(markup, []byte("<!"))
	for i, c := range markup {
		switch {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '<' && (declaration || i == 0):
			depth++
		case c == '>':
			if depth--; depth <= 0 {
				return i + 1, 0
			}
		}
	}
	return -1, quote
}

func mendXMLTag(body []byte, at int, quote byte) []byte {
	if rest := body[at+1:]; len(rest) == 0 || rest[0] == '/' || rest[0] == '!' {
		return body[:at]
	}
	if quote != 0 {
		body = append(body, quote)
	}
	return append(body, '>')
}

// trimPartialRune removes the first bytes of a UTF-8 sequence whose rest was cut off.
func trimPartialRune(body []byte) []byte {
	for back := 1; back < utf8.UTFMax && back <= len(body); back++ {
		at := len(body) - back
		if utf8.RuneStart(body[at]) {
			if !utf8.FullRune(body[at:]) {
				return body[:at]
			}
			break
		}
	}
	return body
}
