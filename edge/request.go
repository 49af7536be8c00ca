package edge

import (
	"bytes"
	"crypto/tls"
	"log/slog"
	"net/netip"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"gatehouse/edge/waf"
	"gatehouse/routes"
)

// A request is everything that one request is, from the parsed head to the done
// hook. It owns what the links ask for: no link asks the HTTP library who the
// peer is or whether there is TLS, since not every request will come from it.
// Byte slices and strings alias the connection's buffers and live until done.
type request struct {
	ID    string
	Start time.Time

	Client netip.AddrPort // after trusted proxies: what logs, limits and lists use
	Peer   netip.AddrPort // who holds the connection
	Server netip.AddrPort // our own end of it
	// PeerTrusted: the peer is one of trusted_proxies.
	PeerTrusted bool
	TLS         *tls.ConnectionState // nil: plain
	Scheme      string               // "http" or "https"; a trusted proxy's word counts

	Proto   string // "HTTP/1.1"
	Method  string
	Target  string // origin-form, exactly as it came: path and query
	RawHost string // the Host field, or the authority of an absolute-form target
	Host    string // canonical; empty before selectVhost
	Fields  []field
	Upgrade string // "websocket" or empty

	body   *requestBody // never nil; empty if the request has none
	header *fasthttp.RequestHeader
	conn   clientConn

	log   *slog.Logger
	via   string // this node's name in Via
	table *routes.Table
	site  *site
	waf   *waf.Transaction

	response response
	record   record
	unseen   bool     // the body could not be inspected, and may go on
	atEnd    []func() // see done
	ended    bool
}

// A field is one field line of a request, name and value as they came.
type field struct{ Name, Value []byte }

// is compares the name, which is case-insensitive; lower is in lower case.
func (f field) is(lower string) bool {
	return len(f.Name) == len(lower) && strings.EqualFold(string(f.Name), lower)
}

// A clientConn is what a request needs of its connection beyond bytes.
type clientConn interface {
	AbortRead() error                // wake a blocked read of the body
	Linger()                         // wait a moment at close
	HeadDone()                       // the head's deadline ends
	SetReadDeadline(time.Time) error // bounds the discarding of a body
}

// A record is what was decided about a request, each decision once. The access
// line, events and response fields read it and nothing else.
type record struct {
	Route   string // the vhost's name, or why there is none
	Tenant  string
	Address string
	Limit   string
	WAF     wafRecord
	Cache   string // hit, miss, bypass, … ; empty: off
	Backend string // the address that answered, or was tried last
	Err     error  // what the operator reads of a failure

	Routed, Inspected, Looked, Answered time.Time // when each was decided
}

// A wafRecord is what the WAF said.
type wafRecord struct {
	Mode    string
	Verdict string // pass, detect or block; empty: not asked
	Score   int
	Rules   []int
}

var requests = sync.Pool{New: func() any { return &request{} }}

// newRequest reads the head that fasthttp parsed. The request is usable, for the
// access line and an error page, also when an error is returned.
func (s *Server) newRequest(ctx *fasthttp.RequestCtx) (*request, error) {
	r := requests.Get().(*request)
	*r = request{Fields: r.Fields[:0], atEnd: r.atEnd[:0], body: r.body}
	r.log, r.via = s.log, s.via
	r.Start = time.Now()
	s.active.Store(r.Start.UnixNano())
	s.once.Do(func() { ctx.Response.Header.CopyTo(&s.blank) })
	r.table = s.table.Load()
	r.header = &ctx.Request.Header
	r.connection(ctx)
	r.Proto = string(r.header.Protocol())
	r.Method = string(r.header.Method())
	if r.body == nil {
		r.body = &requestBody{}
	}
	r.body.reset(nil, 0, 0, r.conn)
	err := r.readHead(s.opts.Limits)
	s.identify(r)
	if err != nil {
		return r, err
	}
	length := int64(r.header.ContentLength())
	if most := s.opts.Limits.Body; most > 0 && length > most {
		return r, &httpError{status: 413, reason: "request body too large", cause: errBodyTooLarge}
	}
	if stream := ctx.Request.BodyStream(); stream != nil && length != 0 {
		r.body.reset(stream, max(length, -1), s.opts.Limits.Body, r.conn)
	}
	return r, nil
}

// connection takes over what the connection tells.
func (r *request) connection(ctx *fasthttp.RequestCtx) {
	if c, ok := ctx.Conn().(clientConn); ok {
		r.conn = c
		c.HeadDone()
	}
	r.Peer = addrPort(ctx.RemoteAddr())
	r.Server = addrPort(ctx.LocalAddr())
	r.Client, r.Scheme = r.Peer, "http"
	if secured, ok := ctx.Conn().(interface{ ConnectionState() tls.ConnectionState }); ok {
		state := secured.ConnectionState()
		r.TLS, r.Scheme = &state, "https"
	}
}

func addrPort(a interface{ String() string }) netip.AddrPort {
	if t, ok := a.(interface{ AddrPort() netip.AddrPort }); ok {
		ap := t.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}

// readHead fills target, host and fields, and refuses what has two readings.
func (r *request) readHead(limits Limits) error {
	if r.Proto != "HTTP/1.1" && r.Proto != "HTTP/1.0" {
		return refuse(505, "HTTP version not supported")
	}
	if err := r.readFields(limits.HeaderFields); err != nil {
		return err
	}
	if r.Method == "CONNECT" || r.Method == "TRACE" {
		return refuse(405, "method not allowed")
	}
	return r.readTarget(limits.Target)
}

// readFields splits the raw field lines. The names and values were checked for
// control characters by the parser; what it is lenient about is refused here.
func (r *request) readFields(most int) error {
	var hosts, framings int
	for raw := r.header.RawHeaders(); len(raw) > 0; {
		line, rest, _ := bytes.Cut(raw, []byte("\n"))
		raw = rest
		line = bytes.TrimSuffix(line, []byte("\r"))
		if len(line) == 0 {
			continue
		}
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok || !isToken(name) { // obs-fold, space in or after a name (RFC 9112 §5.1, §5.2)
			return refuse(400, "malformed header field")
		}
		f := field{name, bytes.Trim(value, " \t")}
		switch {
		case f.is("host"):
			hosts++
			r.RawHost = string(f.Value)
		case f.is("transfer-encoding"):
			framings++
			if !strings.EqualFold(string(f.Value), "chunked") || r.Proto == "HTTP/1.0" {
				return refuse(501, "transfer coding not supported")
			}
		case f.is("content-length"):
			framings++
		}
		if r.Fields = append(r.Fields, f); most > 0 && len(r.Fields) > most {
			return refuse(431, "too many header fields")
		}
	}
	if framings > 1 { // RFC 9112 §6.1: request smuggling
		return refuse(400, "ambiguous message framing")
	}
	if hosts > 1 || hosts == 0 && r.Proto != "HTTP/1.0" {
		return refuse(400, "exactly one Host field is required")
	}
	r.Upgrade = r.upgrade()
	return nil
}

// readTarget keeps the raw target in origin-form. Of an absolute-form target
// (RFC 9112 §3.2.2) the authority must be the Host field's.
func (r *request) readTarget(longest int64) error {
	r.Target = string(r.header.RequestURI())
	if longest > 0 && int64(len(r.Target)) > longest {
		return refuse(414, "request target too long")
	}
	for _, c := range []byte(r.Target) {
		if c <= ' ' || c == 0x7f || c == '#' {
			return refuse(400, "malformed request target")
		}
	}
	if strings.HasPrefix(r.Target, "/") || r.Target == "*" && r.Method == "OPTIONS" {
		return nil
	}
	scheme, rest, ok := strings.Cut(r.Target, "://")
	if !ok || !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
		return refuse(400, "malformed request target")
	}
	end := strings.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	if !strings.EqualFold(rest[:end], r.RawHost) {
		return refuse(400, "request target and Host disagree")
	}
	r.Target = rest[end:]
	if !strings.HasPrefix(r.Target, "/") {
		r.Target = "/" + r.Target
	}
	return nil
}

// upgrade returns "websocket" for a handshake of RFC 6455 §4.1, else "": every
// other offer of a protocol is dropped.
func (r *request) upgrade() string {
	if r.Proto != "HTTP/1.1" || r.Method != "GET" {
		return ""
	}
	asked, named := false, false
	for _, f := range r.Fields {
		switch {
		case f.is("connection"):
			named = named || listHas(string(f.Value), "upgrade")
		case f.is("upgrade"):
			asked = strings.EqualFold(string(f.Value), "websocket")
		case f.is("transfer-encoding"), f.is("content-length") && string(f.Value) != "0":
			return "" // a request with content keeps its framing and its protocol
		}
	}
	if asked && named {
		return "websocket"
	}
	return ""
}

// path returns the target without its query.
func (r *request) path() string {
	path, _, _ := strings.Cut(r.Target, "?")
	return path
}

// value returns the first value of a field, or "". lower is in lower case.
func (r *request) value(lower string) string {
	for _, f := range r.Fields {
		if f.is(lower) {
			return string(f.Value)
		}
	}
	return ""
}

// onDone registers what happens after the last byte of the response. Functions
// run in the order of their registration.
func (r *request) onDone(f func()) { r.atEnd = append(r.atEnd, f) }

// done ends the request: it runs exactly once, when the response's body has
// been sent or given up, or at the end of the chain if there is none. Nothing of
// the request may be used afterwards.
func (r *request) done() {
	if r.ended {
		return
	}
	r.ended = true
	for _, f := range r.atEnd {
		r.guarded(f)
	}
	r.response = response{}
	clear(r.atEnd)
	requests.Put(r)
}

// guarded keeps a panic in one function from the others, and from the process:
// nothing above the done hook would recover it.
func (r *request) guarded(f func()) {
	defer func() {
		if v := recover(); v != nil {
			r.log.Error("panic after a response", "id", r.ID, "panic", v, "stack", string(debug.Stack()))
		}
	}()
	f()
}

// closeWAF ends the request's inspection; calling it twice is fine.
func (r *request) closeWAF() {
	if r.waf != nil {
		r.waf.Close()
		r.waf = nil
	}
}

// listHas reports whether a comma-separated list has word, whatever the case.
func listHas(list, word string) bool {
	for token := range strings.SplitSeq(list, ",") {
		if strings.EqualFold(strings.Trim(token, " \t"), word) {
			return true
		}
	}
	return false
}

// isToken reports whether b is a token (RFC 9110 §5.6.2).
func isToken(b []byte) bool {
	for _, c := range b {
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return len(b) > 0
}
