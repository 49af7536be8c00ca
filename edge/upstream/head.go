package upstream

import (
	"bytes"
	"slices"

	"gatehouse/internal/octets"
)

// Field is one field line of an answer, with the name as the backend wrote it and the value
// without white space around it.
type Field struct{ Name, Value []byte }

const (
	errStatusLine    = malformed("status line is malformed")
	errFieldLine     = malformed("field line has no name, or a character that a name cannot have (RFC 9112 §5.1)")
	errFieldValue    = malformed("field value has a control character (RFC 9110 §5.5)")
	errContentLength = malformed("Content-Length is not one plain number (RFC 9112 §6.3)")
	errTwoLengths    = malformed("Content-Length comes twice (RFC 9112 §6.3)")
	errTransfer      = malformed("Transfer-Encoding is not exactly chunked (RFC 9112 §6.1)")
	errBothFramings  = malformed("both Content-Length and Transfer-Encoding (RFC 9112 §6.3)")
	errTransfer10    = malformed("Transfer-Encoding in an HTTP/1.0 answer (RFC 9112 §6.1)")
)

// head is a parsed head of an answer.
type head struct {
	status    int
	http10    bool
	fields    []Field // end-to-end fields in their order
	length    int64   // Content-Length, -1 without
	chunked   bool
	close     bool // Connection: close
	upgrade   bool // Connection: upgrade
	websocket bool // Upgrade: websocket
	listed    [][]byte
}

// spareFields is room for what a caller may add to the fields.
const spareFields = 8

// parse reads b, which must be a whole head of that many lines and stay unchanged afterwards,
// since the fields alias it. They are appended to h.fields. It accepts nothing that two readers could take differently.
func (h *head) parse(b []byte, lines int) error {
	*h = head{length: -1, fields: h.fields}
	line, b := nextLine(b)
	if err := h.parseStatusLine(line); err != nil {
		return err
	}
	h.fields = slices.Grow(h.fields, lines+spareFields)
	for line, b = nextLine(b); len(line) > 0; line, b = nextLine(b) {
		f, err := parseField(line)
		if err != nil {
			return err
		}
		if err := h.add(f); err != nil {
			return err
		}
	}
	switch {
	case h.chunked && h.length >= 0:
		return errBothFramings
	case h.chunked && h.http10:
		return errTransfer10
	}
	h.dropListed()
	return nil
}

// nextLine cuts the first line off b. stream.head has seen that every line ends in CRLF.
func nextLine(b []byte) (line, rest []byte) {
	i := bytes.IndexByte(b, '\n')
	if i < 1 {
		return nil, nil
	}
	return b[:i-1], b[i+1:]
}

// parseStatusLine reads HTTP/1.0 or HTTP/1.1, a status from 100 to 599 and an optional reason
// (RFC 9112 §4; a missing space before an empty reason is common and harmless). A client takes a
// status above 599 for a failure of the server (RFC 9110 §15); so do we, and say so.
func (h *head) parseStatusLine(line []byte) error {
	if len(line) < 12 || string(line[:7]) != "HTTP/1." || line[7] != '0' && line[7] != '1' || line[8] != ' ' {
		return errStatusLine
	}
	for _, c := range line[9:12] {
		if c < '0' || c > '9' {
			return errStatusLine
		}
		h.status = h.status*10 + int(c-'0')
	}
	if h.status < 100 || h.status > 599 || len(line) > 12 && line[12] != ' ' || !octets.IsFieldText(line[12:]) {
		return errStatusLine
	}
	h.http10 = line[7] == '0'
	return nil
}

// parseField reads "name: value". Space before the colon, inside the name or at the start of the
// line (obs-fold, RFC 9112 §5.2) makes the name no token.
func parseField(line []byte) (Field, error) {
	colon := bytes.IndexByte(line, ':')
	if colon < 1 || !octets.IsToken(line[:colon]) {
		return Field{}, errFieldLine
	}
	value := octets.TrimOWS(line[colon+1:])
	if !octets.IsFieldText(value) {
		return Field{}, errFieldValue
	}
	return Field{Name: line[:colon:colon], Value: value[:len(value):len(value)]}, nil
}

// add files one field: framing is noted, hop-by-hop fields are dropped (RFC 9110 §7.6.1), the rest kept.
func (h *head) add(f Field) error {
	switch len(f.Name) {
	case len("te"):
		if octets.Is(f.Name, "te") {
			return nil
		}
	case len("trailer"):
		if octets.Is(f.Name, "upgrade") {
			h.websocket = octets.Is(f.Value, "websocket")
			return nil
		}
		if octets.Is(f.Name, "trailer") {
			return nil
		}
	case len("connection"):
		if octets.Is(f.Name, "connection") {
			h.addConnection(f.Value)
			return nil
		}
		if octets.Is(f.Name, "keep-alive") {
			return nil
		}
	case len("content-length"):
		if octets.Is(f.Name, "content-length") {
			return h.addLength(f.Value)
		}
	case len("proxy-connection"):
		if octets.Is(f.Name, "proxy-connection") {
			return nil
		}
	case len("transfer-encoding"):
		if octets.Is(f.Name, "transfer-encoding") {
			if h.chunked || !octets.Is(f.Value, "chunked") {
				return errTransfer
			}
			h.chunked = true
			return nil
		}
	case len("proxy-authenticate"):
		if octets.Is(f.Name, "proxy-authenticate") {
			return nil
		}
	}
	h.fields = append(h.fields, f)
	return nil
}

func (h *head) addLength(value []byte) error {
	if h.length >= 0 {
		return errTwoLengths
	}
	if len(value) == 0 || len(value) > 18 { // 18 digits fit int64
		return errContentLength
	}
	n := int64(0)
	for _, c := range value {
		if c < '0' || c > '9' {
			return errContentLength
		}
		n = n*10 + int64(c-'0')
	}
	h.length = n
	return nil
}

// addConnection notes the options of a Connection field.
func (h *head) addConnection(value []byte) {
	for len(value) > 0 {
		option, rest, _ := bytes.Cut(value, []byte{','})
		option, value = octets.TrimOWS(option), rest
		switch {
		case octets.Is(option, "close"):
			h.close = true
		case octets.Is(option, "upgrade"):
			h.upgrade = true
		case len(option) > 0 && !octets.Is(option, "keep-alive"):
			h.listed = append(h.listed, option)
		}
	}
}

// dropListed removes the fields that Connection names. Cache-Control stays even then: the RFC
// forbids to list it, and without it a private answer could be stored.
func (h *head) dropListed() {
	if len(h.listed) == 0 {
		return
	}
	kept := h.fields[:0]
	for _, f := range h.fields {
		if !isListed(h.listed, f.Name) || octets.Is(f.Name, "cache-control") {
			kept = append(kept, f)
		}
	}
	clear(h.fields[len(kept):])
	h.fields = kept
}

func isListed(listed [][]byte, name []byte) bool {
	for _, option := range listed {
		if bytes.EqualFold(option, name) {
			return true
		}
	}
	return false
}

// bodyless reports whether the answer has no body whatever it announces (RFC 9112 §6.3, 1 and 2).
func (h *head) bodyless(method string) bool {
	return method == "HEAD" || h.status == 204 || h.status == 304 || h.status < 200
}

// announces reports whether the head promises body bytes.
func (h *head) announces() bool { return h.chunked || h.length > 0 }
