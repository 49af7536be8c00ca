package upstream

import (
	"bytes"
	"io"

	"gatehouse/internal/octets"
)

const (
	maxChunkLine    = 256 // chunk size and extensions
	maxTrailers     = 64  // lines
	maxTrailerBytes = 8 << 10

	errChunkSize = malformed("chunk size is malformed (RFC 9112 §7.1)")
	errChunkExt  = malformed("chunk extension has a control character")
	errChunkEnd  = malformed("chunk data is not followed by CRLF (RFC 9112 §7.1)")
	errTrailers  = malformed("trailer section is too large")
)

type chunkPhase uint8

const (
	chunkSize chunkPhase = iota // the size line comes next
	chunkData
	chunkEnd // the CRLF after the data comes next
	chunkTrailer
	chunkDone
)

// chunked decodes the chunked transfer coding (RFC 9112 §7.1). The zero value is ready. It ends
// with io.EOF only after a last chunk and a whole trailer section; trailers are checked and dropped.
type chunked struct {
	phase chunkPhase
	left  int64 // of the present chunk
}

// next reads body bytes from c into p.
func (k *chunked) next(c *conn, p []byte) (int, error) {
	for {
		switch k.phase {
		case chunkSize:
			line, err := c.line(maxChunkLine)
			if err != nil {
				return 0, err
			}
			if k.left, err = parseChunkSize(line); err != nil {
				return 0, err
			}
			k.phase = chunkData
			if k.left == 0 {
				k.phase = chunkTrailer
			}
		case chunkData:
			n, err := c.readBody(p[:min(int64(len(p)), k.left)])
			if err != nil {
				return 0, cut(err)
			}
			if k.left -= int64(n); k.left == 0 {
				k.phase = chunkEnd
			}
			return n, nil
		case chunkEnd:
			if err := readCRLF(c); err != nil {
				return 0, err
			}
			k.phase = chunkSize
		case chunkTrailer:
			if err := skipTrailers(c); err != nil {
				return 0, err
			}
			k.phase = chunkDone
		case chunkDone:
			return 0, io.EOF
		}
	}
}

// ready reports with how many bytes of b next need not wait for more.
func (k *chunked) ready(b []byte) int {
	phase := k.phase
	if phase == chunkEnd && len(b) >= len("\r\n") {
		phase, b = chunkSize, b[len("\r\n"):]
	}
	if phase == chunkSize {
		line, data, whole := bytes.Cut(b, []byte{'\n'})
		if !whole {
			return 0
		}
		phase, b = chunkData, data
		switch size, err := parseChunkSize(bytes.TrimSuffix(line, []byte{'\r'})); {
		case err != nil:
			return 1 // to say so needs no more
		case size == 0:
			phase = chunkTrailer
		}
	}
	switch phase {
	case chunkData:
		return len(b)
	case chunkTrailer:
		if bytes.HasPrefix(b, []byte("\r\n")) { // no trailers, as usual
			return 1
		}
	case chunkDone:
		return 1
	}
	return 0
}

// parseChunkSize reads 1*HEXDIG and bounded extensions. No sign, no 0x, no space: what one reader
// takes for a size and another does not is how bodies and heads get mixed up.
func parseChunkSize(line []byte) (int64, error) {
	digits := 0
	size := int64(0)
	for digits < len(line) && isHex(line[digits]) {
		c := line[digits]
		if c > '9' {
			c = c&^0x20 - 'A' + '0' + 10
		}
		size = size<<4 | int64(c-'0')
		if digits++; digits > 15 { // 15 digits fit int64
			return 0, errChunkSize
		}
	}
	if digits == 0 || digits < len(line) && line[digits] != ';' {
		return 0, errChunkSize
	}
	if !octets.IsFieldText(line[digits:]) {
		return 0, errChunkExt
	}
	return size, nil
}

func readCRLF(c *conn) error {
	var b [1]byte
	for _, want := range [2]byte{'\r', '\n'} {
		if _, err := c.read(b[:]); err != nil {
			return cut(err)
		}
		if b[0] != want {
			return errChunkEnd
		}
	}
	return nil
}

func skipTrailers(c *conn) error {
	size := 0
	for range maxTrailers + 1 {
		line, err := c.line(maxTrailerBytes)
		if err != nil {
			return err
		}
		if len(line) == 0 {
			return nil
		}
		if _, err := parseField(line); err != nil {
			return err
		}
		if size += len(line) + 2; size > maxTrailerBytes {
			return errTrailers
		}
	}
	return errTrailers
}
