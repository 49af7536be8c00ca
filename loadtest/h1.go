package loadtest

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
)

// idleCheck is the age of a connection's last request, in nanoseconds, from which is
// looked, before the next one, whether the server has ended it: that it does so is no
// error. That it ends one on which a request has been sent is an error, even if it had
// not seen the request yet: RFC 9112 §9.3.1 lets a client try again, but a load that did
// would hide a server that loses requests. Faster requests do not pay for the look.
const idleCheck = 10_000_000

// openMost bounds the connections of all clients together, as far as one for each
// client allows: with many server names, a client keeps the ones it used last.
const openMost = 8192

// An h1 is the HTTP/1.1 client of one lane.
type h1 struct {
	last  *link             // the one used last
	links map[*origin]*link // nil as long as there is one origin
	most  int
	ans   answer
	// answered says that the server speaks HTTP: it has answered.
	answered bool
}

func newH1(clients int) *h1 { return &h1{most: max(1, openMost/clients)} }

func (h *h1) do(l *lane, x *sample, q *question) {
	c, fresh := h.link(l, x, q.origin)
	if c == nil {
		return
	}
	failed, err := h.exchange(l, c, x, q)
	if failed == errReset || failed == errTimeout {
		err = h.why(l, c, x, !fresh, err)
	}
	late := c.line.end()
	if fresh {
		l.counted(c, x.begun)
	}
	if failed != noError || late || !h.ans.keep || l.r.plan.NoKeepAlive {
		x.fail(failed, err)
		h.drop(c)
		_ = c.Close() // the answer is there, or is not
	}
	c.used = x.begun
}

// link returns an open connection, marked as begun; nil: there is none, and x says why.
// fresh: it is a new one.
func (h *h1) link(l *lane, x *sample, o *origin) (c *link, fresh bool) {
	c = h.last
	if c == nil || c.origin != o {
		c = h.links[o]
	}
	if c != nil && x.begun-c.used > idleCheck {
		if state := c.line.look(); state != quiet {
			h.drop(c)
			_ = c.Close()                           // the server has done so, or said what nobody asked
			if state == unasked && c.state == nil { // TLS may bring tickets at any time
				x.fail(errNoHTTP, fmt.Errorf("%w: octets behind the end of the answer before", errProtocol))
				return nil, false
			}
			c = nil
		}
	}
	if c != nil {
		h.last = c
		c.line.start(x.begun)
		l.watch(c.line)
		return c, false
	}
	if l.r.primes() {
		_ = l.primed(o) // what fails here fails below, too
	}
	c, failed, err := l.open(o, x.begun)
	switch {
	case failed != noError:
		x.fail(failed, err)
	case !l.r.plan.NoKeepAlive:
		h.keep(c)
	}
	return c, true
}

func (h *h1) keep(c *link) {
	if h.last != nil && h.links == nil {
		h.links = map[*origin]*link{h.last.origin: h.last}
	}
	if h.links != nil {
		h.links[c.origin] = c
		if len(h.links) > h.most {
			oldest := c
			for _, other := range h.links {
				if other != c && (oldest == c || other.used < oldest.used) {
					oldest = other
				}
			}
			delete(h.links, oldest.origin)
			_ = oldest.Close() // nothing is under way on it
		}
	}
	h.last = c
}

func (h *h1) drop(c *link) {
	if h.links[c.origin] == c {
		delete(h.links, c.origin)
	}
	if h.last == c {
		h.last = nil
	}
}

func (h *h1) close() {
	if h.last != nil {
		_ = h.last.Close() // the load is over
	}
	for _, c := range h.links {
		if c != h.last {
			_ = c.Close()
		}
	}
}

// exchange sends the request and reads its answer to the end.
func (h *h1) exchange(l *lane, c *link, x *sample, q *question) (kind, error) {
	l.out = q.request(l.out, q.number, q.host)
	x.out = int64(len(l.out))
	// A server may answer before it has read the whole body, and close then: the error of
	// writing counts only if there is no answer (RFC 9112 §9.6).
	_, unsent := c.Write(l.out)
	if q.fixed != nil {
		l.out = nil // it is the target's
	}
	if unsent != nil && c.line.late() {
		return errTimeout, unsent
	}
	h.ans.reset(q.method == http.MethodHead)
	have := 0
	for {
		n, err := c.Read(l.buf[have:])
		x.in += int64(n)
		if n > 0 {
			used, feedErr := h.ans.feed(l.buf[:have+n])
			if feedErr != nil {
				return errNoHTTP, feedErr
			}
			have = copy(l.buf, l.buf[used:have+n])
			if h.ans.phase == complete {
				x.status, h.answered = h.ans.status, true
				h.ans.keep = h.ans.keep && unsent == nil
				if have > 0 {
					return errNoHTTP, fmt.Errorf("%w: %q behind the end of the answer", errProtocol, l.buf[:min(have, 20)])
				}
				return noError, nil
			}
			if have == len(l.buf) {
				return errNoHTTP, fmt.Errorf("%w: no end of the head in %d KiB", errProtocol, answerBuffer>>10)
			}
		}
		if err == io.EOF && h.ans.eof() == nil {
			x.status, h.answered = h.ans.status, true
			return noError, nil
		}
		if err != nil {
			err = cmp.Or(unsent, err)
			return l.failure(c.line, err, errReset), err
		}
	}
}

// primes reports whether a session has to be there before the first connection that counts.
func (r *run) primes() bool {
	return r.plan.TLS == "resumed" && (r.plan.Handshakes || r.plan.NoKeepAlive)
}

// primed fetches the first TLS session of an origin, once. In TLS 1.3 a server sends
// tickets after the handshake, so something has to be read: of HTTP/1.1 an answer.
func (l *lane) primed(o *origin) error {
	if o.tls == nil {
		return nil
	}
	o.prime.Do(func() {
		c, _, err := l.open(o, l.r.now())
		if err != nil {
			o.primeErr = err
			return
		}
		defer c.Close()
		defer c.line.end()
		has := func() bool { _, ok := o.tls.ClientSessionCache.Get(""); return ok }
		if l.r.plan.HTTP == "1.1" {
			_, err = c.Write([]byte("OPTIONS * HTTP/1.1\r\nHost: " + o.tls.ServerName + "\r\nUser-Agent: " + userAgent + "\r\nConnection: close\r\n\r\n"))
		}
		for err == nil && !has() {
			_, err = c.Read(l.buf)
		}
		if !has() {
			o.primeErr = fmt.Errorf("%s gives no TLS session that could be resumed", o.name)
		}
	})
	return o.primeErr
}
