// Package acme gives the certificate for a server name. It holds, issues,
// staples and lists certificates, seals TLS session tickets, and has the keys of
// Encrypted Client Hello.
//
// A Manager answers handshakes from memory alone, but for the first ones after a
// start. What it holds comes from four sources, in this order of preference:
// certificate files attached to a name, certificates that somebody has imported
// (Manager.Import), certificates issued by an ACME server (RFC 8555), and
// short-lived certificates of the node's own internal CA, which are minted at the
// first handshake of a known name. Orders, renewals, OCSP requests (RFC 6960) and
// the re-reading of certificate files run in the background, inside Run. Names of
// one tenant (Options.Tenant) have half of the orders under way at most.
//
// Wildcards are ordered where there is somebody to publish the records of DNS-01
// (Options.DNS, DNSHook; package dnsupdate is one), and all names of a Change.Set
// with one certificate.
//
// Nodes that have Options.Shared in common, such as package rediscache, share what
// they order and import, the account, challenges under way, failed orders, and the
// keys of tickets and of Encrypted Client Hello, the secrets among it sealed by
// Options.Keys. Each name is then ordered once, by the node that has its lease.
// What is shared is in the data folder, too, sealed, for the time when the others'
// place is away.
//
// The package does not terminate TLS, does not know vhosts or tenants beyond their
// names, and never orders a certificate for "*".
//
// To start: call New, hand GetCertificate, WrapSession and UnwrapSession to a
// tls.Config whose NextProtos include ALPNProto, run Run in a goroutine, and tell
// the names to serve with Update.
//
//	m, err := acme.New(acme.Options{Data: "data", Known: table.Has})
//	…
//	go m.Run(ctx)
//	m.Update([]acme.Change{{Name: "www.shop.test"}})
//	config := &tls.Config{
//		NextProtos:     []string{"h2", "http/1.1", acme.ALPNProto},
//		GetCertificate: m.GetCertificate,
//		WrapSession:    m.WrapSession,
//		UnwrapSession:  m.UnwrapSession,
//	}
package acme
