package upstream

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strconv"
	"sync"
	"time"
)

const (
	// answerGrace is how long an answer is still waited for after the backend refused more of the
	// request's body: it has often said why (RFC 9112 §9.5).
	answerGrace = 5 * time.Second
	// lastGrace is how long the last write of a body may take after the answer has already ended.
	lastGrace = 100 * time.Millisecond
)

var errStopped = errors.New("the answer ended before the request")

// sender writes a request's body while the answer is awaited and read.
type sender struct {
	c       *conn
	body    io.Reader
	length  int64 // -1: chunked
	timeout time.Duration
	done    chan struct{}
	err     *Error // after done: nil if the body was written whole

	mu       sync.Mutex
	stopping bool   // no further write
	last     bool   // the last write has begun
	answered bool   // the final head has come: the read deadline is no longer ours
	failed   *Error // what broke the sending, unless stop did
}

func (s *sender) run() {
	defer close(s.done)
	s.err = s.send()
	s.settleRead()
}

// send writes the body. A panic of the caller's body is an error of it: nobody above this
// goroutine would recover it.
func (s *sender) send() (fault *Error) {
	defer func() {
		if v := recover(); v != nil {
			fault = &Error{Op: OpBody, Err: &PanicError{Value: v, Stack: debug.Stack()}, Sent: true}
		}
	}()
	buf := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(buf)
	if s.length < 0 {
		return s.sendChunked(buf[:])
	}
	return s.sendLength(buf[:])
}

func (s *sender) sendLength(buf []byte) *Error {
	for left := s.length; left > 0; {
		n, err := s.readBody(buf[:min(int64(len(buf)), left)])
		left -= int64(n)
		if n > 0 {
			if werr := s.write(buf[:n], left == 0); werr != nil {
				return werr
			}
		}
		if err != nil && left > 0 {
			return &Error{Op: OpBody, Err: fmt.Errorf("read request body: %w", cut(err)), Sent: true, Timeout: isTimeout(err)}
		}
	}
	return nil
}

func (s *sender) sendChunked(buf []byte) *Error {
	const before, after = 8, 2 // size line of up to six digits; CRLF
	for {
		n, err := s.readBody(buf[before : len(buf)-after])
		if n > 0 {
			size := strconv.AppendInt(make([]byte, 0, before), int64(n), 16)
			start := before - len(size) - 2
			copy(buf[start:], size)
			copy(buf[before-2:], "\r\n")
			copy(buf[before+n:], "\r\n")
			if werr := s.write(buf[start:before+n+after], false); werr != nil {
				return werr
			}
		}
		if err == io.EOF {
			return s.write([]byte("0\r\n\r\n"), true)
		}
		if err != nil {
			return &Error{Op: OpBody, Err: fmt.Errorf("read request body: %w", err), Sent: true, Timeout: isTimeout(err)}
		}
	}
}

// readBody reads from the caller's body and refuses one that makes no progress.
func (s *sender) readBody(p []byte) (int, error) {
	for range 100 {
		if n, err := s.body.Read(p); n > 0 || err != nil {
			return n, err
		}
	}
	return 0, io.ErrNoProgress
}

// write writes b with a fresh time limit, so that a slow but moving upload is not cut.
func (s *sender) write(b []byte, last bool) *Error {
	s.mu.Lock()
	if s.stopping {
		s.mu.Unlock()
		return &Error{Op: OpWrite, Err: errStopped, Sent: true}
	}
	s.last = last
	err := s.c.nc.SetWriteDeadline(time.Now().Add(s.timeout))
	s.mu.Unlock()
	if err == nil {
		_, err = s.c.write(b)
	}
	if err != nil {
		return newError(OpWrite, err, true)
	}
	return nil
}

// settleRead starts or ends the wait for the answer, if it has not come yet.
func (s *sender) settleRead() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.stopping {
		s.failed = s.err // before sever wakes the reader, which asks for it
	}
	if s.answered {
		if s.err != nil && s.err.Op == OpBody {
			s.c.sever() // the client's upload broke: its answer has no reader either
		}
		return
	}
	wait := s.timeout
	switch {
	case s.err == nil:
	case s.err.Op == OpWrite && !errors.Is(s.err, os.ErrDeadlineExceeded):
		wait = min(wait, answerGrace)
	default:
		s.c.sever() // a cut request must not look complete, and a backend that neither reads nor answers is given up
		return
	}
	_ = s.c.nc.SetReadDeadline(time.Now().Add(wait)) // fails on a closed connection only: the reader sees that itself
}

// answer notes that the final head has come.
func (s *sender) answer() {
	s.mu.Lock()
	s.answered = true
	s.mu.Unlock()
}

// fault gives what broke the sending, unless stop did.
func (s *sender) fault() *Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

func (s *sender) finished() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// stop ends the sender and waits for it. It reports whether the request was written whole.
func (s *sender) stop() bool {
	if !s.finished() {
		s.mu.Lock()
		limit := time.Now()
		if s.last {
			limit = limit.Add(lastGrace)
		}
		s.stopping = !s.last
		_ = s.c.nc.SetWriteDeadline(limit) // fails on a closed connection only: then the write fails too
		s.mu.Unlock()
		if s.stopping {
			abort(s.body)
		}
		<-s.done
	}
	return s.err == nil
}
