package loadtest

import (
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/net/http2"
)

// An h2 is the HTTP/2 client that some lanes share: one connection for each origin,
// on which their requests are under way together.
type h2 struct {
	mu    sync.Mutex
	conns map[*origin]*h2conn
	most  int
	lanes int // that have not closed it yet
}

func newH2(clients, lanes int) *h2 {
	return &h2{conns: map[*origin]*h2conn{}, most: max(1, openMost/clients), lanes: lanes}
}

// h2tries is how often a request is sent that the server says it has not looked at
// (RFC 9113 §8.7): GOAWAY before its stream, or REFUSED_STREAM.
const h2tries = 3

func (h *h2) do(l *lane, x *sample, q *question) {
	for range h2tries {
		c := h.conn(l, x, q.origin)
		if c == nil {
			return
		}
		s := c.request(l, x, q)
		if s == nil {
			h.drop(c)
			x.fail(c.reason())
			continue
		}
		s.wait(l, x)
		if l.r.plan.NoKeepAlive {
			h.drop(c)
		}
		x.fail(s.failed, s.cause)
		x.status = s.status
		x.in += s.in
		if !s.unseen {
			return
		}
	}
}

// conn returns the connection to an origin; nil: there is none, and x says why. Lanes
// that need a new one at the same time wait for the one that opens it.
func (h *h2) conn(l *lane, x *sample, o *origin) *h2conn {
	if !l.r.plan.NoKeepAlive {
		h.mu.Lock()
		defer h.mu.Unlock()
		if c := h.conns[o]; c != nil {
			if c.usable() {
				l.watch(c.line)
				return c
			}
			delete(h.conns, o)
			c.retire()
		}
	}
	if l.r.primes() {
		_ = l.primed(o) // what fails here fails below, too
	}
	c, failed, err := l.open(o, x.begun)
	if failed != noError {
		x.fail(failed, err)
		return nil
	}
	out, err := newH2conn(l.r, c)
	if err != nil {
		failed = l.failure(c.line, err, errReset)
	}
	if c.line.end() {
		failed, err = errTimeout, fmt.Errorf("no connection to %s within %v", o.name, l.r.plan.Timeout)
	}
	if failed != noError {
		_ = c.line.Conn.Close() // without TLS's goodbye: it has failed
		x.fail(failed, err)
		return nil
	}
	l.counted(c, x.begun)
	if !l.r.plan.NoKeepAlive {
		h.keep(out)
	}
	return out
}

func (h *h2) keep(c *h2conn) {
	if len(h.conns) >= h.most {
		var oldest *h2conn
		for _, other := range h.conns {
			if oldest == nil || other.used < oldest.used {
				oldest = other
			}
		}
		delete(h.conns, oldest.origin)
		oldest.retire()
	}
	h.conns[c.origin] = c
}

func (h *h2) drop(c *h2conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.conns[c.origin] == c {
		delete(h.conns, c.origin)
	}
	c.retire()
}

// close ends the connections when the last lane is done with them.
func (h *h2) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.lanes--; h.lanes > 0 {
		return
	}
	for _, c := range h.conns {
		c.retire()
	}
}

// A stream is one request under way on an HTTP/2 connection. Its fields are the
// connection's to change until done.
type stream struct {
	conn     *h2conn
	id       uint32
	done     chan struct{}
	isDone   bool
	status   int
	in       int64
	failed   kind
	cause    error // of failed
	unseen   bool  // the server has not looked at it
	bodiless bool  // the answer has no body, whatever its length says
	length   int64 // of the body as the answer says; -1: it does not
	body     int64 // received so far
	window   int64 // what may still be sent
	consumed int64 // received since the window was last widened
}

// wait returns when the stream is done, within the plan's timeout.
func (s *stream) wait(l *lane, x *sample) {
	if l.patience == nil {
		l.patience = time.NewTimer(l.left(x))
	} else {
		l.patience.Reset(l.left(x))
	}
	select {
	case <-s.done:
	case <-l.patience.C:
		s.conn.cancel(s, l.r.plan.Timeout)
		<-s.done
	}
	l.patience.Stop()
}

// head writes the header block of a request.
func (c *h2conn) head(q *question) []byte {
	c.block.Reset()
	c.put(":method", q.method)
	scheme := "http"
	if q.secure {
		scheme = "https"
	}
	c.put(":scheme", scheme)
	c.put(":authority", c.filled(&q.authority, q))
	c.put(":path", c.filled(&q.path, q))
	for i := range q.fields {
		f := &q.fields[i]
		c.put(f.lower, c.filled(&f.value, q))
	}
	return c.block.Bytes()
}

func (c *h2conn) filled(t *template, q *question) string {
	if len(t.slots) == 0 {
		return t.parts[0]
	}
	return string(t.fill(nil, q.number, q.host))
}

// request sends a request, up to the end of its body. nil: the connection takes no
// more of them.
func (c *h2conn) request(l *lane, x *sample, q *question) *stream {
	body := q.plain
	if body == nil && q.bodyLen != 0 {
		l.out = q.body.fill(l.out[:0], q.number, q.host)
		body = l.out
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &stream{
		conn: c, done: make(chan struct{}), length: -1, bodiless: q.method == http.MethodHead,
	}
	if !c.room(l, x, s) {
		return nil
	}
	if s.isDone {
		return s
	}
	s.id, s.window = c.nextID, c.initial
	c.nextID += 2
	c.streams[s.id] = s
	c.used = x.begun
	c.line.start(l.r.now())
	defer c.written()
	sent := c.out
	head := c.head(q)
	if len(body) > 0 || q.method == http.MethodPost || q.method == http.MethodPut || q.method == http.MethodPatch {
		c.put("content-length", strconv.Itoa(len(body)))
		head = c.block.Bytes()
	}
	c.writeHead(s.id, head, len(body) == 0)
	if len(body) > 0 {
		c.writeBody(l, x, s, body)
	}
	c.flush()
	x.out += c.out - sent
	return s
}

// room waits until the server allows one more stream, within the plan's timeout; beyond
// it s is done. false: the connection takes no more of them. mu is held.
func (c *h2conn) room(l *lane, x *sample, s *stream) bool {
	var patience *time.Timer
	for len(c.streams) >= c.most && !c.closed() && !s.isDone {
		if patience == nil {
			patience = time.AfterFunc(l.left(x), func() {
				c.mu.Lock()
				defer c.mu.Unlock()
				c.finish(s, errTimeout, fmt.Errorf("%s allowed no further stream within %v", c.origin.name, l.r.plan.Timeout))
			})
			defer patience.Stop()
		}
		c.changed.Wait()
	}
	return !c.closed()
}

// left is what the plan's timeout leaves of a request's time.
func (l *lane) left(x *sample) time.Duration {
	return time.Duration(x.begun + int64(l.r.plan.Timeout) - l.r.now())
}

// written ends the time in which something has to be written; mu is held.
func (c *h2conn) written() { c.late = c.line.end() || c.late }

func (c *h2conn) writeHead(id uint32, block []byte, end bool) {
	first := block[:min(len(block), c.frame)]
	rest := block[len(first):]
	c.note(c.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: id, BlockFragment: first, EndStream: end, EndHeaders: len(rest) == 0,
	}))
	for len(rest) > 0 {
		part := rest[:min(len(rest), c.frame)]
		rest = rest[len(part):]
		c.note(c.framer.WriteContinuation(id, len(rest) == 0, part))
	}
}

// writeBody sends the body as far as the windows let it, and waits for more of them.
func (c *h2conn) writeBody(l *lane, x *sample, s *stream, body []byte) {
	var patience *time.Timer
	for len(body) > 0 && !s.isDone {
		n := min(int64(len(body)), int64(c.frame), c.window, s.window)
		if n <= 0 {
			c.flush()
			if patience == nil {
				patience = time.AfterFunc(l.left(x), func() { c.cancel(s, l.r.plan.Timeout) })
				defer patience.Stop()
			}
			c.written()
			c.changed.Wait()
			c.line.start(l.r.now())
			continue
		}
		c.window -= n
		s.window -= n
		part := body[:n]
		body = body[n:]
		c.note(c.framer.WriteData(s.id, len(body) == 0, part))
	}
}
