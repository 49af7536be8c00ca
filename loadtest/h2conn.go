package loadtest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"sync"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// An h2conn is an HTTP/2 connection with as little between the load and the wire as
// the protocol allows. One goroutine reads; whoever asks writes.
type h2conn struct {
	*link
	run *run

	mu      sync.Mutex
	changed *sync.Cond // a window, the number of streams, or the end
	framer  *http2.Framer
	w       *bufio.Writer
	encoder *hpack.Encoder
	block   bytes.Buffer
	streams map[uint32]*stream
	nextID  uint32
	window  int64 // of the connection: what may still be sent
	initial int64 // of a new stream
	frame   int   // how large one may be
	most    int   // streams that the server allows at once
	out     int64 // octets that were written
	used    int64 // when last, in nanoseconds of the run
	leaving bool  // no further requests on it
	err     error // why it has ended
	late    bool  // the watch has ended it: writing took too long
	spent   int64 // received since the connection's window was last widened
}

// Windows are as wide as they go, and widened when half of one is used up: a load
// generator must not be what a server waits for.
const (
	windowSize = math.MaxInt32
	windowLow  = windowSize / 2
	// initialWindow is what the protocol begins with (RFC 9113 §6.9.2).
	initialWindow = 65535
	firstFrame    = 16 << 10
)

// newH2conn begins HTTP/2 on a connection.
func newH2conn(r *run, l *link) (*h2conn, error) {
	c := &h2conn{
		link: l, run: r, streams: map[uint32]*stream{}, nextID: 1,
		window: initialWindow, initial: initialWindow, frame: firstFrame, most: 100,
	}
	c.changed = sync.NewCond(&c.mu)
	c.w = bufio.NewWriterSize(c.Conn, 16<<10)
	c.framer = http2.NewFramer(counted{c.w, &c.out}, bufio.NewReaderSize(c.Conn, 32<<10))
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.framer.SetReuseFrames()
	c.encoder = hpack.NewEncoder(&c.block)
	if _, err := c.w.WriteString(http2.ClientPreface); err != nil {
		return nil, err
	}
	err := errors.Join(
		c.framer.WriteSettings(
			http2.Setting{ID: http2.SettingEnablePush, Val: 0},
			http2.Setting{ID: http2.SettingInitialWindowSize, Val: windowSize},
		),
		c.framer.WriteWindowUpdate(0, windowSize-initialWindow),
		c.line.direct(), // the end of the handshake goes out
		c.w.Flush(),
	)
	if err != nil {
		return nil, err
	}
	r.readers.Go(c.read)
	return c, nil
}

// counted counts what is written.
type counted struct {
	w *bufio.Writer
	n *int64
}

func (c counted) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	*c.n += int64(n)
	return n, err
}

func (c *h2conn) put(name, value string) {
	_ = c.encoder.WriteField(hpack.HeaderField{Name: name, Value: value}) // into memory
}

// note keeps the first error; mu is held.
func (c *h2conn) note(err error) {
	if err != nil && c.err == nil {
		c.err = err
		c.line.kill() // the reader finds it out, and tells all streams
	}
}

func (c *h2conn) flush() { c.note(c.w.Flush()) }

// closed reports whether the connection takes no more requests; mu is held.
func (c *h2conn) closed() bool { return c.leaving || c.err != nil || c.nextID > math.MaxInt32-2 }

// usable reports whether a request can be sent now.
func (c *h2conn) usable() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.closed()
}

// retire lets the requests under way end, and then the connection.
func (c *h2conn) retire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leaving = true
	c.changed.Broadcast()
	c.leave()
}

// leave closes a connection that takes no more requests when the last one is done;
// mu is held.
func (c *h2conn) leave() {
	if c.leaving && len(c.streams) == 0 {
		_ = c.Conn.Close() // nobody waits for anything on it
	}
}

// cancel gives a request up that has taken too long.
func (c *h2conn) cancel(s *stream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.isDone {
		return
	}
	c.note(c.framer.WriteRSTStream(s.id, http2.ErrCodeCancel))
	c.flush()
	c.finish(s, errTimeout)
}

// finish ends a stream; mu is held.
func (c *h2conn) finish(s *stream, failed kind) {
	if s.isDone {
		return
	}
	s.isDone, s.failed = true, failed
	delete(c.streams, s.id)
	close(s.done)
	c.changed.Broadcast()
	c.leave()
}

// read takes frames until the connection ends, and then ends what is left on it.
func (c *h2conn) read() {
	defer c.line.Conn.Close() // without TLS's goodbye: it has failed, or nobody needs it any more
	for {
		f, err := c.framer.ReadFrame()
		c.mu.Lock()
		c.line.start(c.run.now()) // the answers to frames, too, may take only so long
		if err == nil {
			err = c.take(f)
		}
		var bad http2.StreamError
		if errors.As(err, &bad) { // one stream is at fault, not the connection
			if s := c.streams[bad.StreamID]; s != nil {
				c.note(c.framer.WriteRSTStream(bad.StreamID, bad.Code))
				c.finish(s, errNoHTTP)
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
	failed := errReset
	var broken http2.ConnectionError
	switch {
	case late, c.late:
		failed = errTimeout
	case errors.As(err, &broken), errors.Is(err, http2.ErrFrameTooLarge), errors.Is(err, errProtocol):
		failed = errNoHTTP
	}
	c.note(err)
	for _, s := range c.streams {
		c.finish(s, failed)
	}
	c.changed.Broadcast()
}

const frameHead = 9

// take acts on one frame; mu is held.
func (c *h2conn) take(f http2.Frame) error {
	s := c.streams[f.Header().StreamID]
	if s != nil {
		s.in += int64(f.Header().Length) + frameHead
	}
	switch f := f.(type) {
	case *http2.MetaHeadersFrame:
		return c.headers(s, f)
	case *http2.DataFrame:
		c.data(s, f)
	case *http2.RSTStreamFrame:
		if s != nil {
			s.unseen = f.ErrCode == http2.ErrCodeRefusedStream
			c.finish(s, errReset)
		}
	case *http2.GoAwayFrame:
		c.leaving = true
		for id, s := range c.streams {
			if id > f.LastStreamID {
				s.unseen = true
				c.finish(s, errReset)
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
		if err != nil || status < 100 || status > 999 {
			return http2.StreamError{StreamID: s.id, Code: http2.ErrCodeProtocol}
		}
		if status >= 200 {
			s.status = status
		}
	}
	if f.StreamEnded() {
		c.complete(s)
	}
	return nil
}

// complete ends a stream whose answer is whole.
func (c *h2conn) complete(s *stream) {
	failed := noError
	if s.status == 0 {
		failed = errNoHTTP
	}
	c.finish(s, failed)
}

// data counts a body, and gives the windows back.
func (c *h2conn) data(s *stream, f *http2.DataFrame) {
	n := int64(f.Header().Length)
	if c.spent += n; c.spent > windowLow {
		c.note(c.framer.WriteWindowUpdate(0, uint32(c.spent)))
		c.spent = 0
	}
	if s == nil {
		return
	}
	if f.StreamEnded() {
		c.complete(s)
		return
	}
	if s.consumed += n; s.consumed > windowLow {
		c.note(c.framer.WriteWindowUpdate(s.id, uint32(s.consumed)))
		s.consumed = 0
	}
}

func (c *h2conn) settings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return nil
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
