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
	// WrapSession and UnwrapSession seal session tickets, bound to the SNI.
	WrapSession(tls.ConnectionState, *tls.SessionState) ([]byte, error)
	UnwrapSession([]byte, tls.ConnectionState) (*tls.SessionState, error)
	// Challenge returns the answer to a pending HTTP-01 challenge.
	Challenge(host, path string) ([]byte, bool)
	// Covers reports whether the certificate served for sni is valid for host too.
	Covers(sni, host string) bool
	// Trusted reports whether a certificate is in place that is not the internal CA's.
	Trusted(host string) bool
}

// suites are the TLS 1.2 suites with forward secrecy and AEAD; TLS 1.3 has no others.
var suites = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

// tlsConfig is the one configuration of the https listener. It is never cloned,
// so that its callbacks are always live. It holds no certificate: GetCertificate
// returning nil then makes Go send alert 112 (unrecognized_name) and nothing else.
func (s *Server) tlsConfig() *tls.Config {
	certs := s.opts.Certificates
	base := &tls.Config{
		MinVersion:     tls.VersionTLS12,
		CipherSuites:   suites,
		NextProtos:     []string{"http/1.1", acmeALPN},
		GetCertificate: certs.GetCertificate,
		WrapSession:    certs.WrapSession,
		UnwrapSession:  certs.UnwrapSession,
	}
	strict := base.Clone()
	strict.MinVersion = tls.VersionTLS13
	base.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if s.wantsTLS13(hello.ServerName) {
			return strict, nil
		}
		return nil, nil
	}
	return base
}

// acmeALPN is the protocol of TLS-ALPN-01 challenges (RFC 8737 §6.2).
const acmeALPN = "acme-tls/1"

// wantsTLS13 reports whether the vhost of a server name refuses TLS 1.2.
func (s *Server) wantsTLS13(sni string) bool {
	table := s.table.Load()
	if table == nil {
		return false
	}
	host, err := routes.CanonicalHost(sni)
	if err != nil {
		return false
	}
	route := table.Match(host)
	return route != nil && route.Vhost.TLS != nil && route.Vhost.TLS.MinVersion == "1.3"
}

// closeALPN ends a connection whose handshake was all that its client wanted.
func closeALPN(c net.Conn) error { return c.Close() }
