package main

import (
	"crypto/x509"
	"fmt"
)

// authorities reports files of tls.client_auth.ca that cannot be used, and warns of
// certificates in them that vouch for nobody.
func (c *checker) authorities() {
	const field = "tls.client_auth.ca"
	for _, d := range c.vhosts {
		if d.Vhost == nil || d.Vhost.TLS == nil || d.Vhost.TLS.ClientAuth == nil {
			continue
		}
		auth := d.Vhost.TLS.ClientAuth
		list, err := auth.Authorities()
		if err != nil {
			reason := unreadable(err)
			if !auth.Inline() {
				reason = unreadableFile(auth.CA, err)
			}
			c.add(d.entry.problem(field, reason))
			continue
		}
		for _, authority := range list {
			if reason := c.vouchesForNobody(authority); reason != "" {
				c.warnings = append(c.warnings, d.entry.problem(field, reason))
			}
		}
	}
}

// vouchesForNobody says why no client's certificate is valid by an authority; "": some may be.
func (c *checker) vouchesForNobody(authority *x509.Certificate) string {
	name := authority.Subject.String()
	switch {
	case c.now.After(authority.NotAfter):
		return fmt.Sprintf("the certificate of %s expired on %s: no client's is valid by it", name, authority.NotAfter.UTC().Format("2006-01-02 15:04 MST"))
	case c.now.Before(authority.NotBefore):
		return fmt.Sprintf("the certificate of %s is not valid before %s: no client's is valid by it", name, authority.NotBefore.UTC().Format("2006-01-02 15:04 MST"))
	case !authority.IsCA:
		return fmt.Sprintf("the certificate of %s is no authority's: it vouches for itself alone", name)
	}
	return ""
}
