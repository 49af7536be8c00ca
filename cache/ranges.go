package cache

import (
	"bytes"
	"time"

	"gatehouse/internal/octets"
)

// A Part is what a request's Range makes of a hit (RFC 9110 §14).
type Part struct {
	Status   int   // 200: the whole, 206: Body[From:To], 416: nothing
	From, To int64 // the part in bytes, To exclusive
}

// PartOf says what of a hit whose body has that length answers a GET with the header h. A Range of one part is
// taken; several, and what cannot be read, are ignored as RFC 9110 §14.2 permits: the answer is whole. So is
// that to an If-Range that does not name this very response (§13.1.5).
func (e *Entry) PartOf(h Header, length int64) Part {
	whole := Part{Status: 200, To: length}
	lines := h.PeekAll("Range")
	if len(lines) != 1 || e.Status != 200 {
		return whole
	}
	from, to, ok := parseRange(lines[0], length)
	switch {
	case !ok || !e.inRange(h):
		return whole
	case from >= to:
		return Part{Status: 416}
	}
	return Part{Status: 206, From: from, To: to}
}

// parseRange reads "bytes=first-last", "bytes=first-" and "bytes=-suffix". A range that cannot be satisfied is empty.
func parseRange(b []byte, length int64) (from, to int64, ok bool) {
	unit, set, found := bytes.Cut(octets.TrimOWS(b), []byte{'='})
	if !found || !octets.Is(unit, "bytes") {
		return 0, 0, false
	}
	first, last, found := bytes.Cut(octets.TrimOWS(set), []byte{'-'})
	if !found {
		return 0, 0, false
	}
	if len(first) == 0 {
		n, ok := parseSeconds(last)
		return max(length-n, 0), length, ok
	}
	from, ok = parseSeconds(first)
	if !ok {
		return 0, 0, false
	}
	if len(last) == 0 {
		return from, length, true
	}
	end, ok := parseSeconds(last)
	if !ok || end < from {
		return 0, 0, false
	}
	return from, min(end+1, length), true
}

// inRange reports whether the request's If-Range, if any, names e: by strong comparison of entity tags, or by its
// Last-Modified if that is a strong validator (RFC 9110 §8.8.2.2: its Date is a second later at least).
func (e *Entry) inRange(h Header) bool {
	lines := h.PeekAll("If-Range")
	if len(lines) == 0 {
		return true
	}
	value := octets.TrimOWS(lines[0])
	if len(lines) > 1 || len(value) == 0 {
		return false
	}
	if value[len(value)-1] == '"' {
		return !e.weak && e.etag != "" && string(value) == e.etag
	}
	return e.validators.modified != "" && string(value) == e.validators.modified && e.date.Sub(e.modified) >= time.Second
}
