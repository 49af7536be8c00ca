package main

import (
	"crypto/x509"
	"fmt"

	"gatehouse/acme"
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
		warnings, err := acme.CheckPair(pem[0], pem[1], c.now, append([]string{d.Vhost.Name}, d.Vhost.Aliases...)...)
		if err != nil {
			c.add(d.entry.problem(field, err.Error()))
			continue
		}
		for _, w := range warnings {
			c.warnings = append(c.warnings, d.entry.problem(field+".cert", "served as told: "+w))
		}
	}
}
