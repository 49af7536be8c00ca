package upstream

import (
	"bytes"
	"io"
	"sync"
)

const (
	// bufferSize is the read buffer of a busy connection. It is larger than a TLS record's
	// plaintext (16 KiB), on which stream.full relies.
	bufferSize = 32 << 10
	// defaultHead and defaultFields are the defaults of Options.ResponseHeader and ResponseFields.
	defaultHead   = 64 << 10
	defaultFields = 200
)

const (
	errHeadTooLarge  = malformed("head is too large")
	errTooManyFields = malformed("head has too many fields")
	errBareLF        = malformed("line ends with LF alone")
	errNotHTTP       = malformed("answer does not begin with an HTTP/1 status line")
	errLineTooLong   = malformed("chunk size or trailer line is too long")
)

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// stream is a bounded read buffer over a source. Its buffer comes from a pool and is held only
// between open and release.
type stream struct {
	src  io.Reader
	buf  []byte
	r, w int
	full bool // the last read filled all the space it was given: the source may hold more
	got  bool // a byte has arrived since open

	maxHead   int // largest head of an answer in bytes, status line and final empty line included
	maxFields int // largest number of field lines in one head
}

func (s *stream) open() {
	s.buf = buffers.Get().(*[bufferSize]byte)[:]
	s.r, s.w, s.full, s.got = 0, 0, false, false
}

// release gives the buffer back; one that had grown for a large head is left to the collector.
func (s *stream) release() {
	if len(s.buf) == bufferSize {
		buffers.Put((*[bufferSize]byte)(s.buf))
	}
	s.buf, s.r, s.w = nil, 0, 0
}

func (s *stream) buffered() []byte { return s.buf[s.r:s.w] }

// fill waits for more bytes. The caller sees to it that there is room or can be made.
func (s *stream) fill() error {
	if s.r == s.w {
		s.r, s.w = 0, 0
	} else if s.w == len(s.buf) {
		s.w = copy(s.buf, s.buf[s.r:])
		s.r = 0
	}
	room := s.buf[s.w:]
	for range 100 {
		n, err := s.src.Read(room)
		if n > 0 {
			s.w += n
			s.full, s.got = n == len(room), true
			return nil // an error that came along comes again
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

// read reads at most len(p) bytes, from the buffer if it has any.
func (s *stream) read(p []byte) (int, error) {
	if s.r == s.w {
		if err := s.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, s.buf[s.r:s.w])
	s.r += n
	return n, nil
}

// head waits for one whole head, up to and with its empty line, and takes it from the stream. The
// bytes stay in the buffer until the next read. lines counts its lines without the empty one.
// It stops at the first byte that no head could have, rather than waiting for an end that may
// never come.
func (s *stream) head() (b []byte, lines int, err error) {
	start, pos := 0, 0 // of the line being looked at; of the first byte not looked at
	for {
		for {
			i := bytes.IndexByte(s.buf[s.r+pos:s.w], '\n')
			if i < 0 {
				break
			}
			end := pos + i
			if end == 0 || s.buf[s.r+end-1] != '\r' {
				return nil, 0, s.whyNoHead()
			}
			if end >= s.maxHead {
				return nil, 0, errHeadTooLarge
			}
			if end-1 == start {
				if lines == 0 {
					return nil, 0, errNotHTTP
				}
				b = s.buf[s.r : s.r+end+1]
				s.r += end + 1
				return b, lines, nil
			}
			if lines++; lines > s.maxFields+1 {
				return nil, 0, errTooManyFields
			}
			pos = end + 1
			start = pos
		}
		pos = s.w - s.r
		if !s.mayBeHTTP() {
			return nil, 0, errNotHTTP
		}
		if pos >= s.maxHead {
			return nil, 0, errHeadTooLarge
		}
		s.grow()
		if err := s.fill(); err != nil {
			return nil, 0, err
		}
	}
}

// grow makes room for a head that does not fit the pooled buffer.
func (s *stream) grow() {
	if s.r == 0 && s.w == len(s.buf) && len(s.buf) == bufferSize {
		large := make([]byte, max(s.maxHead, 2*bufferSize))
		copy(large, s.buf)
		buffers.Put((*[bufferSize]byte)(s.buf))
		s.buf = large
	}
}

func (s *stream) mayBeHTTP() bool {
	const version = "HTTP/1."
	b := s.buffered()
	return string(b[:min(len(b), len(version))]) == version[:min(len(b), len(version))]
}

func (s *stream) whyNoHead() error {
	if !s.mayBeHTTP() {
		return errNotHTTP
	}
	return errBareLF
}

// line takes one line that ends in CRLF and returns it without that. It may have at most limit bytes.
func (s *stream) line(limit int) ([]byte, error) {
	pos := 0
	for {
		if i := bytes.IndexByte(s.buf[s.r+pos:s.w], '\n'); i >= 0 {
			end := s.r + pos + i
			if end == s.r || s.buf[end-1] != '\r' {
				return nil, errBareLF
			}
			if end-1-s.r > limit {
				return nil, errLineTooLong
			}
			line := s.buf[s.r : end-1]
			s.r = end + 1
			return line, nil
		}
		if pos = s.w - s.r; pos > limit+1 {
			return nil, errLineTooLong
		}
		if err := s.fill(); err != nil {
			return nil, cut(err)
		}
	}
}

// cut turns the end of the stream inside a message into what it is: a truncation (RFC 9112 §8).
func cut(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
