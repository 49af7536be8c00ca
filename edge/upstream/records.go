package upstream

import (
	"io"
	"net"
	"sync/atomic"
)

// records lies between a TCP connection and crypto/tls and never hands over bytes of two TLS
// records in one read. crypto/tls reads ahead otherwise: an answer that nobody asked for, arriving
// in the same segment as the real one, would wait inside the tls.Conn, out of sight of the peek
// that guards reuse, and be taken for the answer to the next request.
//
// It costs one more system call per record (16 KiB), and no copy.
type records struct {
	net.Conn
	head  [5]byte // type, version, length (RFC 8446 §5.1)
	have  int     // bytes of head that have come
	left  int     // bytes of the payload still to come
	ended bool    // the connection's end was read, rather than a close_notify
	wrote atomic.Int64
}

// Read reads at most up to the end of the record's head or payload.
func (r *records) Read(p []byte) (int, error) {
	if r.left > 0 {
		n, err := r.Conn.Read(p[:min(len(p), r.left)])
		r.left -= n
		return n, err
	}
	n, err := r.Conn.Read(p[:min(len(p), len(r.head)-r.have)])
	r.ended = err == io.EOF
	r.have += copy(r.head[r.have:], p[:n])
	if r.have == len(r.head) {
		r.left = int(r.head[3])<<8 | int(r.head[4])
		r.have = 0
	}
	return n, err
}

// Write counts what left, since tls.Conn.Write reports 0 for a record that was partly written.
func (r *records) Write(p []byte) (int, error) {
	n, err := r.Conn.Write(p)
	r.wrote.Add(int64(n))
	return n, err
}

// atBoundary reports whether no record is half read.
func (r *records) atBoundary() bool { return r.have == 0 && r.left == 0 }
