package edge

import (
	"context"
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

	"gatehouse/cache"
	"gatehouse/edge/overload"
	"gatehouse/edge/upstream"
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

	Client     netip.AddrPort // after trusted proxies: what logs, limits and lists use
	ClientText string         // its address without the port
	peerText   string         // that of Peer
	peer       *peer          // nil: the request came on no connection
	Peer       netip.AddrPort // who holds the connection
	Server     netip.AddrPort // our own end of it
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
	found []waf.Match // by it, as of the last phase that was run

	response response
	record   record
	probe    bool     // it goes nowhere, see Server.Probe
	behind   bool     // nobody waits for its answer, see Server.refresh
	late     bool     // the body is inspected as, or after, it passes
	unseen   bool     // the body could not be inspected, and may go on
	atEnd    []func() // see onDone
	observed bool     // the access line and the counters are wanted
	tainted  bool     // there was a panic: what still holds the memory is not known
	ended    bool
	srv      *Server

	queued   time.Duration               // how long it waited for places
	outbound *outbound                   // towards the backend; nil before forward
	stick    string                      // the cookie that keeps the client at its backend; empty: it has it, or needs none
	hint     func(int, []upstream.Field) // see informational
	cached   cached                      // towards the cache

	scratch []byte            // text of this request's own
	own     [8]upstream.Field // room for the fields of an answer of ours
}

// A field is one field line of a request, name and value as they came.
type field = wire.Field

// A clientConn is what a request needs of its connection beyond bytes.
type clientConn interface {
	AbortRead() error      // wake a blocked read of the body
	Hurry(until time.Time) // bound the reads of the body
	Linger()               // wait a moment at close
	Attach(v any)          // keep what is the same for all requests
	Attached() any
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
	Next() error                // wait for the next request
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

var requests = sync.Pool{New: func() any {
	return &request{body: &requestBody{}}
}}

// renew makes r a new request that keeps the memory of the one before.
func (r *request) renew() {
	body, atEnd, scratch, rules := r.body, r.atEnd[:0], r.scratch[:0], r.record.WAF.Rules[:0]
	hint := r.hint
	key, peeked := r.cached.key[:0], r.cached.peeked[:0]
	clear(peeked[:cap(peeked)])
	*r = request{} // in place: one literal would be made elsewhere and copied
	r.body, r.atEnd, r.scratch, r.record.WAF.Rules = body, atEnd, scratch, rules
	r.hint = hint
	r.cached.key, r.cached.peeked = key, peeked
}

// maxScratch is the largest memory of a request's texts that is kept.
const maxScratch = 4 << 10

// newRequest makes the request that the connection is at. It is usable, for the
// access line and an error page, also when an error is returned.
func (s *Server) newRequest(ctx *fasthttp.RequestCtx, conn http1Conn) (*request, error) {
	h := conn.Head()
	r := requests.Get().(*request)
	r.renew()
	r.srv, r.log, r.via = s, s.log, s.via
	r.Start = h.Begun
	if s.draining.Load() { // else nobody asks
		s.active.Store(time.Now().UnixNano()) // not Start: a head that came slowly would set the clock back
	}
	r.table = s.table.Load()
	r.connection(s.peerOf(ctx.Conn(), conn), conn)
	r.Method, r.Target, r.RawHost, r.Fields, r.Upgrade = h.Method, h.Target, h.Host, h.Fields, h.Upgrade
	r.Proto, r.last = h.Proto, h.Last
	r.body.reset(nil, 0, 0, conn)
	s.identify(r)
	if h.Refused != nil {
		return r, refused(h.Refused)
	}
	r.unlist()
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

// connection takes over what is known of the connection.
func (r *request) connection(p *peer, conn http1Conn) {
	r.conn, r.peer = conn, p
	r.Peer, r.PeerTrusted, r.Server = p.remote, p.trusted, p.local
	r.Client, r.ClientText = p.remote, p.text
	r.TLS, r.Scheme = p.tls, p.scheme
	r.peerText = p.text
}

// path returns the target without its query.
func (r *request) path() string {
	path, _, _ := strings.Cut(r.Target, "?")
	return path
}

// value returns the first value of a field, or "". lower is in lower case.
func (r *request) value(lower string) string { return string(r.text(lower)) }

// text is value without a copy: it lives as long as the request.
func (r *request) text(lower string) []byte {
	for _, f := range r.Fields {
		if f.Is(lower) {
			return f.Value
		}
	}
	return nil
}

// onDone registers what happens first after the last byte of the response.
func (r *request) onDone(f func()) { r.atEnd = append(r.atEnd, f) }

// done ends the request, when the response's body has been sent or given up: what was
// registered by onDone (the cache's commit), the WAF's end, the backend's report, the
// access line and the counters, in this order. It runs exactly once; nothing of the
// request may be used afterwards.
func (r *request) done() {
	if r.ended {
		return
	}
	r.ended = true
	for _, f := range r.atEnd {
		r.guarded(f)
	}
	if r.tainted && r.outbound != nil {
		r.outbound.line.Cut(context.Canceled) // whatever still waits on the connection or reads the body
	}
	r.guarded(r.response.discard) // of what was not sent: nobody reads a body of the request after it
	if r.late && !r.tainted {
		r.guarded(func() { r.srv.inspectLate(r) })
	}
	r.guarded(r.closeWAF)
	r.guarded(r.leaveBackend)
	if r.observed {
		r.guarded(r.account)
		r.srv.metrics.inFlight.Dec()
	}
	r.response, r.cached.lookup = response{}, cache.Lookup{}
	if r.tainted {
		return
	}
	if r.outbound != nil {
		r.outbound.release()
	}
	clear(r.atEnd)
	if cap(r.scratch) > maxScratch {
		r.scratch = nil
	}
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
