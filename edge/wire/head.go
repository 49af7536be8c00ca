package wire

import (
	"bytes"
	"math"
	"net/http"
	"time"

	"gatehouse/internal/octets"
)

// A Head is a request's head, checked. Its byte slices are the connection's: they
// stay as they are until the next head is read.
type Head struct {
	Method string // a token (RFC 9110 §9.1), never CONNECT or TRACE
	Target string // origin-form exactly as it came, or "*"; of an absolute-form its path and query
	Host   string // the Host field's value; empty only in HTTP/1.0
	Proto  string // "HTTP/1.1" or "HTTP/1.0"
	Minor  int    // 1 for HTTP/1.1, 0 for HTTP/1.0
	Fields []Field
	Begun  time.Time // when its first byte was read, or its turn came among pipelined requests
	// Length of the body: 0 none, -1 chunked.
	Length int64
	// Upgrade is "websocket" for a GET of HTTP/1.1 without content that offers it
	// (RFC 6455 §4.1; the rest of the handshake is the backend's to judge), else
	// empty: every other offer of a protocol is ignored.
	Upgrade string
	// Last: the connection ends after this request, by the client's wish, by its
	// protocol, or by a limit.
	Last bool
	// Refused is why the request is not let in; nil: it is. The other fields then
	// hold what had been read before, for logs: Method any token or nothing, Target
	// of a refused request line and Host at most 256 bytes, Proto the version as it
	// came ("HTTP/2.0"), or empty if none was read.
	Refused *Refusal

	expects bool // 100-continue
}

// A Field is one field line: its name as it came, and its value without the
// white space around it.
type Field struct{ Name, Value []byte }

// Is compares the name, which is case-insensitive; lower is in lower case.
func (f Field) Is(lower string) bool { return octets.Is(f.Name, lower) }

// methodBytes is the length beyond which a method is not one that we could know.
const methodBytes = 64

// keptBytes is how much of a target and a Host that are refused is kept for logs.
const keptBytes = 256

// keep notes what a request line that is refused, or has not come whole, says.
func (h *Head) keep(line []byte) {
	method, rest, ok := bytes.Cut(line, []byte{' '})
	if !ok || !octets.IsToken(method) || len(method) > methodBytes {
		return
	}
	target, version, _ := bytes.Cut(rest, []byte{' '})
	h.Method = methodName(method)
	h.Target = string(target[:min(len(target), keptBytes)])
	if isVersion(version) {
		h.Proto = string(version)
	}
}

// A parser reads a head line by line, as it comes. A line that is bad is refused
// at once: one that sends garbage need not be waited for.
type parser struct {
	limits *Limits
	at     int // where the next line begins
	seen   int // up to where no line end was found
	lines  int // lines read, the request line first
	empty  int // empty lines before the request line

	target  []byte
	host    []byte
	hosts   int
	lengths int
	codings int
	upgrade bool // Connection: upgrade
	close   bool // Connection: close
	keep    bool // Connection: keep-alive
}

// parse goes on with the head at the beginning of buf, of which more may have
// come since the last call. It returns the head's length once it is whole, 0
// before that.
func (p *parser) parse(h *Head, buf []byte) (int, *Refusal) {
	for {
		i := bytes.IndexByte(buf[p.seen:], '\n')
		if i < 0 {
			p.seen = len(buf)
			return 0, p.partial(buf[p.at:])
		}
		end := p.seen + i
		line := buf[p.at:end]
		p.at, p.seen = end+1, end+1
		if len(line) == 0 || line[len(line)-1] != '\r' {
			return 0, errBareLF
		}
		line = line[:len(line)-1]
		switch {
		case len(line) == 0 && p.lines == 0:
			if p.empty++; p.empty > 1 {
				return 0, errEmptyLines
			}
		case len(line) == 0:
			if p.at > p.limits.Header {
				return 0, errHeadLong
			}
			return p.at, p.whole(h)
		default:
			if refusal := p.line(h, line); refusal != nil {
				return 0, refusal
			}
		}
	}
}

func (p *parser) line(h *Head, line []byte) *Refusal {
	p.lines++
	if p.lines == 1 {
		return p.requestLine(h, line)
	}
	if p.at > p.limits.Header {
		return errHeadLong
	}
	return p.field(h, line)
}

// partial judges a line that has not ended yet: only what no further byte could
// mend.
func (p *parser) partial(line []byte) *Refusal {
	if cr := bytes.IndexByte(line, '\r'); cr >= 0 && cr < len(line)-1 {
		return errBareCR
	}
	switch {
	case len(line) == 0:
	case p.lines > 0:
		if p.at+len(line) > p.limits.Header {
			return errHeadLong
		}
	case line[0] != '\r' && !octets.IsTokenByte(line[0]):
		return errRequestLine // TLS, a PROXY header, another protocol
	case int64(len(line)-methodBytes-1-len(" HTTP/1.1\r")) > p.limits.Target:
		return tooLong(line)
	}
	return nil
}

// tooLong says which part of an endless request line is to blame.
func tooLong(line []byte) *Refusal {
	if sp := bytes.IndexByte(line, ' '); sp < 0 || sp > methodBytes {
		return errMethod
	}
	return errTargetLong
}

// requestLine reads method SP request-target SP HTTP-version (RFC 9112 §3).
func (p *parser) requestLine(h *Head, line []byte) *Refusal {
	method, rest, ok := bytes.Cut(line, []byte{' '})
	if !ok || !octets.IsToken(method) {
		return errRequestLine
	}
	target, version, ok := bytes.Cut(rest, []byte{' '})
	if !ok || len(target) == 0 {
		return errRequestLine
	}
	if len(method) > methodBytes {
		return errMethod
	}
	h.Method = methodName(method)
	switch string(version) {
	case "HTTP/1.1":
		h.Proto, h.Minor = "HTTP/1.1", 1
	case "HTTP/1.0":
		h.Proto = "HTTP/1.0"
	default:
		if isVersion(version) {
			return errVersion
		}
		return errRequestLine
	}
	if int64(len(target)) > p.limits.Target {
		return errTargetLong
	}
	if refusal := checkTarget(target); refusal != nil {
		return refusal
	}
	p.target = target
	h.Target = string(target) // until the authority of an absolute-form is compared
	if h.Method == "CONNECT" || h.Method == "TRACE" {
		return errConnect
	}
	return nil
}

// isVersion reports whether b is an HTTP-version, whichever (RFC 9112 §2.3).
func isVersion(b []byte) bool {
	return len(b) == 8 && string(b[:5]) == "HTTP/" && b[6] == '.' &&
		b[5] >= '0' && b[5] <= '9' && b[7] >= '0' && b[7] <= '9'
}

// methodName returns the usual methods without allocation.
func methodName(b []byte) string {
	switch string(b) {
	case http.MethodGet:
		return http.MethodGet
	case http.MethodHead:
		return http.MethodHead
	case http.MethodPost:
		return http.MethodPost
	case http.MethodPut:
		return http.MethodPut
	case http.MethodPatch:
		return http.MethodPatch
	case http.MethodDelete:
		return http.MethodDelete
	case http.MethodOptions:
		return http.MethodOptions
	}
	return string(b)
}

// field reads "name: value" (RFC 9112 §5) and notes what the field says of the
// message itself.
func (p *parser) field(h *Head, line []byte) *Refusal {
	if line[0] == ' ' || line[0] == '\t' {
		if p.lines == 2 {
			return errFieldName // white space between the request line and the fields: §2.2
		}
		return errFold
	}
	colon := 0
	for colon < len(line) && octets.IsTokenByte(line[colon]) {
		colon++
	}
	if colon == 0 || colon == len(line) || line[colon] != ':' {
		return errFieldName
	}
	f := Field{Name: line[:colon:colon], Value: octets.TrimOWS(line[colon+1:])}
	if !octets.IsFieldText(f.Value) {
		return errFieldValue
	}
	if len(h.Fields) >= p.limits.HeaderFields {
		return errFields
	}
	h.Fields = append(h.Fields, f)
	return p.note(h, f)
}

// note keeps the fields that frame the message or concern the connection.
func (p *parser) note(h *Head, f Field) *Refusal {
	switch len(f.Name) {
	case len("host"):
		if f.Is("host") {
			p.hosts++
			p.host = f.Value
		}
	case len("expect"):
		if f.Is("expect") {
			if !octets.Is(f.Value, "100-continue") {
				return errExpectation
			}
			h.expects = true
		}
	case len("upgrade"):
		if f.Is("upgrade") && octets.Is(f.Value, "websocket") {
			h.Upgrade = "websocket"
		}
	case len("connection"):
		if f.Is("connection") {
			p.close = p.close || listHas(f.Value, "close")
			p.keep = p.keep || listHas(f.Value, "keep-alive")
			p.upgrade = p.upgrade || listHas(f.Value, "upgrade")
		}
	case len("content-length"):
		if f.Is("content-length") {
			p.lengths++
			return p.length(h, f.Value)
		}
	case len("transfer-encoding"):
		if f.Is("transfer-encoding") {
			p.codings++
			if !octets.Is(f.Value, "chunked") {
				return errCoding
			}
		}
	}
	return nil
}

// length reads Content-Length: digits and nothing else, and a number that every
// reader's integer holds (RFC 9110 §8.6).
func (p *parser) length(h *Head, value []byte) *Refusal {
	if len(value) == 0 || len(value) > 19 {
		return errLength
	}
	n := uint64(0) // nineteen digits fit
	for _, c := range value {
		if c < '0' || c > '9' {
			return errLength
		}
		n = n*10 + uint64(c-'0')
	}
	if n > math.MaxInt64 {
		return errLength
	}
	h.Length = int64(n)
	return nil
}

// whole judges what only the whole head tells.
func (p *parser) whole(h *Head) *Refusal {
	switch {
	case p.codings > 1 || p.lengths > 1 || p.codings+p.lengths > 1: // request smuggling: RFC 9112 §6.1
		return errFraming
	case p.codings > 0 && h.Minor == 0:
		return errCoding10
	case p.hosts > 1 || len(p.host) == 0 && h.Minor > 0:
		return errHost
	}
	if p.codings > 0 {
		h.Length = -1
	}
	target, refusal := origin(h.Method, p.target, p.host)
	if refusal != nil {
		return refusal
	}
	if len(target) != len(h.Target) {
		h.Target = string(target)
	}
	// A request with content keeps its framing and its protocol.
	if !p.upgrade || h.Minor == 0 || h.Method != http.MethodGet || h.Length != 0 {
		h.Upgrade = ""
	}
	h.expects = h.expects && h.Minor > 0 && h.Length != 0 // RFC 9110 §10.1.1
	h.Last = p.close || h.Minor == 0 && !p.keep
	return nil
}

// ReadHead reads a head as a connection would that had brought all of it: for
// asking what would become of a request. Text ends with the head. A zero field of
// limits stands for its default.
func ReadHead(text []byte, limits Limits) Head {
	limits = limits.withDefaults()
	var h Head
	p := parser{limits: &limits}
	n, refusal := p.parse(&h, text)
	if refusal == nil && n == 0 {
		refusal = errHeadCut
	}
	h.Refused = refusal
	h.Host = string(p.host)
	return h
}

// hostName returns the Host field as a string; requests of one connection mostly
// have the same, so last is asked first.
func (p *parser) hostName(last string) string {
	if string(p.host) == last {
		return last
	}
	return string(p.host)
}
