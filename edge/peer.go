package edge

import (
	"crypto/tls"
	"net"
	"net/netip"
)

// A peer is who holds a connection, and what else is the same for all of its
// requests: it is found out once.
type peer struct {
	remote  netip.AddrPort
	local   netip.AddrPort // our own end
	text    string         // the remote address without its port
	trusted bool           // it is one of trusted_proxies
	tls     *tls.ConnectionState
	scheme  string // "http" or "https"
	terms   *terms // that the handshake was made under; nil: plain

	// Of the request that is served, and of those after it.
	met   *terms // others that the connection has been found to meet
	shown []byte // what backends are told of the client's certificate; nil: not asked yet
}

// peerOf returns the peer of a connection that has brought a request.
func (s *Server) peerOf(c net.Conn, conn http1Conn) *peer {
	if known, ok := conn.Attached().(*peer); ok {
		return known
	}
	p := &peer{remote: addrPort(c.RemoteAddr()), local: addrPort(c.LocalAddr()), scheme: "http"}
	p.text, p.trusted = p.remote.Addr().String(), s.trusted(p.remote.Addr())
	if secured, ok := conn.(interface{ ConnectionState() tls.ConnectionState }); ok {
		state := secured.ConnectionState()
		p.tls, p.scheme = &state, "https"
	}
	conn.Attach(p)
	return p
}

func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(interface{ AddrPort() netip.AddrPort }); ok {
		ap := t.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}
