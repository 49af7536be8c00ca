package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
)

var errCutOff = errors.New("the client has gone")

// A stuck body blocks until it is aborted.
type stuck struct {
	reading, aborted chan struct{}
	once, twice      sync.Once
}

func newStuck() *stuck { return &stuck{reading: make(chan struct{}), aborted: make(chan struct{})} }

func (s *stuck) Read([]byte) (int, error) {
	s.once.Do(func() { close(s.reading) })
	<-s.aborted
	return 0, io.ErrUnexpectedEOF
}

func (s *stuck) Abort() { s.twice.Do(func() { close(s.aborted) }) }

func TestACutEndsWhatIsUnderWay(t *testing.T) {
	asked := make(chan struct{}, 1)
	silent := serve(t, func(s *session) {
		_ = s.request()
		asked <- struct{}{}
		_ = s.request() // nothing more comes
	})
	dialling := make(chan struct{})
	blackhole := newPool(t, Options{Address: "http://192.0.2.1", Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		close(dialling)
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	upload := newStuck()
	for _, c := range []struct {
		name string
		pool *Pool
		req  *Request
		when <-chan struct{}
	}{
		{"the connect", blackhole, get("/"), dialling},
		{"the wait for a head", poolTo(t, silent), get("/"), asked},
		{"the upload", poolTo(t, silent), &Request{Method: "POST", Target: "/", Host: "h", Body: upload, ContentLength: -1}, upload.reading},
	} {
		t.Run(c.name, func(t *testing.T) {
			line := &Lifeline{}
			c.req.Lifeline = line
			ended := make(chan error, 1)
			go func() {
				_, err := c.pool.RoundTrip(context.Background(), c.req)
				ended <- err
			}()
			<-c.when
			line.Cut(errCutOff)
			if err := <-ended; !errors.Is(err, errCutOff) {
				t.Errorf("ended with %v", err)
			}
		})
	}
}

func TestACutEndsAnAnswerThatIsBeingRead(t *testing.T) {
	b := serve(t, func(s *session) {
		_ = s.request()
		s.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfive!")
		_ = s.request()
	})
	line := &Lifeline{}
	req := get("/")
	req.Lifeline = line
	resp, err := poolTo(t, b).RoundTrip(context.Background(), req)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(resp.Body, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	go line.Cut(errCutOff)
	if _, err := resp.Body.Read(make([]byte, 5)); !errors.Is(err, errCutOff) {
		t.Errorf("read ended with %v", err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Error(err)
	}
}

func TestALineServesRoundTripsOneAfterAnother(t *testing.T) {
	p := poolTo(t, answering(t, okAnswer, okAnswer, okAnswer))
	line := &Lifeline{}
	for range 3 {
		req := get("/")
		req.Lifeline = line
		resp := wantOK(t, p, req)
		resp.Release()
	}
	if n := p.Stats().Dials; n != 1 {
		t.Errorf("%d connections", n)
	}
	line.Cut(errCutOff)
	line.Cut(errors.New("later"))
	req := get("/")
	req.Lifeline = line
	if _, err := p.RoundTrip(context.Background(), req); !errors.Is(err, errCutOff) {
		t.Errorf("after a cut: %v", err)
	}
}

// A cut that comes when the round trip is over must not touch the connection: it is
// somebody else's by then.
func TestALateCutLeavesTheConnectionToTheNextOne(t *testing.T) {
	p := poolTo(t, answering(t, okAnswer, okAnswer))
	for range 50 {
		line := &Lifeline{}
		req := get("/")
		req.Lifeline = line
		wantOK(t, p, req)
		done := make(chan struct{})
		go func() { line.Cut(errCutOff); close(done) }()
		wantOK(t, p, get("/"))
		<-done
	}
}

// errEmpty is what a read past the bytes that have come returns in place of waiting.
var errEmpty = errors.New("would wait")

type come struct{ left []byte }

func (c *come) Read(p []byte) (int, error) {
	if len(c.left) == 0 {
		return 0, errEmpty
	}
	n := copy(p, c.left)
	c.left = c.left[n:]
	return n, nil
}

// Whatever part of a chunked body has come, Buffered promises no read that would wait.
func TestBufferedPromisesNothingThatHasNotCome(t *testing.T) {
	const whole = "5\r\nhello\r\n00a;x=\"y\"\r\n0123456789\r\n1\r\n!\r\n0\r\nT: v\r\n\r\n"
	promised := 0
	for _, text := range []string{whole, "0\r\n\r\n", "3\r\nabc\r\n0\r\n\r\n", "3\r\nabc\r\n0;x\r\n\r\n", "003\r\nabc\r\n000\r\n\r\n"} {
		for cut := range len(text) + 1 {
			c := &conn{}
			c.src, c.maxHead, c.maxFields = &come{}, defaultHead, defaultFields
			c.open()
			c.w = copy(c.buf, text[:cut])
			x := &exchange{c: c, framing: byChunks, line: &Lifeline{}}
			for {
				n := x.Buffered()
				got, err := x.chunks.next(c, make([]byte, 4))
				if n > 0 {
					promised++
				}
				if n > 0 && errors.Is(err, errEmpty) {
					t.Errorf("%q: Buffered says %d, and the read waits", text[:cut], n)
				}
				if n == 0 && got > 0 && x.chunks.phase == chunkData {
					t.Errorf("%q: %d bytes of a chunk are there, and Buffered says none", text[:cut], got)
				}
				if err != nil {
					break
				}
			}
			c.release()
		}
	}
	if promised < 100 {
		t.Errorf("only %d promises were tried", promised)
	}
}

func ExampleLifeline() {
	var line Lifeline
	line.Cut(errors.New("the client has left"))
	pool, _ := NewPool(Options{Address: "http://127.0.0.1:9000"})
	_, err := pool.RoundTrip(context.Background(), &Request{Method: "GET", Target: "/", Host: "shop.test", Lifeline: &line})
	fmt.Println(err)
	// Output: backend connect: the client has left
}
