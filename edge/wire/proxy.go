package wire

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/pires/go-proxyproto"
)

// Bounds of a PROXY header (PROXY protocol specification, 2.1 and 2.2).
const (
	longestV1 = 107
	longestV2 = 4 << 10 // TLVs included; the format allows 64 KiB, and nobody needs them
	prefixV2  = 16      // of which the last two tell how much follows
)

var (
	signatureV1 = []byte("PROXY ")
	signatureV2 = proxyproto.SIGV2
)

var (
	errHeader  = errors.New("malformed PROXY header")
	errCrowded = errors.New("announced client has too many connections")
)

// A header is what a PROXY header announces.
type header struct {
	source, destination *net.TCPAddr // nil: nothing; the peer is the client
}

// announce reads the PROXY header, if one may be there and nobody has read it
// yet. An error is for good, and the connection is closed then, unless it is that
// of a read before the header's first byte.
func (s *socket) announce() error {
	if !s.early.Load() {
		return nil
	}
	s.opening.Lock()
	defer s.opening.Unlock()
	if s.failed != nil || !s.early.Load() || s.rest != nil {
		return s.failed
	}
	h, rest, err := s.readHeader()
	if err != nil {
		if len(rest) == 0 && !errors.Is(err, errHeader) {
			return err // the client left or is idle: nothing was begun
		}
		s.failed = err
		s.door.refuse(s, refusedProxy, err)
		return err
	}
	if h.source != nil {
		s.named.Store(&h)
		addr := addrOf(h.source)
		if !s.door.trusts(addr) && !s.door.enter(s, addr) {
			s.failed = errCrowded
			s.door.refuse(s, refusedPerIP, nil)
			return s.failed
		}
	}
	if s.rest = rest; len(rest) == 0 {
		return s.opened()
	}
	return s.endHeaderDeadline()
}

// readHeader reads until it is known what is there: a header and what came with
// it, or the client's own bytes. With an error rest is what was read.
func (s *socket) readHeader() (h header, rest []byte, err error) {
	buf := make([]byte, 0, 256)
	for {
		n, err := s.Conn.Read(buf[len(buf):cap(buf)])
		if len(buf) == 0 && n > 0 {
			if err := s.armHeader(); err != nil {
				return header{}, buf[:n], err
			}
		}
		buf = buf[:len(buf)+n]
		length, need, bad := frame(buf)
		switch {
		case bad != nil:
			return header{}, buf, bad
		case length == 0 && need == 0:
			return header{}, buf, nil
		case need == 0:
			h, err := parseHeader(buf[:length])
			return h, buf[length:], err
		case errors.Is(err, io.EOF) && len(buf) == 0:
			return header{}, nil, err
		case errors.Is(err, io.EOF) && !begun(buf):
			return header{}, buf, nil // too short for a header: it is the client's
		case errors.Is(err, io.EOF):
			return header{}, buf, fmt.Errorf("%w: it ends early", errHeader)
		case err != nil:
			return header{}, buf, fmt.Errorf("read PROXY header: %w", err)
		}
		if need > cap(buf) {
			buf = append(make([]byte, 0, need), buf...)
		}
	}
}

// armHeader has the header end in time, from its first byte on.
func (s *socket) armHeader() error {
	limit := s.door.opts.Limits.Handshake
	s.mu.Lock()
	defer s.mu.Unlock()
	s.headerBy = time.Now().Add(limit)
	return s.setRead()
}

func (s *socket) endHeaderDeadline() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.headerBy = time.Time{}
	return s.setRead()
}

// opened ends the time in which Read has anything to look for but the connection.
func (s *socket) opened() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.headerBy = time.Time{}
	err := s.setRead()
	s.early.Store(false)
	return err
}

// readRest takes from what was read beyond the header.
func (s *socket) readRest(p []byte) int {
	s.opening.Lock()
	defer s.opening.Unlock()
	n := copy(p, s.rest)
	if s.rest = s.rest[n:]; len(s.rest) == 0 && s.early.Load() {
		s.rest = nil
		_ = s.opened() // fails only on a closed connection, as the next read will
	}
	return n
}

// begun reports whether b has a whole signature.
func begun(b []byte) bool {
	return bytes.HasPrefix(b, signatureV1) || bytes.HasPrefix(b, signatureV2)
}

// unexpected says, if first is the beginning of a PROXY header, that it came from
// a peer whose header nobody reads: most likely a load balancer that is missing in
// Options.Trusted. Of a TLS record that is none, five bytes are known.
func (s *socket) unexpected(first []byte) {
	if !s.door.opts.ProxyProtocol {
		return
	}
	announced := begun(first) ||
		len(first) == 5 && (bytes.HasPrefix(signatureV1, first) || bytes.HasPrefix(signatureV2, first))
	peer := s.Conn.RemoteAddr()
	if !announced || s.door.trusts(addrOf(peer)) {
		return
	}
	if suppressed, due := s.door.said.due("untrusted"); due {
		s.door.opts.Log.Warn("PROXY header from a peer that is not in trusted_proxies", "peer", peer.String(), "suppressed", suppressed)
	}
}

// refused reports whether the PROXY header was, and so the connection.
func (s *socket) refused() bool {
	s.opening.Lock()
	defer s.opening.Unlock()
	return s.failed != nil
}

// frame finds the header at b's beginning. length: its length, 0 if b begins with
// none. need: how many bytes b must have for more to be known, 0 if all is.
func frame(b []byte) (length, need int, err error) {
	switch {
	case bytes.HasPrefix(b, signatureV1):
		line := b[:min(len(b), longestV1)]
		end := bytes.IndexByte(line, '\n')
		cr := bytes.IndexByte(line, '\r')
		switch {
		case end < 0 && len(line) == longestV1:
			return 0, 0, fmt.Errorf("%w: line longer than %d bytes", errHeader, longestV1)
		case end < 0 && (cr < 0 || cr == len(line)-1):
			return 0, longestV1, nil
		case cr != end-1:
			return 0, 0, fmt.Errorf("%w: line does not end with CRLF", errHeader)
		}
		return end + 1, 0, nil
	case bytes.HasPrefix(b, signatureV2):
		if len(b) < prefixV2 {
			return 0, prefixV2, nil
		}
		length = prefixV2 + int(binary.BigEndian.Uint16(b[prefixV2-2:]))
		if length > longestV2 {
			return 0, 0, fmt.Errorf("%w: longer than %d bytes", errHeader, longestV2)
		}
		if len(b) < length {
			return 0, length, nil
		}
		return length, 0, nil
	case bytes.HasPrefix(signatureV1, b):
		return 0, len(signatureV1), nil
	case bytes.HasPrefix(signatureV2, b):
		return 0, len(signatureV2), nil
	}
	return 0, 0, nil
}

// parseHeader parses a framed header. It is stricter than the library, which takes
// datagram families and broken TLVs, and in one point not: v2's family UNSPEC with
// the command PROXY is what UNKNOWN is in v1, and keeps the peer.
func parseHeader(b []byte) (header, error) {
	if len(b) >= prefixV2 && bytes.HasPrefix(b, signatureV2) && b[12] == byte(proxyproto.PROXY) && b[13] == byte(proxyproto.UNSPEC) {
		return header{}, nil
	}
	left := bytes.NewReader(b)
	reader := bufio.NewReaderSize(left, len(b))
	parsed, err := proxyproto.Read(reader)
	switch {
	case err != nil:
		return header{}, fmt.Errorf("%w: %w", errHeader, err)
	case left.Len() != 0 || reader.Buffered() != 0:
		return header{}, fmt.Errorf("%w: bytes left over", errHeader)
	case parsed.Command.IsLocal():
		return header{}, nil
	case !parsed.TransportProtocol.IsStream():
		return header{}, fmt.Errorf("%w: not of a stream", errHeader)
	}
	if _, err := parsed.TLVs(); err != nil {
		return header{}, fmt.Errorf("%w: %w", errHeader, err)
	}
	source, destination, ok := parsed.TCPAddrs()
	if !ok {
		return header{}, nil // of a local socket: it has no address that we know
	}
	return header{source: plain(source), destination: plain(destination)}, nil
}

// plain is the address with an IPv4 address in IPv6 clothes as what it is: limits
// and lists must not see one client as two.
func plain(a *net.TCPAddr) *net.TCPAddr {
	ap := a.AddrPort()
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()))
}
