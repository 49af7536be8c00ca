package edge

import (
	"gatehouse/routes"
)

// belongs refuses a request that must not be answered on its connection: 421 (RFC 9110
// §15.5.20), after which a client may ask again on another one. SNI and Host must
// select vhosts of one tenant, the certificate that the client has checked must be one
// for Host too, and the connection must be as Host's vhost demands: otherwise the SNI
// of a vhost that asks for no certificate would open one that does.
func (s *Server) belongs(r *request, route *routes.Route) error {
	if !s.sameTenant(r, route) {
		return refuse(421, "this connection was made for another site")
	}
	t := route.Vhost.TLS
	if t == nil && (r.peer == nil || r.peer.terms == s.plainTerms[gradeIntermediate]) {
		return nil // the usual case
	}
	if r.TLS == nil { // plain HTTP has no terms
		c := clientAuthOf(route)
		if c != nil && c.Mode == routes.AuthRequired && r.Scheme == "https" { // by the word of a proxy: who its client is, we have not seen
			return refuse(421, "this site asks for a certificate of its clients")
		}
		return nil // or it is sent to https, see mustRedirect
	}
	demanded, err := s.termsOf(route)
	if err != nil {
		return fail(503, "the site is not available", err)
	}
	if r.peer == nil || !s.meets(r, demanded, route) {
		r.last = true // whoever asks again on this one would be refused again
		return refuse(421, "this connection is not as the site demands")
	}
	return nil
}

// sameTenant keeps one tenant's connection from carrying requests for another's
// site (RFC 9110 §7.4).
func (s *Server) sameTenant(r *request, route *routes.Route) bool {
	if r.TLS == nil || r.TLS.ServerName == r.Host {
		return true
	}
	sni, err := routes.CanonicalHost(r.TLS.ServerName)
	if err != nil {
		return false
	}
	if sni == r.Host {
		return true
	}
	other := r.table.Match(sni)
	if other == nil {
		return false
	}
	same := other.Name == route.Name || route.Vhost.Tenant != "" && route.Vhost.Tenant == other.Vhost.Tenant
	return same && s.opts.Certificates.Covers(sni, r.Host)
}

// meets reports whether a connection does for what a vhost demands: its version and
// suite are such as the vhost takes, and its client was asked for a certificate by the
// very same settings. Where the settings of the SNI's own vhost have changed since, a
// certificate that they would accept is enough.
func (s *Server) meets(r *request, demanded *terms, route *routes.Route) bool {
	p := r.peer
	if p.terms == demanded || p.met == demanded {
		return true
	}
	if p.terms == nil || !demanded.grade.takes(r.TLS) {
		return false
	}
	if !p.terms.sameAuth(demanded) {
		own := r.table.Match(r.sniHost())
		if own == nil || own.Name != route.Name || demanded.auth != nil && !demanded.auth.accepts(r.TLS.PeerCertificates) {
			return false
		}
	}
	p.met = demanded
	return true
}

// sniHost is the connection's server name in canonical form; empty: it has none.
func (r *request) sniHost() string {
	host, err := routes.CanonicalHost(r.TLS.ServerName)
	if err != nil {
		return ""
	}
	return host
}
