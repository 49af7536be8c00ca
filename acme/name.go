package acme

import (
	"net/netip"
	"strings"

	"golang.org/x/net/idna"
)

const maxNameLength = 253 // RFC 1035 section 2.3.4, without the root's dot

// canonicalName gives the form under which names are held: lower case, A-labels,
// no trailing dot. It refuses what cannot be a host name and IP addresses, which
// SNI does not carry (RFC 6066 section 3). A name that is already canonical costs
// no allocation.
func canonicalName(name string) (string, bool) {
	name = strings.TrimSuffix(name, ".")
	lower := true
	for i := 0; i < len(name); i++ {
		c := name[i]
		switch {
		case c >= 0x80:
			return canonicalUnicode(name)
		case 'A' <= c && c <= 'Z':
			lower = false
		}
	}
	if !lower {
		name = strings.ToLower(name)
	}
	return name, validName(name)
}

// canonicalUnicode serves the few clients that send U-labels.
func canonicalUnicode(name string) (string, bool) {
	ascii, err := idna.Lookup.ToASCII(name)
	if err != nil {
		return "", false
	}
	return ascii, validName(ascii)
}

// validName reports whether a lower-case ASCII name can be a host name. The
// underscore is no host-name character, but names with it are in use.
func validName(name string) bool {
	if name == "" || len(name) > maxNameLength {
		return false
	}
	label := 0 // length of the current label
	letter := false
	for i := 0; i < len(name); i++ {
		c := name[i]
		switch {
		case c == '.':
			if label == 0 {
				return false
			}
			label = 0
			continue
		case 'a' <= c && c <= 'z', c == '-', c == '_':
			letter = true
		case '0' <= c && c <= '9':
		default:
			return false
		}
		if label++; label > 63 {
			return false
		}
	}
	if label == 0 {
		return false
	}
	if !letter { // digits and dots: perhaps an IPv4 address
		if _, err := netip.ParseAddr(name); err == nil {
			return false
		}
	}
	return true
}

// canonicalPattern is canonicalName for the names of a table, which may be "*" or
// start with "*.".
func canonicalPattern(name string) (string, bool) {
	if name == "*" {
		return name, true
	}
	if rest, ok := strings.CutPrefix(name, "*."); ok {
		rest, ok = canonicalName(rest)
		return "*." + rest, ok
	}
	return canonicalName(name)
}

// isExact reports whether a canonical pattern names one host.
func isExact(pattern string) bool { return !strings.HasPrefix(pattern, "*") }

// parent cuts the first label off; empty if there is only one.
func parent(name string) string {
	_, rest, _ := strings.Cut(name, ".")
	return rest
}

// covers reports whether a certificate's DNS name verifies for host: equal, or a
// wildcard for exactly the first label (RFC 9525 section 6.3).
func covers(dnsName, host string) bool {
	if rest, ok := strings.CutPrefix(dnsName, "*."); ok {
		return rest != "" && parent(host) == rest
	}
	return dnsName == host
}
