package wire

import "sync"

// recordBytes is the most that a TLS record of ours takes on the wire: 16 KiB, its
// header, and what the ciphers add (RFC 8446 §5.2, RFC 5246 §6.2.3).
const recordBytes = 16<<10 + 64

// Send writes a piece of the answer to the client, in as few writes to the network
// as there can be: crypto/tls makes one for each record of 16 KiB, and each costs
// both ends a pass through the TCP stack. Send, not Write, is how the answer goes
// out; see Sent.
func (c *Conn) Send(p []byte) (int, error) {
	if !c.secured || len(p) <= recordBytes-64 {
		return c.Conn.Write(p)
	}
	c.raw.gather()
	n, err := c.Conn.Write(p)
	if flushed := c.raw.flush(); err == nil && flushed != nil {
		n, err = 0, flushed // what of it left is not known, and the connection is of no more use
	}
	return n, err
}

// Sent says that the whole answer went out by Send. What the HTTP library writes
// until the next request is its own answer to the stand-in, and is dropped.
func (c *Conn) Sent() { c.sent = true }

// Write is the HTTP library's; see Sent.
func (c *Conn) Write(p []byte) (int, error) {
	if c.sent {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

var gatherings = sync.Pool{New: func() any { b := make([]byte, 0, 2*recordBytes); return &b }}

// gather has what is written held back until there are two records of it, or flush.
func (s *socket) gather() {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.gathering = gatherings.Get().(*[]byte)
}

// flush writes what is held back. Its error is sticky: bytes are missing.
func (s *socket) flush() error {
	s.writing.Lock()
	defer s.writing.Unlock()
	held := s.gathering
	s.gathering = nil
	_, err := s.write(*held)
	*held = (*held)[:0]
	gatherings.Put(held)
	if s.torn == nil {
		s.torn = err
	}
	return s.torn
}

// hold adds p to what is held back, with writing held.
func (s *socket) hold(p []byte) (int, error) {
	held := s.gathering
	if len(*held)+len(p) > cap(*held) {
		_, err := s.write(*held)
		*held = (*held)[:0]
		if err != nil {
			s.torn = err
			return 0, err
		}
	}
	if len(p) > cap(*held) {
		return s.write(p)
	}
	*held = append(*held, p...)
	return len(p), nil
}
