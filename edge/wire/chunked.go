package wire

import (
	"bytes"
	"io"

	"gatehouse/internal/octets"
)

// Bounds of what stands around chunks and means nothing to us (RFC 9112 §7.1.1
// asks for a limit): attackers hide requests in it, and it is bytes that no
// body limit counts.
const (
	sizeDigits    = 16      // of a chunk's size, leading zeros included
	extensionMost = 256     // bytes of one chunk's extensions
	extensionsAll = 8 << 10 // of all extensions of a body
	trailersMost  = 8 << 10 // bytes of the trailer section
)

// A chunkReader reads the framing of a chunked body (RFC 9112 §7.1). The end is
// told only once the trailer section is whole and valid; trailers go no further
// (§7.1.2 allows to discard them).
type chunkReader struct {
	left       int64 // bytes of the present chunk that are still to come
	begun      bool  // a chunk has been read, so a CRLF stands before the next size
	extensions int   // bytes of extensions so far
}

// readChunked reads body bytes into b.
func (m *message) readChunked(c *Conn, b []byte) (int, error) {
	k := &m.chunks
	if k.left == 0 {
		if err := m.nextChunk(c); err != nil {
			return 0, err
		}
	}
	n, err := m.take(c, b[:min(int64(len(b)), k.left)])
	k.left -= int64(n)
	return n, err
}

// nextChunk reads what stands before a chunk's data. After the last chunk it
// reads the trailers and returns io.EOF.
func (m *message) nextChunk(c *Conn) error {
	k := &m.chunks
	if k.begun {
		line, err := m.readLine(c, 2)
		if err != nil {
			return err
		}
		if len(line) != 0 {
			return errChunk
		}
	}
	k.begun = true
	line, err := m.readLine(c, sizeDigits+extensionMost+2)
	if err != nil {
		return err
	}
	if err := k.size(line); err != nil {
		return err
	}
	if k.left > 0 {
		return nil
	}
	return m.readTrailers(c)
}

// size reads chunk-size and skips chunk-ext.
func (k *chunkReader) size(line []byte) error {
	digits := 0
	for ; digits < len(line); digits++ {
		d, ok := hexDigit(line[digits])
		if !ok {
			break
		}
		if digits == sizeDigits || k.left >= 1<<56 {
			return errChunk
		}
		k.left = k.left<<4 | d
	}
	extension := line[digits:]
	if digits == 0 || len(extension) > 0 && !isExtension(extension) {
		k.left = 0
		return errChunk
	}
	if k.extensions += len(extension); len(extension) > extensionMost || k.extensions > extensionsAll {
		k.left = 0
		return errChunkExt
	}
	return nil
}

// isExtension reports whether b begins as extensions do, with BWS and a
// semicolon, and holds no control character. What they say is nobody's business.
func isExtension(b []byte) bool {
	b = octets.TrimOWS(b)
	return len(b) > 1 && b[0] == ';' && octets.IsFieldText(b)
}

// readTrailers reads up to the empty line that ends the message.
func (m *message) readTrailers(c *Conn) error {
	size, count := 0, 0
	for {
		line, err := m.readLine(c, trailersMost-size+2)
		if err != nil {
			if err == errChunk {
				err = errTrailersLarge
			}
			return err
		}
		if len(line) == 0 {
			return io.EOF
		}
		size += len(line) + 2
		if count++; count > c.limits.HeaderFields || size > trailersMost {
			return errTrailersLarge
		}
		if refusal := checkTrailer(line); refusal != nil {
			return refusal
		}
	}
}

// checkTrailer refuses a line that is no field, and fields that would change what
// was decided by the head (RFC 9110 §6.5.1).
func checkTrailer(line []byte) *Refusal {
	name, value, ok := bytes.Cut(line, []byte{':'})
	if !ok || !octets.IsToken(name) || !octets.IsFieldText(octets.TrimOWS(value)) {
		return errTrailer
	}
	f := Field{Name: name}
	for _, forbidden := range [...]string{"content-length", "transfer-encoding", "host", "content-encoding", "content-type", "trailer", "authorization"} {
		if f.Is(forbidden) {
			return errTrailerField
		}
	}
	return nil
}

// readLine returns the next line of the body's framing without its CRLF; longer
// than most with it, it is no such line. The line is good until the next read.
func (m *message) readLine(c *Conn, most int) ([]byte, error) {
	for seen := 0; ; {
		unread := m.buf[m.r:m.w]
		i := bytes.IndexByte(unread[seen:], '\n')
		if i >= 0 && seen+i+1 <= most {
			end := seen + i
			if end == 0 || unread[end-1] != '\r' {
				return nil, errBareLF
			}
			line := unread[:end-1]
			if bytes.IndexByte(line, '\r') >= 0 {
				return nil, errBareCR
			}
			m.r += end + 1
			return line, nil
		}
		if i >= 0 || len(unread) >= most {
			return nil, errChunk
		}
		if cr := bytes.IndexByte(unread, '\r'); cr >= 0 && cr < len(unread)-1 {
			return nil, errBareCR
		}
		seen = len(unread)
		if err := m.more(c); err != nil {
			return nil, err
		}
	}
}
