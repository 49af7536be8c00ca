package loadtest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

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
	greeted bool  // the server's SETTINGS have come
	out     int64 // octets that were written
	used    int64 // when last, in nanoseconds of the run
	leaving bool  // no further requests on it
	err     error // why it has ended
	failed  kind  // the same, as it counts; and in words
	cause   error
	goaway  error // the server's last word, once it has said it
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
		window: initialWindow, initial: initialWindow, frame: firstFrame,
		most: 1, // until the server says how many: more might be refused
	}
	c.changed = sync.NewCond(&c.mu)
	c.w = bufio.NewWriterSize(c.Conn, 16<<10)
	c.framer = http2.NewFramer(counted{c.w, &c.out}, bufio.NewReaderSize(c.Conn, 32<<10))
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.framer.SetReuseFrames()
	c.framer.SetMaxReadFrameSize(firstFrame) // as long as our SETTINGS allow no larger ones (RFC 9113 §4.2)
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

// reason is why the connection takes no more requests.
func (c *h2conn) reason() (kind, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil {
		return c.failed, c.cause
	}
	return errReset, fmt.Errorf("%s ends connections before there was a request on them", c.origin.name)
}

// greet begins HTTP/2 on the connection that is tried, and waits for the server to do
// the same.
func (r *run) greet(l *link) error {
	c, err := newH2conn(r, l)
	if err != nil {
		_ = l.line.Conn.Close() // it has failed
		return fmt.Errorf("begin HTTP/2 with %s: %w", l.origin.name, bare(err))
	}
	c.mu.Lock()
	for !c.greeted && c.cause == nil {
		c.changed.Wait()
	}
	cause := c.cause
	if c.greeted {
		cause = nil // what comes after the greeting is the load's to find
	}
	c.mu.Unlock()
	c.retire()
	r.readers.Wait() // the load begins with a clock of its own
	return cause
}

// cancel gives a request up that has taken too long.
func (c *h2conn) cancel(s *stream, timeout time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.isDone {
		return
	}
	c.note(c.framer.WriteRSTStream(s.id, http2.ErrCodeCancel))
	c.flush()
	c.finish(s, errTimeout, fmt.Errorf("no whole answer from %s within %v", c.origin.name, timeout))
}

// finish ends a stream; mu is held.
func (c *h2conn) finish(s *stream, failed kind, cause error) {
	if s.isDone {
		return
	}
	s.isDone, s.failed, s.cause = true, failed, cause
	delete(c.streams, s.id)
	close(s.done)
	c.changed.Broadcast()
	c.leave()
}
