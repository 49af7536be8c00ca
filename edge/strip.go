package edge

import (
	"strings"

	"gatehouse/routes"
)

// stripped is a target without the path that the vhost takes off, as `strip` says.
// The target begins with it: else the vhost would not have been selected. It does not begin
// with "//evil.test" or "/\evil.test" then: a backend that sends clients on to it would send them there.
func (st *site) stripped(target string) string {
	if st.strip == "" {
		return target
	}
	rest := strings.TrimPrefix(target, st.strip)
	if len(rest) > 0 && rest[0] == '/' && (len(rest) == 1 || rest[1] != '/' && rest[1] != '\\') {
		return rest
	}
	return "/" + strings.TrimLeft(rest, `/\`)
}

// isRooted reports whether a vhost's backends get its targets below a path, or without one: what leads above the root of
// such a target leads out of what the vhost is for.
func isRooted(v *routes.Vhost) bool {
	if v.Strip() {
		return true
	}
	for _, b := range v.Backends {
		if a, err := routes.ParseAddress(b.URL); err == nil && a.Prefix != "" {
			return true
		}
	}
	return false
}

// leaves reports whether a target leads out of what the site is for, as some backend reads it.
func (st *site) leaves(target string) bool { return st.rooted && routes.Climbs(st.stripped(target)) }
