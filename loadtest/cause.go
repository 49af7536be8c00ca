package loadtest

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// causeMost bounds the text of a cause, in bytes: servers say what they like.
const causeMost = 200

// A cause is the first failure of some kind in words.
type cause struct {
	text string // empty: there was none
	at   int64  // in nanoseconds of the run
}

// note keeps what a sample has failed from, if it is the first.
func (c *cause) note(x *sample) {
	if c.text == "" && x.cause != nil {
		c.text, c.at = bounded(x.cause.Error()), x.ended
	}
}

func bounded(text string) string {
	if len(text) > causeMost {
		const dots = "…"
		text = strings.ToValidUTF8(text[:causeMost-len(dots)], "") + dots
	}
	return strings.ToValidUTF8(text, "?")
}

// causes are those of a Result.
func (r *run) causes() map[string]string {
	var first [kinds]cause
	for _, s := range r.shards {
		for k, c := range s.causes {
			if c.text != "" && (first[k].text == "" || c.at < first[k].at) {
				first[k] = c
			}
		}
	}
	out := map[string]string{}
	for k, c := range first {
		if c.text != "" {
			out[kindNames[k]] = c.text
		}
	}
	if r.hanging > 0 {
		out["unfinished"] = fmt.Sprintf("no answer in the last %v and more before the end", time.Duration(hangs))
	}
	return out
}

// why says in words what became of a request of HTTP/1.1 whose answer did not come, or
// not to its end. kept: it was not the first one on its connection.
func (h *h1) why(l *lane, c *link, x *sample, kept bool, err error) error {
	switch {
	case c.line.late() && x.in == 0:
		return fmt.Errorf("no answer from %s within %v", c.origin.name, l.r.plan.Timeout)
	case c.line.late():
		return fmt.Errorf("%d octets of an answer from %s within %v, not its end", x.in, c.origin.name, l.r.plan.Timeout)
	case x.in > 0:
		return fmt.Errorf("%s ended the connection after %d octets of an answer: %w", c.origin.name, x.in, bare(err))
	case kept:
		return fmt.Errorf("%s ended a kept connection without notice, and a request with it: %w", c.origin.name, bare(err))
	case c.state == nil && !h.answered:
		return fmt.Errorf("%s ended the connection without an answer: %w; is this the port for https?", c.origin.name, bare(err))
	}
	return fmt.Errorf("%s ended the connection without an answer: %w", c.origin.name, bare(err))
}

// handshakeCause says what the error of a handshake means.
func (l *lane) handshakeCause(ln *line, o *origin, err error) error {
	_, foreign := errors.AsType[tls.RecordHeaderError](err)
	switch {
	case ln.late():
		return fmt.Errorf("TLS with %s: no end of the handshake within %v", o.name, l.r.plan.Timeout)
	case foreign:
		return fmt.Errorf("TLS with %s: %w: what answers is no TLS; is this the port for http?", o.name, err)
	case l.r.plan.HTTP == "2" && strings.Contains(err.Error(), "no application protocol"):
		return fmt.Errorf("TLS with %s: the server offers no HTTP/2: want --http 1.1?", o.name)
	case errors.Is(err, io.EOF):
		return fmt.Errorf("TLS with %s: the server ended the connection in the handshake; does it speak TLS?", o.name)
	}
	return fmt.Errorf("TLS with %s: %w", o.name, bare(err))
}
