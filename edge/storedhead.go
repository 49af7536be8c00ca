package edge

import (
	"bytes"
	"slices"

	"gatehouse/edge/upstream"
)

// A storedHead is what the head of a stored response is written from: its field
// lines as they are sent. Framing, Age and what belongs to one answer are not in it.
// It never changes.
type storedHead struct {
	lines []byte
	hsts  []byte // the backend's Strict-Transport-Security, which gives way to the vhost's
}

// storeHead makes the head of a response that is being stored.
func storeHead(p *response) *storedHead {
	var lines, hsts []byte
	date := false
	for _, f := range p.fields {
		name := field(f)
		if name.Is("age") || name.Is("cache-status") || name.Is("x-request-id") {
			continue
		}
		if name.Is("strict-transport-security") {
			hsts = appendField(hsts, f.Name, f.Value)
			continue
		}
		date = date || name.Is("date")
		lines = appendField(lines, f.Name, f.Value)
	}
	if !date {
		lines = append(lines, "Date: "...) // RFC 9110 §6.6.1
		lines = p.received.UTC().AppendFormat(lines, dateLayout)
		lines = append(lines, "\r\n"...)
	}
	return &storedHead{slices.Clip(lines), slices.Clip(hsts)}
}

// size is what the head costs in memory.
func (h *storedHead) size() int { return cap(h.lines) + cap(h.hsts) + 64 }

// notModified returns the fields that an answer 304 repeats (RFC 9110 §15.4.5).
func (h *storedHead) notModified() []upstream.Field {
	var out []upstream.Field
	for line := range bytes.SplitSeq(h.lines, []byte("\r\n")) {
		name, value, ok := bytes.Cut(line, []byte(": "))
		f := field{Name: name, Value: value}
		if ok && slices.ContainsFunc(repeated, f.Is) {
			out = append(out, upstream.Field(f))
		}
	}
	return out
}

var repeated = []string{"date", "etag", "cache-control", "expires", "vary", "content-location", "last-modified"}
