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

// opaqueTag is the response's entity tag without its weakness; empty if it has
// none, or more than one, or a malformed one.
func opaqueTag(h Header) string {
	lines := h.PeekAll("Etag")
	if len(lines) != 1 {
		return ""
	}
	opaque, rest, ok := cutTag(octets.TrimOWS(lines[0]))
	if !ok || len(rest) > 0 {
		return ""
	}
	return string(opaque)
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
