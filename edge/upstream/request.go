package upstream

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"sync"

	"gatehouse/internal/octets"
)

// smallBody is the largest body of known length that is read before a connection is taken and
// that leaves in one write with the head.
const smallBody = 8 << 10

// Request is what goes to the backend. RoundTrip does not change it and does not keep it beyond
// what Response.Body says.
type Request struct {
	Method string // a token; CONNECT is refused
	Target string // written verbatim after the address's prefix: begins with "/", or is "*" for OPTIONS
	Host   string // value of the Host field

	// Head holds the further field lines, each "Name: value\r\n", without hop-by-hop fields and
	// without Host, Content-Length, Transfer-Encoding, Connection and Upgrade, which RoundTrip
	// writes itself. It is checked: a line that could end the head early is refused.
	Head []byte

	// Body is the content; nil means none. RoundTrip may read it from another goroutine until
	// Response.Body.Close (or RoundTrip with an error) returns, never later. If it has a method
	// Abort(), that is called, possibly more than once and while a Read is running, to make a
	// blocked Read return; without it, Close waits for that Read.
	Body io.Reader

	// ContentLength is the body's length in bytes; 0 means no body, -1 unknown (sent chunked). A
	// Body that ends early fails the round trip; what it has beyond is not read.
	ContentLength int64

	// Upgrade asks for another protocol: empty or "websocket". Then there can be no body.
	Upgrade string

	// Fresh asks for a connection of its own: the request is the repetition of one that failed.
	Fresh bool

	// Informational gets the interim answers 102 (RFC 2518 §10.1) and 103 (RFC 8297) in their order,
	// cleaned like a final answer. It is called by the goroutine that called RoundTrip, before that
	// returns, also while another goroutine still sends the body. The fields are valid during the
	// call. Nil drops them. Others are always dropped: 100 answers an Expect that RoundTrip does not send, and what
	// an unknown one asks of the two ends, a hop between them cannot promise.
	Informational func(status int, fields []Field)

	// Lifeline lets others end the round trip, beside the context. Nil: nobody but the context does.
	Lifeline *Lifeline
}

// aborter is the optional ability of Request.Body to end a blocked Read.
type aborter interface{ Abort() }

func abort(body io.Reader) {
	if a, ok := body.(aborter); ok {
		a.Abort()
	}
}

// streamed reports whether the body is written by its own goroutine.
func (r *Request) streamed() bool { return r.ContentLength < 0 || r.ContentLength > smallBody }

// repeatable reports whether the request may be sent a second time after the first may have
// arrived: its method is safe (RFC 9110 §9.2.1), and no sender was taking its body. An idempotent
// method that is not safe is left out: a PUT repeated late undoes what came in between.
func (r *Request) repeatable() bool {
	switch r.Method {
	case "GET", "HEAD", "OPTIONS":
		return !r.streamed()
	}
	return false
}

// check refuses a request that would not be read by every backend as the one message it is meant to be.
func (r *Request) check() error {
	switch {
	case !octets.IsToken(r.Method) || r.Method == "CONNECT":
		return fmt.Errorf("%w: method %q", ErrBadRequest, r.Method)
	case !isVisible(r.Target) || (r.Target == "" || r.Target[0] != '/') && (r.Target != "*" || r.Method != "OPTIONS"):
		return fmt.Errorf("%w: target %q is not in origin form", ErrBadRequest, r.Target)
	case r.Host == "" || !isVisible(r.Host):
		return fmt.Errorf("%w: host %q", ErrBadRequest, r.Host)
	case r.ContentLength < -1:
		return fmt.Errorf("%w: content length %d", ErrBadRequest, r.ContentLength)
	case r.ContentLength != 0 && r.Body == nil:
		return fmt.Errorf("%w: a content length without a body", ErrBadRequest)
	case r.Upgrade != "" && (r.Upgrade != "websocket" || r.ContentLength != 0):
		return fmt.Errorf("%w: upgrade to %q", ErrBadRequest, r.Upgrade)
	}
	return checkFieldLines(r.Head)
}

func checkFieldLines(head []byte) error {
	for len(head) > 0 {
		end := bytes.IndexByte(head, '\n')
		if end < 1 || head[end-1] != '\r' {
			return fmt.Errorf("%w: a field line does not end in CRLF", ErrBadRequest)
		}
		name, value, ok := bytes.Cut(head[:end-1], []byte{':'})
		if !ok || !octets.IsToken(name) {
			return fmt.Errorf("%w: field name %q", ErrBadRequest, name)
		}
		if !octets.IsFieldText(value) {
			return fmt.Errorf("%w: field %s has a control character", ErrBadRequest, name)
		}
		if isOurs(name) {
			return fmt.Errorf("%w: field %s is not the caller's to write", ErrBadRequest, name)
		}
		head = head[end+1:]
	}
	return nil
}

// isOurs names the fields that decide where a message ends or whom it is for.
func isOurs(name []byte) bool {
	switch len(name) {
	case 4:
		return octets.Is(name, "host")
	case 7:
		return octets.Is(name, "upgrade")
	case 10:
		return octets.Is(name, "connection")
	case 14:
		return octets.Is(name, "content-length")
	case 17:
		return octets.Is(name, "transfer-encoding")
	}
	return false
}

var outgoing = sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}

// maxKeptOutgoing is the largest write buffer that goes back to the pool.
const maxKeptOutgoing = 64 << 10

func releaseOutgoing(b *[]byte) {
	if cap(*b) <= maxKeptOutgoing {
		*b = (*b)[:0]
		outgoing.Put(b)
	}
}

// appendHead appends the request's head, in the order: request line, Host, the caller's fields, framing.
func (r *Request) appendHead(b []byte, prefix string) []byte {
	b = append(b, r.Method...)
	b = append(b, ' ')
	if r.Target != "*" {
		b = append(b, prefix...)
	}
	b = append(b, r.Target...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, r.Host...)
	b = append(b, "\r\n"...)
	b = append(b, r.Head...)
	switch {
	case r.ContentLength < 0:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	case r.ContentLength > 0 || r.Method == "POST" || r.Method == "PUT" || r.Method == "PATCH":
		// These methods give content a meaning, so its absence is stated (RFC 9110 §8.6).
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, r.ContentLength, 10)
		b = append(b, "\r\n"...)
	}
	if r.Upgrade != "" {
		b = append(b, "Connection: Upgrade\r\nUpgrade: "...)
		b = append(b, r.Upgrade...)
		b = append(b, "\r\n"...)
	}
	return append(b, "\r\n"...)
}

// appendSmallBody reads the whole body behind the head.
func (r *Request) appendSmallBody(b []byte) ([]byte, error) {
	start := len(b)
	end := start + int(r.ContentLength)
	if cap(b) < end {
		b = append(make([]byte, 0, end), b...)
	}
	b = b[:end]
	n, err := io.ReadFull(r.Body, b[start:])
	if err != nil {
		return b[:start], fmt.Errorf("read request body: %d of %d bytes: %w", n, r.ContentLength, cut(err))
	}
	return b, nil
}
