package waf

import (
	"bytes"
	"encoding/xml"
	"errors"
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
// start tag, an entity and a character data section. Where the cut is, that parser tells. An unfinished end tag, comment
// or processing instruction holds nothing that rules see, and may stay open, as elements may. An unfinished
// declaration is removed, unless parsers may disagree on its end: then it is an error (errXMLDeclaration).
func mendXML(body []byte) []byte {
	body = trimPartialRune(body)
	end, err := readXML(body, func(xml.Token) {})
	open := body[end:]
	switch {
	case errors.Is(err, errXMLSection):
		return append(body, "]]>"...)
	case err != nil:
		return body // the sender's own
	case isDeclaration(open):
		if !bytes.Contains(open, []byte("<?")) {
			return body[:end]
		}
	case len(open) > 1 && open[0] == '<' && bytes.IndexByte([]byte("/!?"), open[1]) < 0:
		return append(body, xmlTagEnd(open)...)
	case len(open) > 0 && open[0] != '<':
		return append(body, ' ') // ends an entity: the parser returns no text with half of one
	}
	return body
}

// xmlTagEnd returns what a start tag needs to be whole.
func xmlTagEnd(tag []byte) string {
	for _, end := range []string{">", `">`, "'>"} {
		whole := append(append(make([]byte, 0, len(tag)+len(end)), tag...), end...)
		found := false
		if _, err := readXML(whole, func(token xml.Token) {
			_, start := token.(xml.StartElement)
			found = found || start
		}); err == nil && found {
			return end
		}
	}
	return ""
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
