package edge

import (
	"crypto/tls"
	"net"
	"sync"
	"time"

	"gatehouse/edge/wire"
)

// A passage is a TLS handshake under way. It is what the connection has attached
// until the peer takes its place, and is used again when the handshake succeeded.
type passage struct {
	terms *terms
	cert  tls.Certificate // a copy, whose key is the next field
	key   turnKey
}

var passages = sync.Pool{New: func() any { return new(passage) }}

// A shaking is the connection of a handshake, as package wire has it.
type shaking interface {
	Attach(v any)
	Attached() any
	HandshakeBy() time.Time
}

// begin notes the terms that a handshake goes on under. conn is nil in tests that
// have none.
func (s *Server) begin(conn net.Conn, t *terms) {
	if c, ok := conn.(shaking); ok {
		p := passages.Get().(*passage)
		p.terms = t
		c.Attach(p)
	}
}

// getCertificate is tls.Config.GetCertificate: what Certificates chooses, with a key
// that waits for its turn.
func (s *Server) getCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	cert, err := s.opts.Certificates.GetCertificate(hello)
	if cert == nil || err != nil {
		return nil, err
	}
	c, ok := hello.Conn.(shaking)
	if !ok {
		return cert, nil
	}
	p, ok := c.Attached().(*passage)
	if !ok || !p.key.hold(cert, &s.signing, s.ownerOfName(hello.ServerName), c.HandshakeBy()) {
		return cert, nil
	}
	p.cert = *cert
	p.cert.PrivateKey = &p.key
	return &p.cert, nil
}

// ownerOfName is whose turns a handshake for a server name has.
func (s *Server) ownerOfName(sni string) string {
	if route := s.routeOfName(sni); route != nil {
		return ownerOf(route.Vhost.Tenant, route.Name)
	}
	return "" // the vhost has just gone
}

// handshaken takes a connection over whose handshake has succeeded: crypto/tls has no
// use for the certificate any more.
func (s *Server) handshaken(c *wire.TLSConn) {
	p, _ := c.Attached().(*passage)
	c.Attach(nil)
	peer := s.peerOf(c, c)
	s.metrics.handshaken(peer.tls)
	if p != nil {
		peer.terms = p.terms
		*p = passage{}
		passages.Put(p)
	}
}
