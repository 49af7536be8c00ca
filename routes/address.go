package routes

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Address is where a backend listens, as ParseAddress read it.
type Address struct {
	Scheme string // http, https or unix
	Host   string // DNS name in lower case, or IP address without brackets; empty for unix
	Port   int    // 1–65535, filled in from the scheme when absent; 0 for unix
	Prefix string // path put before every target: empty, or begins with "/" and does not end with one
	Path   string // absolute path of the socket; only for unix
}

// maxSocketPath is the longest path that fits sockaddr_un with its final NUL on Linux.
const maxSocketPath = 107

// wantAddress is the reason for an address without one of the three schemes.
const wantAddress = "want http://host:port, https://host:port or unix:/path"

// ParseAddress reads http://host[:port][/prefix], https://host[:port][/prefix], unix:/path or
// unix:///path. It touches neither network nor disk. It refuses user information, a query, a
// fragment, an empty or out-of-range port, a host that some resolvers would read as a number
// (http://2130706433), and anything that could not stand in a request line. The error never
// repeats an address with an "@", since a password may stand before it.
func ParseAddress(raw string) (Address, error) {
	a, err := parseAddress(raw)
	switch {
	case err == nil:
		return a, nil
	case strings.Contains(raw, "@"):
		return Address{}, fmt.Errorf("bad backend: %w", err)
	}
	return Address{}, fmt.Errorf("bad backend %q: %w", raw, err)
}

// parseAddress is ParseAddress; its errors repeat nothing that may be a password.
func parseAddress(raw string) (Address, error) {
	for i := range len(raw) {
		switch c := raw[i]; {
		case c <= ' ' || c == 0x7f:
			return Address{}, fmt.Errorf("a space or control character stands at byte %d: remove it; in a path a space is %%20", i+1)
		case c > 0x7f:
			return Address{}, fmt.Errorf("a non-ASCII character stands at byte %d: write a name in its xn-- form, and %%XX in a path", i+1)
		}
	}
	if path, ok := cutPrefixFold(raw, "unix:"); ok {
		return parseSocket(path)
	}
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok || strings.ContainsAny(scheme, "/?#@") {
		return Address{}, errors.New(wantAddress)
	}
	a := Address{Scheme: strings.ToLower(scheme)}
	switch a.Scheme {
	case "http":
		a.Port = 80
	case "https":
		a.Port = 443
	default:
		return Address{}, errors.New(wantAddress)
	}
	authority, path := rest, ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority, path = rest[:i], rest[i:]
	}
	if strings.Contains(authority, "@") {
		return Address{}, errors.New("a user or password before an \"@\" would not be sent: remove it")
	}
	if err := a.setAuthority(authority); err != nil {
		return Address{}, err
	}
	if err := a.setPrefix(path); err != nil {
		return Address{}, err
	}
	return a, nil
}

// String gives the canonical form: two addresses with equal text reach the same backend.
func (a Address) String() string {
	if a.Scheme == "unix" {
		return "unix:" + a.Path
	}
	host := a.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if a.Port != defaultPort(a.Scheme) {
		host += ":" + strconv.Itoa(a.Port)
	}
	return a.Scheme + "://" + host + a.Prefix
}

// Network gives the two arguments of a dialler: "tcp" and host:port, or "unix" and the path.
func (a Address) Network() (network, address string) {
	if a.Scheme == "unix" {
		return "unix", a.Path
	}
	host := a.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return "tcp", host + ":" + strconv.Itoa(a.Port)
}

func defaultPort(scheme string) int {
	if scheme == "https" {
		return 443
	}
	return 80
}

func parseSocket(path string) (Address, error) {
	path, authority := strings.CutPrefix(path, "//")
	switch {
	case authority && !strings.HasPrefix(path, "/"):
		return Address{}, errors.New("a unix socket has no host: write unix:/run/app.sock")
	case !strings.HasPrefix(path, "/"):
		return Address{}, errors.New("a unix socket has an absolute path, such as unix:/run/app.sock")
	case strings.HasSuffix(path, "/"):
		return Address{}, errors.New("the path ends with \"/\" and names a directory: write the socket's own, such as unix:/run/app.sock")
	case len(path) > maxSocketPath:
		return Address{}, fmt.Errorf("the path is longer than the %d bytes that a socket's can have", maxSocketPath)
	case strings.ContainsAny(path, "?#"):
		return Address{}, errors.New(noQuery)
	}
	return Address{Scheme: "unix", Path: path}, nil
}

const noQuery = "a query or a fragment cannot be part of it: end it before the \"?\" or \"#\""

func (a *Address) setAuthority(authority string) error {
	if ip, err := netip.ParseAddr(authority); err == nil && ip.Is6() {
		return errors.New("an IPv6 address stands in brackets, as in http://[::1]:9000")
	}
	var host, port string
	var hasPort bool
	if strings.HasPrefix(authority, "[") {
		end := strings.IndexByte(authority, ']')
		if end < 0 {
			return errors.New("the IPv6 address has no closing bracket")
		}
		host, port = authority[1:end], authority[end+1:]
		if ip, err := netip.ParseAddr(host); err != nil || !ip.Is6() || ip.Zone() != "" {
			return fmt.Errorf("%q in brackets is not an IPv6 address without zone: write one such as [::1], or a name without brackets", host)
		}
		if port, hasPort = strings.CutPrefix(port, ":"); !hasPort && port != "" {
			return fmt.Errorf("%q follows the IPv6 address: only a colon and a port may", port)
		}
	} else {
		host, port, hasPort = strings.Cut(authority, ":")
		if err := checkHost(host); err != nil {
			return err
		}
	}
	a.Host = strings.ToLower(host)
	if !hasPort {
		return nil
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 || port[0] == '+' {
		return fmt.Errorf("port %q is not a number from 1 to 65535", port)
	}
	a.Port = int(n)
	return nil
}

// checkHost accepts an IPv4 address or a DNS name in ASCII. Underscores are allowed: container
// networks use them.
func checkHost(host string) error {
	if host == "" {
		return errors.New("the host is missing: write one after \"://\"")
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.Is4() {
		return nil
	}
	name := strings.TrimSuffix(host, ".")
	if len(name) > 253 {
		return errors.New("the host name is longer than 253 characters")
	}
	labels := strings.Split(name, ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 {
			return fmt.Errorf("host %q has a label that is empty or longer than 63 characters", host)
		}
		for i := range len(label) {
			c := label[i] | 0x20
			if (c < 'a' || c > 'z') && (label[i] < '0' || label[i] > '9') && label[i] != '-' && label[i] != '_' {
				return fmt.Errorf("host %q has the character %q: a name has letters, digits, hyphens, underscores and dots", host, label[i])
			}
		}
	}
	// Some resolvers take 2130706433, 0x7f.1 or 127.1 for 127.0.0.1: what ends in a number must be a plain address.
	last := strings.ToLower(labels[len(labels)-1])
	if _, err := strconv.ParseUint(last, 0, 64); err == nil || strings.Trim(last, "0123456789") == "" {
		return fmt.Errorf("host %q ends in a number but is not an IPv4 address: write four numbers from 0 to 255, or a name", host)
	}
	return nil
}

func (a *Address) setPrefix(path string) error {
	if strings.ContainsAny(path, "?#") {
		return errors.New(noQuery)
	}
	path = strings.TrimRight(path, "/")
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "." || segment == ".." {
			return fmt.Errorf("the path has a %q segment: write the path that it leads to", segment)
		}
	}
	for i := 0; i < len(path); i++ {
		if path[i] == '%' && (i+2 >= len(path) || !isHex(path[i+1]) || !isHex(path[i+2])) {
			return errors.New("the path has a \"%\" that is not followed by two hex digits: write %25 for the character itself")
		}
	}
	a.Prefix = path
	return nil
}

func cutPrefixFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f'
}
