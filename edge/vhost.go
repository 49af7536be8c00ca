package edge

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"gatehouse/routes"
)

// challengePath is where an ACME issuer looks for HTTP-01 answers (RFC 8555 §8.3).
const challengePath = "/.well-known/acme-challenge/"

// selectVhost finds the request's site: by its canonical host, after the answer
// to an ACME challenge, and only if the request belongs on its connection. A
// suspended site goes no further, and a host's vhost is suspended with all of its paths.
func (s *Server) selectVhost(next handler) handler {
	return func(r *request) error {
		if r.RawHost == "" { // HTTP/1.0 may come without
			return refuse(400, "a Host field is needed")
		}
		host, err := routes.CanonicalHost(r.RawHost)
		if err != nil {
			r.record.Route = ""
			return refuse(400, "bad Host field")
		}
		r.Host = host
		if s.answerChallenge(r) {
			return nil
		}
		if r.looped() {
			return refuse(508, "this site leads back to itself")
		}
		if r.table == nil {
			return fail(503, "no routes have been loaded yet", nil)
		}
		route := r.table.Match(host) // the host's own: the connection's terms are its
		s.asked.note(host, route)
		r.record.Routed = time.Now()
		if route == nil {
			return refuse(404, "no site answers for this host")
		}
		if err := s.belongs(r, route); err != nil {
			return err
		}
		whole := route
		route, ambiguous := r.table.Below(whole, r.Target)
		site, err := s.siteOf(route)
		r.site, r.record.Route, r.record.Tenant = site, route.Name, site.tenant
		if ambiguous != nil {
			return refuse(400, "this path can be read in two ways")
		}
		if err != nil {
			return fail(503, "the site is not available", err)
		}
		if site.settings.Suspended || suspends(whole) {
			return errSuspended
		}
		if site.leaves(r.Target) {
			return refuse(400, "this path leads out of the site")
		}
		if r.body.err == errBodyTooLarge { // announced so; said only now, so that it counts for the tenant
			return errBodyTooLarge
		}
		if s.mustRedirect(r) {
			s.redirect(r)
			return nil
		}
		return next(r)
	}
}

// errSuspended is what a suspended site answers.
var errSuspended = refuse(503, "this site is suspended")

// errRemoved is why what a vhost's client had upgraded ends once the vhost is gone.
var errRemoved = refuse(404, "this site is no more")

// closed returns why a site is to serve nobody any more: its vhost is suspended now, or gone from the table. A vhost that others have taken the hosts of is
// gone; one whose absence is not believed, or whose document is bad, is there with its last good form. A path vhost closes with its host's.
func (s *Server) closed(st *site) error {
	table := s.table.Load()
	if table == nil {
		return nil
	}
	host, path := routes.SplitName(st.name)
	own, whole := table.Vhost(st.name), table.Vhost(host)
	switch {
	case !serves(own) || path != "" && !serves(whole):
		return errRemoved
	case suspends(own):
		return errSuspended
	}
	return nil
}

// serves reports whether a route, which may be nil, is that of a vhost with a good form.
func serves(route *routes.Route) bool { return route != nil && route.Vhost != nil }

// suspends reports whether a route, which may be nil, is that of a suspended vhost, or of a path of one.
func suspends(route *routes.Route) bool { return route != nil && route.IsSuspended() }

// answerChallenge answers HTTP-01 from the memory of pending challenges. A path
// that answers no challenge is the site's own.
func (s *Server) answerChallenge(r *request) bool {
	if r.Method != "GET" && r.Method != "HEAD" || !strings.HasPrefix(r.Target, challengePath) || s.opts.Certificates == nil {
		return false
	}
	body, ok := s.opts.Certificates.Challenge(r.Host, r.path())
	if !ok {
		return false
	}
	r.record.Route = "acme challenge"
	r.response = response{status: 200, body: body, length: int64(len(body))}
	r.response.set("Content-Type", "text/plain")
	r.response.set("Cache-Control", "no-store")
	return true
}

// mustRedirect reports whether a plain request belongs on https.
func (s *Server) mustRedirect(r *request) bool {
	if r.Scheme == "https" {
		return false
	}
	if r.site.needsCertificate { // which plain HTTP has not
		return true
	}
	switch r.site.redirect {
	case redirectAll:
		return true
	case redirectTrusted:
		return s.opts.Certificates != nil && s.opts.Certificates.Trusted(r.Host)
	}
	return false
}

// redirect sends the client to the same address on https: 301 for a method that
// may change to GET without harm, else 308, which keeps method and body.
func (s *Server) redirect(r *request) {
	status := 308
	if r.Method == "GET" || r.Method == "HEAD" {
		status = 301
	}
	location := "https://" + r.Host
	if port := s.opts.PublicHTTPS; port != 0 && port != 443 {
		location += ":" + strconv.Itoa(port)
	}
	target := r.Target
	if target == "*" {
		target = ""
	}
	r.response = response{status: status}
	r.response.set("Location", location+target)
}

// errNoBackend means that a vhost names no backend that could be used.
var errNoBackend = errors.New("no usable backend")
