package edge

import (
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"gatehouse/edge/overload"
	"gatehouse/edge/waf"
	"gatehouse/edge/wire"
	"gatehouse/routes"
)

// A request is everything that one request is, from the parsed head to the done
// hook. It owns what the links ask for: no link asks the HTTP library who the
// peer is or whether there is TLS, since not every request will come from it.
// Byte slices and strings alias the connection's buffers and live until done.
type request struct {
	ID    string
	Start time.Time // when its first byte came

	Client netip.AddrPort // after trusted proxies: what logs, limits and lists use
	Peer   netip.AddrPort // who holds the connection
	Server netip.AddrPort // our own end of it
	// PeerTrusted: the peer is one of trusted_proxies.
	PeerTrusted bool
	TLS         *tls.ConnectionState // nil: plain
	Scheme      string               // "http" or "https"; a trusted proxy's word counts

	Proto   string // "HTTP/1.1"; of a refused request the version that it claimed, or empty
	Method  string
	Target  string // origin-form, exactly as it came: path and query
	RawHost string // the Host field, or the authority of an absolute-form target
	Host    string // canonical; empty before selectVhost
	Fields  []field
	Upgrade string // "websocket" or empty

	body *requestBody // never nil; empty if the request has none
	last bool         // the connection ends after this request, whatever the answer
	conn clientConn

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
type field = wire.Field

// A clientConn is what a request needs of its connection beyond bytes.
type clientConn interface {
	AbortRead() error                      // wake a blocked read of the body
	Hurry(until time.Time)                 // bound the reads of the body
	Linger()                               // wait a moment at close
	Left() bool                            // the client has gone
	Expecting() bool                       // the client waits for leave to send its body
	Inform(status int, lines []byte) error // send an interim answer
	Answering(goesOn bool)                 // the final answer begins; the connection goes on after it, or not
}

// An http1Conn is a connection that package wire reads.
type http1Conn interface {
	clientConn
	Head() *wire.Head
	Body() io.Reader
	Send(p []byte) (int, error) // a piece of the answer
	Sent()                      // all of it has been sent
	Tunnel()
	Reset() error
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
	Err     error  // what the operator reads of a failure, or of an answer that was cut

	Routed, Inspected, Looked, Answered time.Time // when each was decided
}

// A wafRecord is what the WAF said.
type wafRecord struct {
	Mode    string
	Verdict string // pass, detect or block; empty: not asked
	Score   int
	Rules   []int
}

// errNoMemory is why a request is refused before any work is done for it.
var errNoMemory = errors.New("memory is short: see gatehouse_overload_level")

var requests = sync.Pool{New: func() any { return &request{} }}

// newRequest makes the request that the connection is at. It is usable, for the
// access line and an error page, also when an error is returned.
func (s *Server) newRequest(ctx *fasthttp.RequestCtx) (*request, error) {
	conn := ctx.Conn().(http1Conn) // our listeners make no other
	h := conn.Head()
	r := requests.Get().(*request)
	*r = request{atEnd: r.atEnd[:0], body: r.body}
	r.log, r.via = s.log, s.via
	r.Start = h.Begun
	s.active.Store(time.Now().UnixNano()) // not Start: a head that came slowly would set the clock back
	r.table = s.table.Load()
	r.connection(ctx, conn)
	r.Method, r.Target, r.RawHost, r.Fields, r.Upgrade = h.Method, h.Target, h.Host, h.Fields, h.Upgrade
	r.Proto, r.last = h.Proto, h.Last
	if r.body == nil {
		r.body = &requestBody{}
	}
	r.body.reset(nil, 0, 0, conn)
	s.identify(r)
	if h.Refused != nil {
		return r, refused(h.Refused)
	}
	level := s.level()
	r.last = r.last || level >= overload.NoKeepAlive
	if level >= overload.Shed {
		return r, fail(503, "the server is short of memory", errNoMemory)
	}
	if h.Length != 0 {
		r.body.reset(conn.Body(), h.Length, s.opts.Limits.Body, conn)
		if most := s.opts.Limits.Body; most > 0 && h.Length > most {
			r.body.err = errBodyTooLarge // nobody may wait for a byte of it
		}
	}
	return r, nil
}

// connection takes over what the connection tells.
func (r *request) connection(ctx *fasthttp.RequestCtx, conn http1Conn) {
	r.conn = conn
	r.Peer = addrPort(ctx.RemoteAddr())
	r.Server = addrPort(ctx.LocalAddr())
	r.Client, r.Scheme = r.Peer, "http"
	if secured, ok := conn.(interface{ ConnectionState() tls.ConnectionState }); ok {
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

// path returns the target without its query.
func (r *request) path() string {
	path, _, _ := strings.Cut(r.Target, "?")
	return path
}

// value returns the first value of a field, or "". lower is in lower case.
func (r *request) value(lower string) string {
	for _, f := range r.Fields {
		if f.Is(lower) {
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
