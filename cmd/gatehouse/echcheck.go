package main

import (
	"fmt"
	"strings"
	"time"

	"gatehouse/acme"
	"gatehouse/routes"
)

const (
	// leastECHRotate leaves time for records that are cached, and for who publishes them; mostECHRotate keeps a key from staying for ever.
	leastECHRotate = routes.Duration(24 * time.Hour)
	mostECHRotate  = routes.Duration(365 * 24 * time.Hour)
)

// checkECH reports what keeps ECH from working, and brings the public name into canonical form.
func (l *loader) checkECH() {
	const path = "tls.ech."
	c := &l.cfg.TLS.ECH
	if c.Rotate < leastECHRotate || c.Rotate > mostECHRotate {
		l.fail(path+"rotate", fmt.Sprintf("bad time %v: want %v to %v", c.Rotate, leastECHRotate, mostECHRotate), "")
	}
	if c.PublicName == "" {
		return
	}
	if name, err := routes.CanonicalHost(c.PublicName); err == nil {
		c.PublicName = name
	}
	if err := acme.CheckECHPublicName(c.PublicName); err != nil {
		l.fail(path+"public_name", strings.TrimPrefix(err.Error(), "acme: "), "")
	}
	if _, file := l.cfg.RoutesDir(); (!file || l.cfg.Redis != "") && len(l.cfg.SealKeys) == 0 {
		// A client that comes to another node is told another key, comes to the first again, and gives up.
		l.fail(path+"public_name", "nodes that have a Redis in common need the same ECH keys: set seal_keys", "")
	}
}

// ech warns of a public name by which clients cannot be told of a new key.
func (c *checker) ech() {
	if len(c.vhosts) == 0 { // none were read
		return
	}
	var table *routes.Table
	for _, cfg := range c.settings {
		name := cfg.TLS.ECH.PublicName
		if name == "" {
			continue
		}
		if table == nil {
			table = c.table()
		}
		route := table.Match(name)
		var reason string
		switch {
		case route == nil:
			reason = "no vhost answers for " + name + ": clients whose ECH key is old fail; add a vhost with this name or alias"
		case cfg.Certificates.Issuer == acme.IssuerInternal && (route.Vhost.TLS == nil || route.Vhost.TLS.Certificate == nil):
			reason = name + " has the internal CA's certificate, unless one was imported: clients whose ECH key is old fail if they do not trust it"
		default:
			continue
		}
		c.warnings = append(c.warnings, cfg.problem("tls.ech.public_name", reason, ""))
	}
}

// table is that of the vhosts that are good.
func (c *checker) table() *routes.Table {
	var changes []routes.Change
	for _, d := range c.vhosts {
		if d.Vhost != nil {
			changes = append(changes, d.Document.Change())
		}
	}
	table, _ := (&routes.Table{}).With(changes)
	return table
}
