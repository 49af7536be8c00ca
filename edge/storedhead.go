package edge

import (
	"bytes"
	"slices"

	"gatehouse/edge/compress"
	"gatehouse/edge/upstream"
)

// A storedHead is what the head of a stored response is written from: its field
// lines as they are sent. Framing, Age and what belongs to one answer are not in it.
// It never changes.
type storedHead struct {
	lines  []byte
	hsts   []byte // the backend's Strict-Transport-Security, which gives way to the vhost's
	hidden []byte // fields that no client gets, which the answer keeps when it is validated
	// codes: the answer may have a content coding. varying: it says so itself.
	codes, varying bool
}

// hidden are fields that backends send for caches such as this one: what an answer is about, and how long it is to be kept
// here. They tell of the site's inside, and mean nothing to clients.
var hidden = []string{"surrogate-key", "cache-tag", "xkey", "surrogate-control", "gatehouse-cache-control"}

func isHidden(f field) bool { return slices.ContainsFunc(hidden, f.Is) }

// hide takes from the response what no client gets.
func (p *response) hide() {
	if p.template != nil { // it has none of it, and the rest is ours
		return
	}
	p.fields = slices.DeleteFunc(p.fields, func(f upstream.Field) bool { return isHidden(field(f)) })
}

// storeHead makes the head of a response that is being stored.
func storeHead(p *response) *storedHead {
	var lines, hsts, hidden []byte
	date := false
	h := compress.Head{Method: "GET", Status: p.status, Length: p.length}
	for _, f := range p.fields {
		name := field(f)
		h.Add(f.Name, f.Value)
		if name.Is("age") || name.Is("cache-status") || name.Is("x-request-id") {
			continue
		}
		if name.Is("strict-transport-security") {
			hsts = appendField(hsts, f.Name, f.Value)
			continue
		}
		if isHidden(name) {
			hidden = appendField(hidden, f.Name, f.Value)
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
	return &storedHead{slices.Clip(lines), slices.Clip(hsts), slices.Clip(hidden), h.Eligible(), h.Varying()}
}

// coded returns the head of the answer's form with a content coding.
func (h *storedHead) coded(coding compress.Coding) *storedHead {
	head := compress.Head{Method: "GET"}
	lines := make([]byte, 0, len(h.lines)+64)
	for _, f := range h.fields() {
		if value, ok := head.Coded(nil, f.Name, f.Value); ok {
			lines = appendField(lines, f.Name, value)
		}
	}
	lines = appendLine(lines, compress.ContentEncoding+": ", coding.String())
	if !h.varying {
		lines = appendLine(lines, compress.VaryName+": ", compress.VaryValue)
	}
	return &storedHead{lines: slices.Clip(lines), hsts: h.hsts, varying: true}
}

// fields returns the head's field lines, but for Strict-Transport-Security.
func (h *storedHead) fields() []upstream.Field { return fieldsOf(h.lines) }

func fieldsOf(lines []byte) (out []upstream.Field) {
	for line := range bytes.SplitSeq(lines, []byte("\r\n")) {
		if name, value, ok := bytes.Cut(line, []byte(": ")); ok {
			out = append(out, upstream.Field{Name: name, Value: value})
		}
	}
	return out
}

// size is what the head costs in memory.
func (h *storedHead) size() int { return cap(h.lines) + cap(h.hsts) + cap(h.hidden) + 88 }

// updated returns the fields of a response that was found good: those that the head has, and in the place of
// equal ones those that the 304 brought (RFC 9111 §3.2). What tells of the body itself stays.
func (h *storedHead) updated(fields []upstream.Field) []upstream.Field {
	out := make([]upstream.Field, 0, 2*len(fields))
	for line := range bytes.SplitSeq(slices.Concat(h.lines, h.hsts, h.hidden), []byte("\r\n")) {
		name, value, ok := bytes.Cut(line, []byte(": "))
		replaced := slices.ContainsFunc(fields, func(f upstream.Field) bool { return bytes.EqualFold(f.Name, name) })
		if ok && (!replaced || slices.ContainsFunc(ofTheBody, field{Name: name}.Is)) {
			out = append(out, upstream.Field{Name: name, Value: value})
		}
	}
	for _, f := range fields {
		if !slices.ContainsFunc(ofTheBody, field(f).Is) {
			out = append(out, f)
		}
	}
	return out
}

// ofTheBody are the fields of a 304 that do not replace those of the stored response: its body is as it was.
var ofTheBody = []string{"content-encoding", "content-length", "content-range", "content-type", "content-md5", "content-digest", "transfer-encoding"}

// notModified returns the fields that an answer 304 repeats (RFC 9110 §15.4.5).
func (h *storedHead) notModified() []upstream.Field {
	var out []upstream.Field
	for _, f := range h.fields() {
		if slices.ContainsFunc(repeated, field(f).Is) {
			out = append(out, f)
		}
	}
	return out
}

var repeated = []string{"date", "etag", "cache-control", "expires", "vary", "content-location", "last-modified"}
