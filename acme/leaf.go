package acme

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// leaf is one certificate that the node holds, with its chain and key. All but
// the staple is immutable. It keeps no parsed certificate: at 100,000 names that
// would be most of the memory.
type leaf struct {
	served     atomic.Pointer[tls.Certificate] // replaced as a whole when the staple changes
	source     Source
	names      []string // DNS names, lower case
	issuer     string
	keyType    string
	notBefore  time.Time
	notAfter   time.Time
	selfSigned bool
	internal   bool     // signed by this node's own CA
	responders []string // OCSP responder URLs; nil: none, or no issuer to check answers with
	warning    string   // what is odd about it, though it is served
	mustStaple bool     // clients want a response in each handshake (RFC 7633)
	directory  string   // of the issuer that it was ordered from
	generation uint64   // see record
	// replacedBy: the issuer has an order already that replaces it, whose certificate never came here.
	replacedBy atomic.Bool
	digest     [sha256.Size]byte
}

// newLeaf describes a certificate whose key and chain order were checked.
func newLeaf(source Source, cert *tls.Certificate, chain []*x509.Certificate) *leaf {
	x := chain[0]
	l := &leaf{
		source:     source,
		issuer:     issuerName(x),
		keyType:    keyTypeOf(x),
		notBefore:  x.NotBefore,
		notAfter:   x.NotAfter,
		selfSigned: isSelfSigned(x),
		digest:     sha256.Sum256(x.Raw),
		mustStaple: wantsStaple(x),
	}
	for _, name := range x.DNSNames {
		l.names = append(l.names, strings.ToLower(name))
	}
	if len(chain) > 1 {
		l.responders = x.OCSPServer
	}
	cert.Leaf = nil
	l.served.Store(cert)
	return l
}

// wantsStaple reports whether the certificate has the TLS feature status_request (RFC 7633 section 4.2.3.1).
func wantsStaple(x *x509.Certificate) bool {
	for _, e := range x.Extensions {
		if !e.Id.Equal(tlsFeature) {
			continue
		}
		var features []int
		_, err := asn1.Unmarshal(e.Value, &features)
		return err == nil && slices.Contains(features, 5)
	}
	return false
}

var tlsFeature = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24}

// isSelfSigned does not use CheckSignatureFrom, which wants a CA as signer.
func isSelfSigned(x *x509.Certificate) bool {
	return bytes.Equal(x.RawIssuer, x.RawSubject) &&
		x.CheckSignature(x.SignatureAlgorithm, x.RawTBSCertificate, x.Signature) == nil
}

// issuerName is what operators know an issuer by: its common name, else its organization, else the unit, the first that there is.
func issuerName(x *x509.Certificate) string {
	for _, names := range [][]string{{x.Issuer.CommonName}, x.Issuer.Organization, x.Issuer.OrganizationalUnit} {
		for _, name := range names {
			if name = strings.TrimSpace(name); name != "" {
				return name
			}
		}
	}
	return x.Issuer.String()
}

func keyTypeOf(x *x509.Certificate) string {
	switch key := x.PublicKey.(type) {
	case *ecdsa.PublicKey:
		return "ECDSA " + key.Curve.Params().Name
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d", key.N.BitLen())
	default:
		return x.PublicKeyAlgorithm.String()
	}
}

// isRSA reports whether the certificate has an RSA key.
func (l *leaf) isRSA() bool { return strings.HasPrefix(l.keyType, "RSA ") }

// covers reports whether the certificate verifies for host.
func (l *leaf) covers(host string) bool {
	for _, name := range l.names {
		if covers(name, host) {
			return true
		}
	}
	return false
}

// staple puts an OCSP response into the handshakes to come; nil takes it out.
// Only the stapler calls it, one call at a time for a leaf.
func (l *leaf) staple(der []byte) {
	cert := *l.served.Load()
	cert.OCSPStaple = der
	l.served.Store(&cert)
}

// renewAt is the time from which the certificate should be replaced: a third of
// its life before its end, or half of it if it lives ten days or less.
func (l *leaf) renewAt() time.Time {
	life := l.notAfter.Sub(l.notBefore)
	if life <= 10*24*time.Hour {
		return l.notAfter.Add(-life / 2)
	}
	return l.notAfter.Add(-life / 3)
}

// oddities says, in words for the operator, why clients may refuse the
// certificate for the given name; empty if nothing is odd.
func (l *leaf) oddities(name string, now time.Time) string {
	odd := l.faults(now)
	if l.mustStaple && l.served.Load().OCSPStaple == nil {
		odd = append(odd, "clients want an OCSP response with it, and there is none")
	}
	if name != "*" && !l.fits(name) {
		odd = append(odd, "does not cover "+name)
	}
	return strings.Join(odd, "; ")
}

// faults are the oddities that depend neither on a name nor on the network.
func (l *leaf) faults(now time.Time) []string {
	var odd []string
	if l.warning != "" {
		odd = append(odd, l.warning)
	}
	if now.After(l.notAfter) {
		odd = append(odd, "expired on "+l.notAfter.UTC().Format(time.DateOnly))
	}
	if now.Before(l.notBefore) {
		odd = append(odd, "not valid before "+l.notBefore.UTC().Format(time.DateTime))
	}
	if l.selfSigned {
		odd = append(odd, "self-signed")
	}
	return odd
}

// fits reports whether the certificate covers what a table's name stands for; for
// "*.x" the certificate needs that wildcard itself.
func (l *leaf) fits(name string) bool {
	if isExact(name) {
		return l.covers(name)
	}
	return slices.Contains(l.names, name)
}
