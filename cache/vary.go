package cache

import (
	"net/textproto"
	"slices"
	"strings"

	"gatehouse/internal/octets"
)

// maxVary bounds the field names of one Vary: each is compared on every lookup.
const maxVary = 16

// varyField is one field that a response was selected by (RFC 9111 §4.1), with
// what the request had in it.
type varyField struct {
	name    string
	present bool
	value   string // normalised
	// language is that of the response, if it is one of those that the field asks for: whoever wants it most is
	// served by the response, whatever else he wants.
	language string
}

// parseVary reads Vary's names: canonical, sorted, each once.
func parseVary(lines [][]byte) ([]string, Reason) {
	var names []string
	for _, line := range lines {
		for member := range strings.SplitSeq(string(line), ",") {
			name := string(octets.TrimOWS([]byte(member)))
			switch {
			case name == "":
				continue
			case name == "*":
				return nil, ReasonVaryStar
			case tokenLen([]byte(name)) != len(name):
				return nil, ReasonMalformed
			}
			names = append(names, textproto.CanonicalMIMEHeaderKey(name))
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) > maxVary {
		return nil, ReasonVaryLimit
	}
	return names, ""
}

// selectBy reads the fields of names from a request.
func selectBy(names []string, h Header) []varyField {
	if len(names) == 0 {
		return nil
	}
	fields := make([]varyField, len(names))
	for i, name := range names {
		lines := h.PeekAll(name)
		fields[i] = varyField{
			name:    name,
			present: len(lines) > 0,
			value:   string(appendNormalised(nil, name, lines)),
		}
	}
	return fields
}

// variantOf is what req has in the fields by which e varies: requests that have the same select the same responses, if these
// vary as e does.
func variantOf(e *Entry, req *Request) []byte {
	names := make([]string, len(e.vary))
	for i := range e.vary {
		names[i] = e.vary[i].name
	}
	return appendVariant(nil, selectBy(names, req.Header))
}

func appendVariant(dst []byte, fields []varyField) []byte {
	for i := range fields {
		f := &fields[i]
		dst = appendPart(dst, f.name)
		if f.present {
			dst = appendPart(append(dst, 1), f.value)
		} else {
			dst = append(dst, 0)
		}
	}
	return dst
}

// matches reports whether the request with header h selects f's response.
func (f *varyField) matches(h Header) bool {
	lines := h.PeekAll(f.name)
	if (len(lines) > 0) != f.present {
		return false
	}
	if !f.present || len(lines) == 1 && string(lines[0]) == f.value {
		return true
	}
	var buf [512]byte // on the stack; a longer value is the rare case that allocates
	value := appendNormalised(buf[:0], f.name, lines)
	return string(value) == f.value || f.language != "" && prefers(value, f.language)
}

// appendNormalised appends the lines as one value, with whitespace normalised
// and, where the field's own rules are known, what means the same made the same
// (RFC 9111 §4.1). In a field that is no list a comma is data, so its whitespace
// is kept and its lines stay apart.
func appendNormalised(dst []byte, name string, lines [][]byte) []byte {
	list := true
	switch name {
	case "Accept-Language":
		return appendLanguages(dst, lines)
	case "Authorization", "Cookie", "Origin", "Referer", "User-Agent":
		list = false
	}
	quoted := false
	for i, line := range lines {
		line = octets.TrimOWS(line)
		switch {
		case !list && i > 0:
			dst = append(append(dst, '\n'), line...)
		case !list:
			dst = append(dst, line...)
		default:
			if i > 0 {
				dst = append(dst, ',')
			}
			dst, quoted = appendList(dst, line, quoted)
		}
	}
	return dst
}

// appendList appends line without the whitespace around its commas, quoted
// strings left alone. quoted is whether a quoted string is open: malformed
// lines mean what they would mean as one.
func appendList(dst, line []byte, quoted bool) ([]byte, bool) {
	start := len(dst)
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case quoted && c == '\\' && i+1 < len(line):
			dst = append(dst, c)
			i++
			c = line[i]
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted:
			for len(dst) > start && (dst[len(dst)-1] == ' ' || dst[len(dst)-1] == '\t') {
				dst = dst[:len(dst)-1]
			}
			for i+1 < len(line) && (line[i+1] == ' ' || line[i+1] == '\t') {
				i++
			}
		}
		dst = append(dst, c)
	}
	return dst, quoted
}
