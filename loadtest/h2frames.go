package loadtest

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"strconv"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// read takes frames until the connection ends, and then ends what is left on it.
func (c *h2conn) read() {
	defer c.line.Conn.Close() // without TLS's goodbye: it has failed, or nobody needs it any more
	for {
		f, err := c.framer.ReadFrame()
		c.mu.Lock()
		c.late = c.line.late() || c.late
		c.line.start(c.run.now()) // the answers to frames, too, may take only so long
		if err == nil {
			err = c.take(f)
		}
		var bad http2.StreamError
		if errors.As(err, &bad) { // one stream is at fault, not the connection
			if s := c.streams[bad.StreamID]; s != nil {
				c.note(c.framer.WriteRSTStream(bad.StreamID, bad.Code))
				c.finish(s, errNoHTTP, fmt.Errorf("%w: %w", errProtocol, cmp.Or(bad.Cause, err)))
			}
			err = nil
		}
		if err == nil && c.w.Buffered() > 0 {
			c.flush()
		}
		late := c.line.end()
		if err != nil {
			c.lose(err, late)
		}
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// lose ends what is under way on a connection that has ended; mu is held.
func (c *h2conn) lose(err error, late bool) {
	c.note(err)
	c.failed, c.cause = c.ending(late)
	for _, s := range c.streams {
		c.finish(s, c.failed, c.cause)
	}
	c.changed.Broadcast()
}

// ending says what a connection's end is; mu is held.
func (c *h2conn) ending(late bool) (kind, error) {
	failed := errReset
	var broken http2.ConnectionError
	switch name := c.origin.name; {
	case late, c.late:
		return errTimeout, fmt.Errorf("%s took more than %v: the connection moved nothing", name, c.run.plan.Timeout)
	case c.goaway != nil && !errors.As(c.err, &broken):
		return errReset, c.goaway // whoever closes then
	case errors.As(c.err, &broken), errors.Is(c.err, http2.ErrFrameTooLarge), errors.Is(c.err, errProtocol):
		failed = errNoHTTP
	}
	if !c.greeted {
		return failed, fmt.Errorf("%s does not begin HTTP/2 (%w): want --http 1.1?", c.origin.name, bare(c.err))
	}
	return failed, fmt.Errorf("%s ended the HTTP/2 connection: %w", c.origin.name, bare(c.err))
}

const frameHead = 9

// take acts on one frame; mu is held.
func (c *h2conn) take(f http2.Frame) error {
	if _, ok := f.(*http2.SettingsFrame); !ok && !c.greeted {
		return fmt.Errorf("%w: a %v frame before SETTINGS", errProtocol, f.Header().Type)
	}
	s := c.streams[f.Header().StreamID]
	if s != nil {
		s.in += int64(f.Header().Length) + frameHead
	}
	switch f := f.(type) {
	case *http2.MetaHeadersFrame:
		return c.headers(s, f)
	case *http2.DataFrame:
		return c.data(s, f)
	case *http2.RSTStreamFrame:
		if s != nil {
			s.unseen = f.ErrCode == http2.ErrCodeRefusedStream
			c.finish(s, errReset, fmt.Errorf("%s reset the stream: %v", c.origin.name, f.ErrCode))
		}
	case *http2.GoAwayFrame:
		c.leaving = true
		c.goaway = fmt.Errorf("%s ended the connection before the request: GOAWAY, %v", c.origin.name, f.ErrCode)
		for id, s := range c.streams {
			if id > f.LastStreamID {
				s.unseen = true
				c.finish(s, errReset, c.goaway)
			}
		}
		c.changed.Broadcast()
		c.leave()
	case *http2.SettingsFrame:
		return c.settings(f)
	case *http2.PingFrame:
		if !f.IsAck() {
			c.note(c.framer.WritePing(true, f.Data))
		}
	case *http2.WindowUpdateFrame:
		switch {
		case f.StreamID == 0:
			c.window += int64(f.Increment)
		case s != nil:
			s.window += int64(f.Increment)
		}
		c.changed.Broadcast()
	case *http2.PushPromiseFrame:
		return fmt.Errorf("%w: a push, which was switched off", errProtocol)
	}
	return nil
}

func (c *h2conn) headers(s *stream, f *http2.MetaHeadersFrame) error {
	if s == nil {
		return nil // given up
	}
	if text := f.PseudoValue("status"); text != "" {
		status, err := strconv.Atoi(text)
		if err != nil || len(text) != 3 || status < 100 || s.status != 0 {
			return malformed(s, "status %q", text)
		}
		if status >= 200 {
			if err := s.begin(status, f.RegularFields()); err != nil {
				return err
			}
		}
	}
	if f.StreamEnded() {
		return c.complete(s)
	}
	return nil
}

// malformed is the error of an answer that breaks a rule (RFC 9113 §8.1.1): it ends the
// stream, not the connection.
func malformed(s *stream, format string, args ...any) error {
	return http2.StreamError{StreamID: s.id, Code: http2.ErrCodeProtocol, Cause: fmt.Errorf(format, args...)}
}

// begin takes the head of the answer.
func (s *stream) begin(status int, fields []hpack.HeaderField) error {
	s.status = status
	s.bodiless = s.bodiless || status == 204 || status == 304
	for _, f := range fields {
		if f.Name != "content-length" {
			continue
		}
		n, err := decimal([]byte(f.Value))
		if err != nil || s.length >= 0 && n != s.length {
			return malformed(s, "content-length %q", f.Value)
		}
		s.length = n
	}
	if s.bodiless {
		s.length = 0 // it speaks of another answer's body (RFC 9110 §8.6)
	}
	return nil
}

// complete ends a stream whose answer is whole.
func (c *h2conn) complete(s *stream) error {
	switch {
	case s.status == 0:
		return malformed(s, "an end without a status")
	case s.length >= 0 && s.body < s.length:
		return malformed(s, "a body of %d octets, shorter than its content-length of %d", s.body, s.length)
	}
	c.finish(s, noError, nil)
	return nil
}

// data counts a body, and gives the windows back.
func (c *h2conn) data(s *stream, f *http2.DataFrame) error {
	n := int64(f.Header().Length)
	if c.spent += n; c.spent > windowLow {
		c.note(c.framer.WriteWindowUpdate(0, uint32(c.spent)))
		c.spent = 0
	}
	if s == nil {
		return nil
	}
	s.body += int64(len(f.Data())) // without padding
	switch {
	case s.status == 0:
		return malformed(s, "a body before the status")
	case s.length >= 0 && s.body > s.length:
		return malformed(s, "a body of %d octets and more, longer than its content-length of %d", s.body, s.length)
	case f.StreamEnded():
		return c.complete(s)
	}
	if s.consumed += n; s.consumed > windowLow {
		c.note(c.framer.WriteWindowUpdate(s.id, uint32(s.consumed)))
		s.consumed = 0
	}
	return nil
}

func (c *h2conn) settings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return nil
	}
	if !c.greeted {
		c.greeted, c.most = true, math.MaxInt32 // unless they say it: as many as one likes (RFC 9113 §6.5.2)
	}
	err := f.ForeachSetting(func(s http2.Setting) error {
		switch s.ID {
		case http2.SettingInitialWindowSize:
			delta := int64(s.Val) - c.initial
			c.initial += delta
			for _, st := range c.streams {
				st.window += delta
			}
		case http2.SettingMaxFrameSize:
			c.frame = int(min(s.Val, 1<<20))
		case http2.SettingMaxConcurrentStreams:
			c.most = int(min(s.Val, math.MaxInt32))
		case http2.SettingHeaderTableSize:
			c.encoder.SetMaxDynamicTableSizeLimit(s.Val)
		}
		return s.Valid()
	})
	c.note(c.framer.WriteSettingsAck())
	c.changed.Broadcast()
	return err
}
