package main

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strings"

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

// unsealed warns of nodes that have a Redis in common and certificates each of its own.
func (c *checker) unsealed(cfg *Config) {
	_, file := cfg.RoutesDir()
	if cfg.Certificates.Issuer != acme.IssuerACME || len(cfg.SealKeys) > 0 || file && cfg.Redis == "" {
		return
	}
	c.warnings = append(c.warnings, cfg.problem("certificates.issuer",
		"there are no seal_keys to share certificates with in Redis: each node orders its own, and issuers refuse more than a few for the same names; the nodes need the same seal_keys", ""))
}

// unordered warns of wildcards that have no certificate, and of which none is ordered.
func (c *checker) unordered() {
	ordering := slices.ContainsFunc(c.settings, func(cfg *Config) bool {
		return cfg.Certificates.Issuer == acme.IssuerACME && cfg.Certificates.ACME.DNSHook == "" && cfg.Certificates.ACME.DNSUpdate.Server == ""
	})
	for _, d := range c.vhosts {
		if !ordering || d.Vhost == nil || d.Vhost.TLS != nil && d.Vhost.TLS.Certificate != nil {
			continue
		}
		if _, path := routes.SplitName(d.Vhost.Name); path != "" {
			continue // the certificate is its host's
		}
		for n, name := range append([]string{d.Vhost.Name}, d.Vhost.Aliases...) {
			if !strings.HasPrefix(name, "*") {
				continue
			}
			field := ""
			if n > 0 {
				field = "aliases[" + itoa(n-1) + "]"
			}
			c.warnings = append(c.warnings, d.entry.problem(field, acme.NotOrdered(name)+", unless one was imported"))
		}
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
		if d.Vhost.TLS.KeyType != "" {
			c.warnings = append(c.warnings, d.entry.problem("tls.key_type", "nothing is ordered while the files of tls.certificate serve: it is of no effect"))
		}
		var pem [2][]byte
		readable := true
		for i, f := range []struct{ field, path string }{{field + ".cert", files.Cert}, {field + ".key", files.Key}} {
			var err error
			if pem[i], err = routes.ReadFile(f.path, maxKeyPair); err != nil {
				c.add(d.entry.problem(f.field, unreadableFile(f.path, err)))
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
