package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"strings"

	"gatehouse/routes"
)

const (
	maxTrust   = 16 << 20 // bytes of a file of roots
	maxKeyPair = 1 << 20  // bytes of a certificate file, and of a key file
)

// trust reports roots that the ACME issuer could not use.
func (c *checker) trust(cfg *Config) {
	path := cfg.Certificates.ACME.Trust
	if path == "" {
		return
	}
	pem, err := routes.ReadFile(path, maxTrust)
	if err != nil {
		c.cannot(path, err, " (certificates.acme.trust)")
		return
	}
	if !x509.NewCertPool().AppendCertsFromPEM(pem) {
		c.cannot(path, fmt.Errorf("it holds no PEM certificate"), " (certificates.acme.trust)")
	}
}

// certificates reports the files of uploaded certificates that are missing or do
// not belong together, and warns of what is served as told and fails in browsers.
func (c *checker) certificates() {
	for _, d := range c.vhosts {
		if d.Vhost == nil || d.Vhost.TLS == nil || d.Vhost.TLS.Certificate == nil {
			continue
		}
		const field = "tls.certificate"
		files := d.Vhost.TLS.Certificate
		var pem [2][]byte
		readable := true
		for i, f := range []struct{ field, path string }{{field + ".cert", files.Cert}, {field + ".key", files.Key}} {
			var err error
			if pem[i], err = routes.ReadFile(f.path, maxKeyPair); err != nil {
				c.add(d.entry.problem(f.field, unreadable(err)))
				readable = false
			}
		}
		if !readable {
			continue
		}
		pair, err := tls.X509KeyPair(pem[0], pem[1])
		if err != nil {
			c.add(d.entry.problem(field, strings.TrimPrefix(err.Error(), "tls: ")))
			continue
		}
		c.leaf(d, pair.Leaf)
	}
}

func (c *checker) leaf(d placed, leaf *x509.Certificate) {
	const field = "tls.certificate.cert"
	warn := func(format string, args ...any) {
		c.warnings = append(c.warnings, d.entry.problem(field, fmt.Sprintf(format, args...)))
	}
	switch {
	case c.now.After(leaf.NotAfter):
		warn("the certificate expired on %s", leaf.NotAfter.UTC().Format("2006-01-02 15:04 MST"))
	case c.now.Before(leaf.NotBefore):
		warn("the certificate is not valid before %s", leaf.NotBefore.UTC().Format("2006-01-02 15:04 MST"))
	}
	if leaf.CheckSignature(leaf.SignatureAlgorithm, leaf.RawTBSCertificate, leaf.Signature) == nil {
		warn("the certificate is self-signed")
	}
	for _, host := range append([]string{d.Vhost.Name}, d.Vhost.Aliases...) {
		if host == "*" {
			continue
		}
		probe := strings.Replace(host, "*.", "any.", 1) // a name below the wildcard
		if leaf.VerifyHostname(probe) != nil {
			warn("the certificate does not cover %s", host)
		}
	}
}
