package routes

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// ErrBadHost is returned for what cannot be a host name.
var ErrBadHost = errors.New("not a host name")

// CanonicalHost returns the one form of a host that routing, the WAF, the cache
// and the backend see: lower case, without port and trailing dot, in A-labels
// (RFC 5891). It takes what a Host field (RFC 9110 §7.2) or an SNI holds. An
// address literal stays one ("192.0.2.1", "[2001:db8::1]").
//
// A host that is already canonical is returned as it is, without allocation.
func CanonicalHost(host string) (string, error) {
	host, err := cutPort(host)
	if err != nil {
		return "", err
	}
	if strings.HasPrefix(host, "[") {
		addr, err := netip.ParseAddr(host[1 : len(host)-1])
		if err != nil || !addr.Is6() || addr.Zone() != "" {
			return "", ErrBadHost
		}
		return "[" + addr.String() + "]", nil
	}
	host = strings.TrimSuffix(host, ".")
	if canonical(host) {
		return host, nil
	}
	if !ascii(host) {
		if len(host) > longestHost || !utf8.ValidString(host) { // ToASCII would read U+FFFD, and make one host of many
			return "", ErrBadHost
		}
		if host, err = idna.Lookup.ToASCII(host); err != nil {
			return "", ErrBadHost
		}
	}
	host = strings.ToLower(host)
	if !canonical(host) {
		return "", ErrBadHost
	}
	return host, nil
}

// longestHost is more bytes than a name of 253 has in Unicode: the time that takes to encode grows with its square.
const longestHost = 1024

// cutPort takes ":port" off. The port, where given, is a decimal of at most 65535.
func cutPort(host string) (string, error) {
	end := strings.LastIndexByte(host, ':')
	if strings.HasPrefix(host, "[") {
		bracket := strings.IndexByte(host, ']')
		if bracket < 0 || bracket+1 < len(host) && host[bracket+1] != ':' {
			return "", ErrBadHost
		}
		end = bracket + 1
	} else if end < 0 {
		return host, nil
	}
	if end == len(host) {
		return host, nil
	}
	port := host[end+1:]
	if len(port) > 5 {
		return "", ErrBadHost
	}
	n := 0
	for _, c := range []byte(port) {
		if c < '0' || c > '9' {
			return "", ErrBadHost
		}
		n = n*10 + int(c-'0')
	}
	if n > 65535 {
		return "", ErrBadHost
	}
	return host[:end], nil
}

// canonical reports whether host is a sequence of 1 to 253 bytes of labels of
// 1 to 63 lower-case letters, digits, hyphens and underscores. Underscores are
// no host names by RFC 1123, but users have them.
func canonical(host string) bool {
	if host == "" || len(host) > 253 {
		return false
	}
	label := 0
	for i := range len(host) {
		switch c := host[i]; {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '_':
			if label++; label > 63 {
				return false
			}
		case c == '.':
			if label == 0 {
				return false
			}
			label = 0
		default:
			return false
		}
	}
	return label > 0
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// CanonicalName is CanonicalHost for the name of a vhost: it also takes "*" and
// "*.domain", and refuses a port, which would never match.
func CanonicalName(name string) (string, error) {
	if name == "*" {
		return name, nil
	}
	if err := notURL(name); err != nil {
		return "", err
	}
	rest, wildcard := strings.CutPrefix(name, "*.")
	if strings.Contains(rest, "*") {
		return "", errors.New(`a wildcard stands alone ("*") or before a whole domain ("*.shop.test")`)
	}
	if strings.Contains(rest, ":") && !strings.HasPrefix(rest, "[") {
		return "", errors.New("a vhost has no port: one vhost answers on all listeners")
	}
	host, err := CanonicalHost(rest)
	if err != nil {
		return "", err
	}
	if wildcard {
		return "*." + host, nil
	}
	return host, nil
}

// notURL refuses a URL where a name is wanted.
func notURL(name string) error {
	if _, rest, is := strings.Cut(name, "://"); is {
		return fmt.Errorf("it is a URL: write %q", or(strings.TrimSuffix(rest, "/"), "www.shop.test"))
	}
	return nil
}
