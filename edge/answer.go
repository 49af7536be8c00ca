package edge

import (
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strconv"
	"sync"
)

// answerBytes is the size of the pieces in which a response goes out: two TLS
// records, and what is between a backend's connection and a client's at a time.
const answerBytes = 32 << 10

// headRoom is what a buffer holds besides: most heads, and the framing of a chunk.
const headRoom = 4 << 10

var answerBuffers = sync.Pool{New: func() any { b := make([]byte, answerBytes+headRoom); return &b }}

// bodyless reports whether the response goes out without its body.
func (r *request) bodyless() bool { return r.Method == "HEAD" || skipsBody(r.response.status) }

// skipsBody reports whether a status has neither body nor length (RFC 9110 §8.6).
func skipsBody(status int) bool { return status < 200 || status == 204 || status == 304 }

// write sends the response, head and body. What goes wrong is noted as a cut.
func (r *request) write(conn http1Conn) {
	buffer := answerBuffers.Get().(*[]byte)
	defer answerBuffers.Put(buffer)
	p := &r.response
	bodyless := r.bodyless()
	head := r.appendHead((*buffer)[:0], bodyless)
	room := (*buffer)[:cap(*buffer)]
	if len(head) > headRoom-chunkRoom-len(lastChunk) { // rare: there is no room beside it, or it lies elsewhere
		r.deliver(conn, head, 0)
		head = room[:0]
	}
	switch {
	case bodyless:
		r.deliver(conn, head, 0)
		p.discard()
	case p.stream == nil:
		n := copy(room[len(head):], p.body)
		r.deliver(conn, room[:len(head)+n], n)
		r.deliver(conn, p.body[n:], len(p.body)-n)
	default:
		r.stream(conn, room, len(head))
	}
}

// deliver sends b, of which body bytes are the body's, unless something went wrong
// before.
func (r *request) deliver(conn http1Conn, b []byte, body int) {
	if r.response.cut || len(b) == 0 {
		return
	}
	if _, err := conn.Send(b); err != nil {
		r.cut(clientCut(err))
		return
	}
	r.response.sent += int64(body)
}

// stream sends the body as it comes, behind the first head bytes of buffer. What
// the backend has sent of the body leaves before more of it is waited for, and so does
// a head without a length; one with a length goes with the body's first bytes.
func (r *request) stream(conn http1Conn, buffer []byte, head int) {
	p := &r.response
	defer p.discard()
	chunked := p.length < 0 && r.Proto != "HTTP/1.0"
	for ended := false; !ended && !p.cut; {
		if head > 0 && p.length < 0 && p.atHand() == 0 { // the body's first byte may be long in coming
			r.deliver(conn, buffer[:head], 0)
			if head = 0; p.cut {
				return // or the wait would be for a client that has gone
			}
		}
		at := head // where the next bytes of the body go
		if chunked {
			at += chunkRoom
		}
		var n int
		var err error
		n, ended, err = r.pull(buffer[at : at+answerBytes])
		out := buffer[:at+n]
		if chunked {
			out = frame(buffer, head, n, ended && err == nil)
		}
		r.deliver(conn, out, n)
		if err != nil {
			r.cut(err)
		}
		head = 0
	}
}

// pull reads what is at hand of the body, and waits for its first byte. ended: there
// is no more; with an error, although there should be.
func (r *request) pull(b []byte) (n int, ended bool, cause error) {
	defer func() {
		if v := recover(); v != nil {
			r.log.Error("panic while sending a response", "id", r.ID, "panic", v, "stack", string(debug.Stack()))
			ended, cause, r.tainted = true, fmt.Errorf("panic: %v", v), true
		}
	}()
	p := &r.response
	if p.length >= 0 {
		b = b[:min(int64(len(b)), max(p.length-p.sent, 1))] // one more than there should be would show
	}
	for {
		got, err := p.stream.Read(b[n:])
		n += got
		whole := p.length < 0 || p.sent+int64(n) == p.length
		switch {
		case err == io.EOF && whole:
			return n, true, nil
		case err == io.EOF:
			return n, true, bodyCut(io.ErrUnexpectedEOF)
		case err != nil:
			return n, true, bodyCut(err)
		case p.length >= 0 && p.sent+int64(n) > p.length:
			return 0, true, errSurplus
		case n == len(b) || n > 0 && p.atHand() == 0:
			return n, false, nil
		}
	}
}

// errSurplus cannot happen: whoever makes a stream bounds it by its length.
var errSurplus = errors.New("the body is longer than its length")

// atHand is how many bytes of the body can be read without waiting, as far as that
// is known.
func (p *response) atHand() int { return buffered(p.stream) }

// buffered is how many bytes of a stream can be read without waiting; 0 where it does not say.
func buffered(stream io.Reader) int {
	if b, ok := stream.(interface{ Buffered() int }); ok {
		return b.Buffered()
	}
	return 0
}

const (
	// chunkRoom is what the framing before a chunk takes: its size in hexadecimal, CRLF.
	chunkRoom = 6
	// lastChunk ends a chunked body: CRLF of the chunk before, and the last one.
	lastChunk = "\r\n0\r\n\r\n"
)

// frame makes a chunk (RFC 9112 §7.1) of the n bytes that lie chunkRoom behind the
// first head bytes of buffer, and returns all that is to be sent. last: the body
// ends with it.
func frame(buffer []byte, head, n int, last bool) []byte {
	end := head + chunkRoom + n
	if n == 0 {
		if last {
			return append(buffer[:head], lastChunk[2:]...)
		}
		return buffer[:head]
	}
	var size [chunkRoom]byte
	line := append(strconv.AppendUint(size[:0], uint64(n), 16), "\r\n"...)
	gap := chunkRoom - len(line)
	copy(buffer[gap:], buffer[:head]) // the head, or nothing, moves up to the size
	copy(buffer[gap+head:], line)
	tail := lastChunk
	if !last {
		tail = lastChunk[:2]
	}
	return append(buffer[gap:end], tail...)
}

// appendHead appends the response's head, which ends with an empty line.
func (r *request) appendHead(dst []byte, bodyless bool) []byte {
	p, edits := &r.response, r.answerEdits()
	dst = appendStatusLine(dst, p.status)
	if p.template != nil {
		dst = edits.appendKept(dst, p.template.lines)
		if !r.setsHSTS() {
			dst = append(dst, p.template.hsts...)
		}
	}
	for _, f := range p.fields {
		if !edits.drops(f.Name) {
			dst = appendField(dst, f.Name, f.Value)
		}
	}
	dst = edits.appendOwn(dst)
	if r.stick != "" { // behind the edits: what takes the backend's cookies out must not let clients go
		dst = appendLine(dst, "Set-Cookie: ", r.stick)
	}
	switch {
	case skipsBody(p.status) || p.length < 0 && (bodyless || r.Proto == "HTTP/1.0"):
	case p.length < 0:
		dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
	default:
		dst = append(dst, "Content-Length: "...)
		dst = strconv.AppendInt(dst, p.length, 10)
		dst = append(dst, "\r\n"...)
	}
	switch {
	case p.upgraded != nil:
	case p.close:
		dst = append(dst, "Connection: close\r\n"...)
	case r.Proto == "HTTP/1.0": // it has to be told (RFC 9112 §9.3)
		dst = append(dst, "Connection: keep-alive\r\n"...)
	}
	return append(dst, "\r\n"...)
}

// appendStatusLine appends the status line. A status without a name of its own has
// an empty reason (RFC 9112 §4).
func appendStatusLine(dst []byte, status int) []byte {
	if status == 200 {
		return append(dst, "HTTP/1.1 200 OK\r\n"...)
	}
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(status), 10)
	dst = append(dst, ' ')
	dst = append(dst, title(status)...)
	return append(dst, "\r\n"...)
}
