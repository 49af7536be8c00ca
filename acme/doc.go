// Package acme gives the certificate for a server name. It holds, issues,
// staples and lists certificates, seals TLS session tickets, and has the keys of
// Encrypted Client Hello.
//
// A Manager answers handshakes from memory alone. What it holds comes from three
// sources, in this order of preference: certificate files attached to a name,
// certificates issued by an ACME server (RFC 8555), and short-lived certificates
// of the node's own internal CA, which are minted at the first handshake of a
// known name. Orders, renewals, OCSP requests (RFC 6960) and the re-reading of
// certificate files run in the background, inside Run.
//
// The package does not terminate TLS, does not know vhosts or tenants, and does
// not order wildcard certificates (those need DNS-01, or a certificate file).
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
