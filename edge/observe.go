package edge

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"gatehouse/edge/upstream"
	"gatehouse/edge/wire"
	"gatehouse/internal/octets"
	"gatehouse/internal/seldom"
)

// observe is the outermost link: whatever happens below it ends in one access
// line and in the counters, a panic too.
func (s *Server) observe(next handler) handler {
	return func(r *request) (err error) {
		defer func() {
			if v := recover(); v != nil {
				s.log.Error("panic while serving a request", "id", r.ID, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
				r.response.discard()
				r.tainted = true
				cause := fmt.Errorf("panic: %v", v)
				r.record.Err = cause
				r.response = errorResponse(r, fail(500, "internal error", cause))
				r.response.close = true // how far the body was read is not known
				err = nil
			}
		}()
		r.srv, r.observed = s, true
		s.metrics.inFlight.Inc()
		return next(r)
	}
}

// account writes the access line and counts, after the last byte.
func (r *request) account() {
	s := r.srv
	took := time.Since(r.Start)
	s.metrics.observe(r, took)
	s.opts.AccessLog.write(r, took)
	switch {
	case r.response.cut && !byClient(r.record.Err):
		if t, ok := r.tell("cut"); ok {
			s.log.Warn("response cut", append([]any{
				"id", r.ID, "vhost", r.record.Route, "backend", r.record.Backend,
				"status", r.response.status, "bytes", r.response.sent, "err", r.record.Err,
			}, t.Args()...)...)
		}
	case r.record.Err != nil && r.response.status >= 500 && !expected(r.record.Err):
		if t, ok := r.tell("failed"); ok {
			s.log.Warn("request failed", append([]any{
				"id", r.ID, "tenant", r.record.Tenant, "vhost", r.record.Route, "backend", r.record.Backend,
				"status", r.response.status, "err", r.record.Err,
			}, t.Args()...)...)
		}
	}
}

// A failure is alike for requests that fail at the same vhost in the same way, whichever of its backends that is.
type failure struct {
	what, vhost string
	status      int
	reason      string
}

// tell reports whether the log is told of a request that failed: the access log has each, and one dead backend would else fill it.
func (r *request) tell(what string) (seldom.Telling, bool) {
	f := failure{what: what, vhost: r.record.Route, status: r.response.status}
	if e, ok := errors.AsType[*httpError](r.record.Err); ok {
		f.reason = e.reason
	}
	if e, ok := errors.AsType[*upstream.Error](r.record.Err); ok {
		f.reason = e.Op // the text of the cause may have ports in it, others each time
	}
	owner := ""
	if r.site != nil {
		owner = r.site.owner
	}
	return r.srv.failures.Tell(owner, f)
}

// expected reports whether an error is no news to the operator, whatever its
// status: the client's doing, or of a state that has been reported as such.
func expected(err error) bool {
	_, refused := errors.AsType[*wire.Refusal](err)
	return refused || isBusy(err) || errors.Is(err, errNoMemory) || errors.Is(err, errNotStored) || errors.Is(err, errSuspended)
}

// identify gives the request its id and resolves who the client is. A trusted
// proxy's word counts; everybody else's is ignored.
func (s *Server) identify(r *request) {
	if r.PeerTrusted {
		r.Client = s.forwardedFor(r)
		r.ClientText = r.Client.Addr().String()
		switch proto := r.text("x-forwarded-proto"); { // without case (RFC 3986 §3.1)
		case octets.Is(proto, "https"):
			r.Scheme = "https"
		case octets.Is(proto, "http"):
			r.Scheme = "http"
		}
		if id := r.value("x-request-id"); validID(id) {
			r.ID = id
			return
		}
	}
	r.ID = s.newID()
}

// newID returns a request id: the node's name, so that its log is found, and 64
// random bits.
func (s *Server) newID() string {
	block := randomBlocks.Get().(*randomBlock)
	if block.left == 0 {
		_, _ = rand.Read(block.bytes[:]) // never fails (Go 1.24)
		block.left = len(block.bytes)
	}
	random := block.bytes[block.left-idBytes : block.left]
	block.left -= idBytes
	var id [64]byte
	text := hex.AppendEncode(append(id[:0], s.idPrefix...), random)
	randomBlocks.Put(block)
	return string(text)
}

// idBytes of randomness make ids of one node differ.
const idBytes = 8

// A randomBlock is randomness for a few ids: the system is asked for all of it at once.
type randomBlock struct {
	bytes [32 * idBytes]byte
	left  int
}

var randomBlocks = sync.Pool{New: func() any { return new(randomBlock) }}

// validID accepts what can stand in a log line and a field: 1 to 128 visible
// ASCII characters without quotes and backslash.
func validID(id string) bool {
	for _, c := range []byte(id) {
		if c <= ' ' || c >= 0x7f || c == '"' || c == '\\' {
			return false
		}
	}
	return id != "" && len(id) <= 128
}

func (s *Server) trusted(a netip.Addr) bool {
	for _, prefix := range s.opts.TrustedProxies {
		if prefix.Contains(a) {
			return true
		}
	}
	return false
}

// forwardedFor returns the rightmost entry of X-Forwarded-For that is not a
// trusted proxy; an entry that is no address ends the search.
func (s *Server) forwardedFor(r *request) netip.AddrPort {
	client := r.Peer
	for _, f := range slices.Backward(r.Fields) {
		if !f.Is("x-forwarded-for") {
			continue
		}
		for _, text := range slices.Backward(strings.Split(string(f.Value), ",")) {
			if text = strings.Trim(text, " \t"); text == "" { // an empty element is none (RFC 9110 §5.6.1.2)
				continue
			}
			entry, ok := parseAddr(text)
			if !ok {
				return client
			}
			client = entry
			if !s.trusted(entry.Addr()) {
				return client
			}
		}
	}
	return client
}

// parseAddr reads an address with or without a port.
func parseAddr(text string) (netip.AddrPort, bool) {
	if ap, err := netip.ParseAddrPort(text); err == nil {
		return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port()), true
	}
	a, err := netip.ParseAddr(strings.Trim(text, "[]"))
	return netip.AddrPortFrom(a.Unmap().WithZone(""), 0), err == nil
}
