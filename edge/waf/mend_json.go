package waf

import (
	"bytes"
	"slices"
)

// maxJSONDepth is SecRequestBodyJsonDepthLimit of base.conf. A deeper body is an error, mended or not.
const maxJSONDepth = 1024

// jsonCut is where in a JSON text (RFC 8259) a cut falls.
type jsonCut struct {
	open []byte // the brackets that are open, outermost first: { or [
	last byte   // the last token: one of {}[],: or " for a string or v for another value; 0 at first
	key  bool   // the last token is, or the open string will be, the name of an object's member

	inString bool
	escape   bool // within a string, right after a backslash
	hex      int  // within a string, how many digits of \uXXXX are still to come
	value    int  // where the last value that is not a string starts
}

// shallowJSON returns a body up to the first bracket that is too deep, which is all that the engine needs to call it
// an error: it looks for the end of each open bracket in all that follows, a second for 128 KiB of brackets.
func shallowJSON(body []byte) []byte {
	depth, inString := 0, false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			if depth++; depth > maxJSONDepth {
				return body[:i+1]
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return body
}

// mendJSON closes what is open. A name without a value gets null, a value begun is completed.
func mendJSON(body []byte) []byte {
	var cut jsonCut
	for i, c := range body {
		if cut.inString {
			cut.stringByte(c)
		} else {
			cut.byte(i, c, body)
		}
		if len(cut.open) > maxJSONDepth {
			return body
		}
	}
	body = cut.finishToken(body)
	if n := len(cut.open); n > 0 {
		body = append(body, cut.missing(cut.open[n-1])...)
	}
	for _, bracket := range slices.Backward(cut.open) {
		body = append(body, bracket+2) // '{'+2 is '}', '['+2 is ']'
	}
	return body
}

func (j *jsonCut) stringByte(c byte) {
	switch {
	case j.hex > 0:
		j.hex--
	case j.escape:
		j.escape = false
		if c == 'u' {
			j.hex = 4
		}
	case c == '\\':
		j.escape = true
	case c == '"':
		j.inString = false
		j.last = '"'
	}
}

func (j *jsonCut) byte(i int, c byte, body []byte) {
	switch c {
	case ' ', '\t', '\r', '\n':
	case '"':
		inObject := len(j.open) > 0 && j.open[len(j.open)-1] == '{'
		j.key = inObject && (j.last == '{' || j.last == ',')
		j.inString = true
	case '{', '[':
		j.open = append(j.open, c)
		j.last = c
	case '}', ']':
		if n := len(j.open); n > 0 {
			j.open = j.open[:n-1]
		}
		j.last = c
	case ',', ':':
		j.last = c
	default:
		if j.last != 'v' || i == 0 || bytes.IndexByte([]byte(" \t\r\n"), body[i-1]) >= 0 {
			j.value = i
		}
		j.last = 'v'
	}
}

// finishToken completes a string, a literal or a number.
func (j *jsonCut) finishToken(body []byte) []byte {
	switch {
	case j.inString:
		if j.escape {
			body = append(body, '\\')
		}
		for range j.hex {
			body = append(body, '0')
		}
		j.last = '"'
		return append(body, '"')
	case j.last == 'v':
		begun := body[j.value:]
		for _, literal := range []string{"true", "false", "null"} {
			if len(begun) < len(literal) && literal[:len(begun)] == string(begun) {
				return append(body, literal[len(begun):]...)
			}
		}
		number := begun[0] == '-' || begun[0] >= '0' && begun[0] <= '9'
		if number && bytes.IndexByte([]byte("-+.eE"), begun[len(begun)-1]) >= 0 {
			return append(body, '0')
		}
	case j.last == 0: // nothing but white space came before the cut
		return append(body, "null"...)
	}
	return body
}

// missing is what the grammar wants between the last token and the closing bracket.
func (j *jsonCut) missing(bracket byte) string {
	switch {
	case j.last == ':':
		return "null"
	case j.last == ',' && bracket == '{':
		return `"":null`
	case j.last == ',':
		return "null"
	case j.last == '"' && j.key && bracket == '{':
		return ":null"
	}
	return ""
}
