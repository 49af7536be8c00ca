package edge

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"slices"

	"gatehouse/routes"
)

// Terms are what a vhost demands of a TLS connection: the least version, the suites,
// and whose certificate the client has. They are immutable, and few: vhosts with the
// same settings share them.
type terms struct {
	grade  grade
	auth   *clientAuth // nil: clients are not asked for certificates
	config *tls.Config // of handshakes
	fresh  *tls.Config // of handshakes that neither resume a session nor begin one that could be
}

// A grade is a policy with its least version, a stricter one being larger.
type grade uint8

const (
	gradeOld          grade = iota // 1.0 and later, with CBC suites
	gradeOld12                     // the same from 1.2 on
	gradeIntermediate              // 1.2 and later, AEAD only
	gradeModern                    // 1.3
	grades
)

// gradeOf returns the grade of a vhost's settings; nil: there are none.
func gradeOf(t *routes.TLS) grade {
	switch {
	case t == nil:
		return gradeIntermediate
	case t.MinVersion == "1.3" || t.Policy == routes.PolicyModern:
		return gradeModern
	case t.Policy != routes.PolicyOld:
		return gradeIntermediate
	case t.MinVersion == "1.2":
		return gradeOld12
	}
	return gradeOld
}

// aead are the suites of TLS 1.2 with forward secrecy and AEAD; TLS 1.3 has no others.
var aead = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

// withCBC are those and what clients have that know nothing better. Forward secrecy
// stays: without it (RSA key exchange), who gets the key reads what was recorded, and
// Bleichenbacher's attack comes back every few years. So does triple DES stay out (SWEET32).
var withCBC = append(slices.Clone(aead),
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA)

// gradeTakes is what connections of each grade may be.
var gradeTakes = [grades]struct {
	version uint16 // the least
	suites  []uint16
}{
	gradeOld:          {tls.VersionTLS10, withCBC},
	gradeOld12:        {tls.VersionTLS12, withCBC},
	gradeIntermediate: {tls.VersionTLS12, aead},
	gradeModern:       {tls.VersionTLS13, aead},
}

// takes reports whether a connection is one that the grade would have made.
func (g grade) takes(cs *tls.ConnectionState) bool {
	return cs.Version >= gradeTakes[g].version && (cs.Version >= tls.VersionTLS13 || slices.Contains(gradeTakes[g].suites, cs.CipherSuite))
}

// clientAuth is whose certificates clients have to have.
type clientAuth struct {
	required bool
	bundle   *bundle
	digest   [sha256.Size]byte // of all settings, authorities included
}

func (t *terms) sameAuth(other *terms) bool {
	if t.auth == nil || other.auth == nil {
		return t.auth == other.auth
	}
	return t.auth.digest == other.auth.digest
}

// accepts reports whether a certificate that was shown under other terms would do. A
// chain is verified anew: its authority may be none any more.
func (a *clientAuth) accepts(chain []*x509.Certificate) bool {
	if len(chain) == 0 {
		return !a.required
	}
	above := x509.NewCertPool()
	for _, c := range chain[1:] {
		above.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots: a.bundle.pool, Intermediates: above, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	return err == nil
}

// newTerms makes terms with their configuration. The key exchange is Go's choice:
// hybrid post-quantum groups come first.
func (s *Server) newTerms(g grade, auth *clientAuth) *terms {
	t := &terms{grade: g, auth: auth, config: &tls.Config{
		MinVersion:     gradeTakes[g].version,
		CipherSuites:   gradeTakes[g].suites,
		NextProtos:     s.Protocols(),
		GetCertificate: s.getCertificate,
		WrapSession:    s.opts.Certificates.WrapSession,
		UnwrapSession:  s.opts.Certificates.UnwrapSession,
		// In the listener's configuration, a clone of these, to open hellos; here, since these have taken its place by then, to
		// answer those that no key opens.
		GetEncryptedClientHelloKeys: s.opts.ECHKeys,
	}}
	if auth != nil {
		t.config.ClientCAs, t.config.ClientAuth = auth.bundle.pool, tls.VerifyClientCertIfGiven
		if auth.required {
			t.config.ClientAuth = tls.RequireAndVerifyClientCert
		}
	}
	t.fresh = t.config.Clone()
	t.fresh.SessionTicketsDisabled = true
	return t
}

// errNoAuthorities is why a vhost that asks for certificates makes no connections.
var errNoAuthorities = errors.New("tls.client_auth.ca could not be read: see the log, or vhost list")

// termsOf returns what the vhost of a route demands now. The error is errNoAuthorities.
func (s *Server) termsOf(route *routes.Route) (*terms, error) {
	t := route.Vhost.TLS
	if t == nil || t.ClientAuth == nil {
		return s.plainTerms[gradeOf(t)], nil
	}
	held, _ := route.Kept().(*authTerms)
	if held == nil {
		return nil, errNoAuthorities
	}
	return held.current()
}
