package loadtest

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"gatehouse/internal/octets"
)

// errProtocol is what every error of an answer wraps that breaks the rules of HTTP.
var errProtocol = errors.New("invalid HTTP")

// phase is how far an answer has been read.
type phase uint8

const (
	inHead phase = iota
	inBody       // so many octets are left
	inSize       // a chunk's size line
	inChunk
	afterChunk // its line end
	inTrailer
	untilClose
	complete
)

// An answer reads one HTTP/1.1 response as it comes in and keeps nothing of it but
// status and length. It is strict where a proxy's mistake would show (lengths,
// chunks, what follows the end) and lenient elsewhere. The zero value reads the answer
// to a GET; reset makes it ready for the next.
type answer struct {
	phase    phase
	bodiless bool // the request was a HEAD
	keep     bool // the connection may be used again
	chunked  bool
	sized    bool // Content-Length was there
	seenSize bool // a digit of a chunk's size was
	inExt    bool // and its digits are over
	status   int
	left     int64 // of the body or the chunk
	line     int   // length of an unfinished line
}

func (a *answer) reset(bodiless bool) { *a = answer{bodiless: bodiless} }

// feed takes what has come in and returns how much of it has been used up. What is
// left is the beginning of a head, to be fed again with what follows it, or comes
// after the answer's end (phase complete).
func (a *answer) feed(p []byte) (int, error) {
	used := 0
	for used < len(p) && a.phase != complete {
		n, err := a.step(p[used:])
		used += n
		if err != nil {
			return used, err
		}
		if n == 0 && a.phase == inHead {
			break
		}
	}
	return used, nil
}

func (a *answer) step(p []byte) (int, error) {
	switch a.phase {
	case inHead:
		end := bytes.Index(p, []byte("\r\n\r\n"))
		if end < 0 {
			if !looksLikeHead(p) {
				return 0, fmt.Errorf("%w: the answer begins with %q%s", errProtocol, p[:min(len(p), 20)], tlsHint(p))
			}
			return 0, nil
		}
		return end + 4, a.head(p[:end+2])
	case inBody, inChunk:
		n := int(min(a.left, int64(len(p))))
		a.left -= int64(n)
		switch {
		case a.left > 0:
		case a.phase == inChunk:
			a.phase = afterChunk
		default:
			a.phase = complete
		}
		return n, nil
	case inSize:
		return a.size(p)
	case afterChunk, inTrailer:
		return a.lineEnd(p)
	default: // untilClose
		return len(p), nil
	}
}

// tlsHint explains a TLS alert: what a port that expects TLS may say to a request.
func tlsHint(p []byte) string {
	if p[0] == 0x15 {
		return ", which is TLS: want https://?"
	}
	return ""
}

func looksLikeHead(p []byte) bool {
	const begin = "HTTP/1."
	n := min(len(p), len(begin))
	return string(p[:n]) == begin[:n]
}

// eof is told that the connection has ended.
func (a *answer) eof() error {
	if a.phase == untilClose {
		a.phase = complete
		return nil
	}
	return io.ErrUnexpectedEOF
}

// head reads a whole head; every line of it has its end.
func (a *answer) head(p []byte) error {
	// "HTTP/1.1 200"
	if len(p) < 14 || !looksLikeHead(p) || p[8] != ' ' || p[7] != '0' && p[7] != '1' || p[12] != ' ' && p[12] != '\r' {
		return fmt.Errorf("%w: status line %q", errProtocol, p[:bytes.IndexByte(p, '\r')])
	}
	status := 0
	for _, c := range p[9:12] {
		if c < '0' || c > '9' {
			return fmt.Errorf("%w: status %q", errProtocol, p[9:12])
		}
		status = status*10 + int(c-'0')
	}
	if status < 100 {
		return fmt.Errorf("%w: status %03d", errProtocol, status)
	}
	*a = answer{bodiless: a.bodiless, status: status, keep: p[7] == '1', left: -1}
	p = p[bytes.IndexByte(p, '\n')+1:]
	for len(p) > 0 {
		end := bytes.IndexByte(p, '\n')
		if err := a.field(bytes.TrimSuffix(p[:end], []byte{'\r'})); err != nil {
			return err
		}
		p = p[end+1:]
	}
	return a.frame()
}

// field looks at the three fields that say where the answer ends.
func (a *answer) field(line []byte) error {
	if len(line) == 0 {
		return nil
	}
	switch line[0] | 0x20 {
	case 'c', 't':
	default:
		return nil
	}
	name, value, ok := bytes.Cut(line, []byte{':'})
	if !ok {
		return fmt.Errorf("%w: field %q", errProtocol, line)
	}
	value = octets.TrimOWS(value)
	switch {
	case octets.Is(name, "content-length"):
		n, err := decimal(value)
		if err != nil || a.sized && n != a.left {
			return fmt.Errorf("%w: Content-Length %q", errProtocol, value)
		}
		a.left, a.sized = n, true
	case octets.Is(name, "transfer-encoding"):
		if !octets.Is(value, "chunked") {
			return fmt.Errorf("%w: Transfer-Encoding %q", errProtocol, value)
		}
		a.chunked = true
	case octets.Is(name, "connection"):
		for option := range bytes.SplitSeq(value, []byte{','}) {
			switch option = octets.TrimOWS(option); {
			case octets.Is(option, "close"):
				a.keep = false
			case octets.Is(option, "keep-alive"):
				a.keep = true
			}
		}
	}
	return nil
}

// frame decides where the answer ends (RFC 9112 §6.3).
func (a *answer) frame() error {
	switch {
	case a.chunked && a.sized:
		return fmt.Errorf("%w: Content-Length beside Transfer-Encoding", errProtocol)
	case a.status == 101:
		return fmt.Errorf("%w: 101 without an upgrade", errProtocol)
	case a.status < 200: // an interim answer; the real one follows
		a.phase = inHead
	case a.bodiless || a.status == 204 || a.status == 304:
		a.phase = complete
	case a.chunked:
		a.phase, a.left = inSize, 0
	case a.sized && a.left == 0:
		a.phase = complete
	case a.sized:
		a.phase = inBody
	default:
		a.phase, a.keep = untilClose, false
	}
	return nil
}

// maxLine bounds a chunk's size line and a line of the trailer.
const maxLine = 4096

// size reads a chunk's size line (RFC 9112 §7.1), or a part of it.
func (a *answer) size(p []byte) (int, error) {
	for i, c := range p {
		a.line++
		digit, isDigit := hexDigit(c)
		switch {
		case c == '\n':
			if !a.seenSize {
				return i, fmt.Errorf("%w: a chunk without a size", errProtocol)
			}
			a.seenSize, a.inExt, a.line = false, false, 0
			a.phase = inChunk
			if a.left == 0 {
				a.phase = inTrailer
			}
			return i + 1, nil
		case a.line > maxLine:
			return i, fmt.Errorf("%w: a chunk's size line is too long", errProtocol)
		case a.inExt:
		case isDigit:
			if a.left >= 1<<58 {
				return i, fmt.Errorf("%w: a chunk of more than 2^62 octets", errProtocol)
			}
			a.left, a.seenSize = a.left<<4|digit, true
		case c == ';' || c == '\r' || c == ' ' || c == '\t':
			a.inExt = true
		default:
			return i, fmt.Errorf("%w: chunk size with %q", errProtocol, c)
		}
	}
	return len(p), nil
}

// lineEnd reads the line end after a chunk, or a line of the trailer.
func (a *answer) lineEnd(p []byte) (int, error) {
	for i, c := range p {
		switch {
		case c == '\n':
			empty := a.line == 0
			a.line = 0
			if a.phase == afterChunk {
				a.phase, a.left = inSize, 0
			} else if empty {
				a.phase = complete
			}
			return i + 1, nil
		case c == '\r':
		case a.phase == afterChunk:
			return i, fmt.Errorf("%w: a chunk is longer than its size", errProtocol)
		default:
			if a.line++; a.line > maxLine {
				return i, fmt.Errorf("%w: a line of the trailer is too long", errProtocol)
			}
		}
	}
	return len(p), nil
}

func hexDigit(c byte) (int64, bool) {
	switch {
	case c >= '0' && c <= '9':
		return int64(c - '0'), true
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return int64(c|0x20-'a') + 10, true
	}
	return 0, false
}

var errNumber = errors.New("not a number")

func decimal(p []byte) (int64, error) {
	if len(p) == 0 || len(p) > 18 {
		return 0, errNumber
	}
	var n int64
	for _, c := range p {
		if c < '0' || c > '9' {
			return 0, errNumber
		}
		n = n*10 + int64(c-'0')
	}
	return n, nil
}
