package cache

import (
	"bytes"
	"time"

	"gatehouse/internal/octets"
)

// hasPrecondition reports whether the request has a precondition that only the
// origin can evaluate (RFC 9110 §13.1). If-Range means nothing without Range, with
// which the cache does not deal either.
func hasPrecondition(h Header) bool {
	return has(h, "If-Match") || has(h, "If-Unmodified-Since")
}

// NotModified reports whether a hit on e may be answered 304 to a request with
// the header h (RFC 9111 §4.3.2): If-None-Match decides if present, else
// If-Modified-Since. It is false for entries whose status is not 2xx (RFC 9110
// §13.2.1).
func (e *Entry) NotModified(h Header) bool {
	if e.Status < 200 || e.Status > 299 {
		return false
	}
	if lines := h.PeekAll("If-None-Match"); len(lines) > 0 {
		for _, line := range lines {
			if e.matchesAny(line) {
				return true
			}
		}
		return false
	}
	lines := h.PeekAll("If-Modified-Since")
	if len(lines) != 1 {
		return false
	}
	since, ok := parseDate(lines[0], e.received)
	return ok && !e.modified.After(since)
}

// matchesAny reports whether e's entity tag is in the list, by weak comparison
// (RFC 9110 §8.8.3.2), or the list is "*".
func (e *Entry) matchesAny(list []byte) bool {
	list = octets.TrimOWS(list)
	if len(list) == 1 && list[0] == '*' {
		return true
	}
	for {
		for len(list) > 0 && (list[0] == ',' || list[0] == ' ' || list[0] == '\t') {
			list = list[1:]
		}
		opaque, rest, ok := cutTag(list)
		if !ok {
			return false
		}
		if e.etag != "" && string(opaque) == e.etag {
			return true
		}
		if rest = octets.TrimOWS(rest); len(rest) > 0 && rest[0] != ',' {
			return false
		}
		list = rest
	}
}

// cutTag cuts an entity tag, [W/]"…", from b and returns its part with quotes.
func cutTag(b []byte) (opaque, rest []byte, ok bool) {
	b = bytes.TrimPrefix(b, []byte("W/"))
	if len(b) < 2 || b[0] != '"' {
		return nil, nil, false
	}
	end := bytes.IndexByte(b[1:], '"') + 2
	if end < 2 {
		return nil, nil, false
	}
	return b[:end], b[end:], true
}

// opaqueTag is the response's entity tag without its weakness, and whether it is
// weak; empty if it has none, or more than one, or a malformed one.
func opaqueTag(h Header) (tag string, weak bool) {
	lines := h.PeekAll("Etag")
	if len(lines) != 1 {
		return "", false
	}
	return partsOf(octets.TrimOWS(lines[0]))
}

// partsOf is opaqueTag of a field's value.
func partsOf(line []byte) (tag string, weak bool) {
	opaque, rest, ok := cutTag(line)
	if !ok || len(rest) > 0 {
		return "", false
	}
	return string(opaque), line[0] == 'W'
}

// modifiedAt is what If-Modified-Since is compared with: Last-Modified, else
// Date, else the time of receipt (RFC 9111 §4.3.2).
func modifiedAt(resp *Response) time.Time {
	if lines := resp.Header.PeekAll("Last-Modified"); len(lines) > 0 {
		if t, ok := parseDate(lines[0], resp.Received); ok {
			return t
		}
	}
	return dateOf(resp)
}

// validators are a response's own, as they came: what a request that validates it
// carries (RFC 9111 §4.3.1).
type validators struct {
	tag      string // entity tag; empty: none
	modified string // Last-Modified; empty: none
}

// validatorsOf reads a response's validators.
func validatorsOf(h Header) (v validators) {
	if lines := h.PeekAll("Etag"); len(lines) == 1 {
		v.tag = string(octets.TrimOWS(lines[0]))
	}
	if lines := h.PeekAll("Last-Modified"); len(lines) == 1 {
		v.modified = string(octets.TrimOWS(lines[0]))
	}
	return v
}

func hasValidator(h Header) bool { return has(h, "Etag") || has(h, "Last-Modified") }

// AppendConditions appends the field lines of a request that validates e (RFC 9111
// §4.3.1); nothing if e has no validator.
func (e *Entry) AppendConditions(dst []byte) []byte {
	if e.validators.tag != "" {
		dst = append(append(append(dst, "If-None-Match: "...), e.validators.tag...), "\r\n"...)
	}
	if e.validators.modified != "" {
		dst = append(append(append(dst, "If-Modified-Since: "...), e.validators.modified...), "\r\n"...)
	}
	return dst
}

// Validates reports whether a response 304 with the header h can be about e (RFC 9111 §4.3.4): it names e's entity tag or none. If
// e has none, a strong one is of another response, unless Last-Modified, being a strong validator, too, says that it is this one.
// A weak or malformed one tells nothing.
func (e *Entry) Validates(h Header) bool {
	lines := h.PeekAll("Etag")
	if len(lines) == 0 {
		return true
	}
	tag, weak := opaqueTag(h)
	if e.validators.tag == "" {
		return tag == "" || weak || has(h, "Last-Modified") && e.SameModified(h) && e.modifiedStrongly()
	}
	return tag == e.etag && (tag != "" || string(octets.TrimOWS(lines[0])) == e.validators.tag)
}

// modifiedStrongly reports whether e's Last-Modified is a strong validator: what is a second older than the response that tells of it
// cannot stand for two of them (RFC 9110 §8.8.2.2).
func (e *Entry) modifiedStrongly() bool {
	return e.validators.modified != "" && e.date.Sub(e.modified) >= time.Second
}

// SameModified reports whether a response with the header h says of its modification what e does, or nothing.
func (e *Entry) SameModified(h Header) bool {
	lines := h.PeekAll("Last-Modified")
	return len(lines) == 0 || string(octets.TrimOWS(lines[0])) == e.validators.modified
}
