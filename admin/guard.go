package admin

import (
	"net"
	"net/http"
	"net/netip"
	"strings"

	"gatehouse/routes"
)

// guard keeps web pages out when the handler is served over TCP. A page that a
// browser of the operator's network shows can reach our listener: by a form or
// fetch to our address (refused as cross-origin), or under its own host name that
// it lets resolve to our address (DNS rebinding; refused by the Host field). A
// unix socket cannot be reached from a page.
func (a *API) guard(next http.Handler) http.Handler {
	sameOrigin := http.NewCrossOriginProtection().Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
		if local != nil && local.Network() == "unix" {
			next.ServeHTTP(w, r)
			return
		}
		if !a.ourHost(r.Host) {
			a.answer(func(http.ResponseWriter, *http.Request) error {
				return &apiError{http.StatusMisdirectedRequest, "ask by address, by a name without dots or by the node's name", nil}
			}).ServeHTTP(w, r)
			return
		}
		sameOrigin.ServeHTTP(w, r)
	})
}

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
