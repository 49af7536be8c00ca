package edge

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"strings"

	"gatehouse/cache"
)

// certificate is the client's, where the site asks for one and it has been verified;
// else nil.
func (r *request) certificate() *x509.Certificate {
	if !r.site.asksCertificate || r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return nil
	}
	return r.TLS.PeerCertificates[0]
}

// hasClientCert reports whether the backend learns of a client's certificate: its
// answer may then be for that client alone.
func (r *request) hasClientCert() bool { return r.site.tellsCertificate && r.certificate() != nil }

// pastCache is a policy by which nothing is taken from the cache and nothing gets into
// it, by an answer to a POST either; that a request changes something is seen all the same.
func pastCache(p cache.Policy) *cache.Policy {
	p.Bypass = cache.Bypass{Paths: cache.NewPaths("*")}
	p.Rules = []cache.Rule{{Override: true}}
	return &p
}

// appendCertificate appends what the backend is told of the client's certificate.
func (r *request) appendCertificate(dst []byte) []byte {
	c := r.certificate()
	if c == nil {
		return append(dst, "X-SSL-Client-Verify: NONE\r\n"...)
	}
	if r.peer.shown == nil {
		r.peer.shown = certificateFields(c)
	}
	return append(dst, r.peer.shown...)
}

// certificateFields are the field lines that tell of a verified certificate: as in RFC
// 9440 §2.2, and as nginx and Apache are usually told to.
func certificateFields(c *x509.Certificate) []byte {
	dst := append([]byte("Client-Cert: :"), base64.StdEncoding.EncodeToString(c.Raw)...)
	sum := sha256.Sum256(c.Raw)
	dst = append(dst, ":\r\nX-SSL-Client-Verify: SUCCESS\r\nX-SSL-Client-DN: "...)
	dst = append(dst, distinguishedName(c.RawSubject)...)
	dst = append(dst, "\r\nX-SSL-Client-Fingerprint: "...)
	dst = hex.AppendEncode(dst, sum[:])
	return append(dst, "\r\n"...)
}

// ofCertificate reports whether a claim tells of a client's certificate, in the words
// of any proxy. lower is its name in lower case.
func ofCertificate(lower []byte) bool {
	lower = withHyphens(lower)
	switch string(lower) {
	case "x-client-verify", "x-client-dn":
		return true
	}
	return bytes.Contains(lower, []byte("client-cert")) || strings.HasPrefix(string(lower), "x-ssl-") || strings.HasPrefix(string(lower), "ssl-client-")
}
