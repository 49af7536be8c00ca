package admin

import (
	"net"
	"net/http"
	"net/netip"
	"strings"

	"gatehouse/routes"
)

// guard keeps out what was never meant for us. Over TCP that are web pages: one that
// a browser of the operator's network shows can reach our listener by a form or
// fetch to our address (refused as cross-origin), or under its own host name that
// it lets resolve to our address (DNS rebinding; refused by the Host field). A unix
// socket cannot be reached from a page, but by a proxy of the same user to which
// somebody names it as a backend: a Gatehouse refuses its own socket there, and
// cannot know that of another node. Nor does it know that node's TCP listener, which
// other proxies may stand before, for whoever collects metrics: it refuses what came
// through a Gatehouse.
func (a *API) guard(next http.Handler) http.Handler {
	sameOrigin := http.NewCrossOriginProtection().Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
		onSocket := local != nil && local.Network() == "unix"
		switch {
		case onSocket && proxied(r.Header):
			a.refuse(w, r, http.StatusForbidden, "this is the private API of a gatehouse, and takes nothing that comes through a proxy")
		case throughGatehouse(r.Header):
			a.refuse(w, r, http.StatusForbidden, "this is the admin listener of a gatehouse, and takes nothing that comes through one")
		case !a.ourHost(r.Host):
			a.refuse(w, r, http.StatusMisdirectedRequest, "ask by address, by a name without dots or by the node's name")
		case onSocket:
			next.ServeHTTP(w, r)
		default:
			sameOrigin.ServeHTTP(w, r)
		}
	})
}

func (a *API) refuse(w http.ResponseWriter, r *http.Request, status int, why string) {
	a.answer(func(http.ResponseWriter, *http.Request) error { return &apiError{status, why, nil} }).ServeHTTP(w, r)
}

// proxied reports whether a request says that it came through a proxy. One that comes
// through a Gatehouse always has Via, CDN-Loop and X-Forwarded-For.
func proxied(h http.Header) bool {
	for _, name := range []string{"Via", "Cdn-Loop", "X-Forwarded-For", "Forwarded"} {
		if len(h[name]) > 0 {
			return true
		}
	}
	return false
}

// throughGatehouse reports whether a request came through a Gatehouse, which has its name in Via and CDN-Loop whatever the vhost
// does with fields.
func throughGatehouse(h http.Header) bool {
	for _, name := range []string{"Via", "Cdn-Loop"} {
		for _, value := range h[name] {
			for entry := range strings.SplitSeq(value, ",") {
				for word := range strings.FieldsSeq(entry) { // the protocol, the name, a comment
					if len(word) >= len(nodePrefix) && strings.EqualFold(word[:len(nodePrefix)], nodePrefix) {
						return true
					}
				}
			}
		}
	}
	return false
}

// nodePrefix is what the edge begins the name of each node with.
const nodePrefix = "gatehouse-"

// ourHost reports whether host can only be meant for us: an address, a name that
// no public zone can hold (no dot, as container networks have them; localhost and
// below it) or the node's name.
func (a *API) ourHost(host string) bool {
	name, err := routes.CanonicalHost(host)
	if err != nil {
		return false
	}
	if _, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		return true
	}
	return !strings.Contains(name, ".") || strings.HasSuffix(name, ".localhost") || strings.EqualFold(name, a.opts.Node)
}
