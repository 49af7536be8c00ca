package edge

import (
	"crypto/tls"
	"net"

	"gatehouse/routes"
)

// Certificates is what the server asks of package acme. All methods answer from
// memory and are safe for concurrent use.
type Certificates interface {
	// GetCertificate chooses by SNI; nil without error for a name that is not served.
	GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// WrapSession and UnwrapSession seal session tickets, bound to the SNI and to what
	// Server.AppendBinding says of it.
	WrapSession(tls.ConnectionState, *tls.SessionState) ([]byte, error)
	UnwrapSession([]byte, tls.ConnectionState) (*tls.SessionState, error)
	// Challenge returns the answer to a pending HTTP-01 challenge.
	Challenge(host, path string) ([]byte, bool)
	// Covers reports whether the certificate served for sni is valid for host too.
	Covers(sni, host string) bool
	// Trusted reports whether a certificate is in place that is not the internal CA's.
	Trusted(host string) bool
}

// acmeALPN is the protocol of TLS-ALPN-01 challenges (RFC 8737 §6.2).
const acmeALPN = "acme-tls/1"

// Protocols are the ones that TLS connections may agree on by ALPN (RFC 7301), the preferred one first.
func (s *Server) Protocols() []string { return []string{"http/1.1"} }

// closeALPN ends a connection whose handshake was all that its client wanted.
func closeALPN(c net.Conn) error { return c.Close() }

// tlsConfig is the configuration of the https listener. It is never cloned, so that
// its callbacks are always live. Each handshake goes on with the one of its vhost's
// terms, see configFor.
//
// None holds a certificate: GetCertificate returning nil then makes Go send alert
// 112 (unrecognized_name) and nothing else.
func (s *Server) tlsConfig() *tls.Config {
	for g := range s.plainTerms {
		s.plainTerms[g] = s.newTerms(grade(g), nil)
	}
	s.challenges = &tls.Config{
		MinVersion: tls.VersionTLS12, CipherSuites: aead, NextProtos: []string{acmeALPN},
		GetCertificate: s.opts.Certificates.GetCertificate, SessionTicketsDisabled: true,
	}
	base := s.plainTerms[gradeIntermediate].config.Clone()
	base.GetConfigForClient = s.configFor
	return base
}

// configFor chooses a handshake's configuration: that of the terms of the vhost that
// its SNI selects, which with ECH is the encrypted one, and without session tickets if that is suspended. It does not allocate for a name in canonical form.
//
// An issuer that validates a name by TLS-ALPN-01 has no client certificate. What it
// gets is closed right after the handshake, and no ticket comes of it.
func (s *Server) configFor(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	if len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == acmeALPN {
		return s.challenges, nil
	}
	route, t := s.routeOfName(hello.ServerName), s.plainTerms[gradeIntermediate]
	if route != nil { // for an unknown name there will be no certificate
		var err error
		if t, err = s.termsOf(route); err != nil {
			return nil, err
		}
	}
	s.begin(hello.Conn, t)
	if suspends(route) {
		return t.fresh, nil
	}
	return t.config, nil
}

// routeOfName returns the route that answers for a server name; nil: none.
func (s *Server) routeOfName(sni string) *routes.Route {
	table := s.table.Load()
	if table == nil {
		return nil
	}
	host, err := routes.CanonicalHost(sni)
	if err != nil {
		return nil
	}
	return table.Match(host)
}

// AppendBinding appends what binds the session tickets of a server name beside the
// name itself: tenant, vhost, TLS policy and client_auth with its authorities. A
// ticket that was sealed under another binding must not be opened: it would carry the
// old vhost's terms past the new one's. Safe for concurrent use; it neither blocks nor,
// where dst has room for some 200 bytes, allocates.
func (s *Server) AppendBinding(dst []byte, sni string) []byte {
	route := s.routeOfName(sni)
	if route == nil {
		return dst
	}
	dst = appendText(dst, route.Vhost.Tenant)
	dst = appendText(dst, route.Name)
	t, err := s.termsOf(route)
	if err != nil {
		return append(dst, 0xff) // of no terms: there is no handshake either
	}
	dst = append(dst, byte(t.grade))
	if t.auth != nil {
		dst = append(dst, t.auth.digest[:]...)
	}
	return dst
}

// appendText appends a text of up to 255 bytes so that none is another's beginning.
func appendText(dst []byte, text string) []byte {
	return append(append(dst, byte(len(text))), text...)
}
