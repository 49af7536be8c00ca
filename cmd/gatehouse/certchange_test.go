package main

import (
	"testing"

	"gatehouse/acme"
	"gatehouse/routes"
)

// What documents say of certificates is what package acme is told, of aliases too.
func TestDocumentsTellHowCertificatesAreOrdered(t *testing.T) {
	docs, problems := routes.ParseFile("/etc/gatehouse/conf.d/a.yaml", []byte(`tenants: {shop: {suspended: true}}
vhosts:
  shop.test: {tenant: shop, suspended: false, backends: [http://127.0.0.1:9000]}
  plain.test: {backends: [http://127.0.0.1:9000]}
  rsa.test: {aliases: ["*.rsa.test"], backends: [http://127.0.0.1:9000], tls: {key_type: rsa}}
  ecdsa.test: {suspended: false, backends: [http://127.0.0.1:9000], tls: {key_type: ecdsa}}
  one.test: {aliases: [www.one.test], suspended: true, backends: [http://127.0.0.1:9000], tls: {one_certificate: true, key_type: rsa}}
  closed.test: {suspended: true, backends: [http://127.0.0.1:9000], tls: {certificate: {cert: a.pem, key: /a.key}}}
`))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	var changes []routes.Change
	for i := range docs {
		changes = append(changes, docs[i].Change())
	}
	table, _ := (&routes.Table{}).With(changes)
	for _, c := range []acme.Change{
		{Name: "shop.test", Suspended: true},
		{Name: "plain.test"},
		{Name: "rsa.test", RSA: true},
		{Name: "*.rsa.test", RSA: true},
		{Name: "ecdsa.test"},
		{Name: "one.test", Set: "one.test", RSA: true, Suspended: true},
		{Name: "www.one.test", Set: "one.test", RSA: true, Suspended: true},
		{Name: "closed.test", Suspended: true, CertFile: "/etc/gatehouse/conf.d/a.pem", KeyFile: "/a.key", Owner: "vhost closed.test"},
		{Name: "gone.test", Removed: true},
	} {
		want(t, c.Name, certificateChange(table, c.Name), c)
	}
}
