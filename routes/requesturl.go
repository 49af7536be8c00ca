package routes

import (
	"errors"
	"strings"
)

// ErrBadURL is returned for what is no http:// or https:// URL.
var ErrBadURL = errors.New("want http://host/… or https://host/…")

// SplitURL takes a request's absolute URL apart and leaves each part as it is
// written: the target of an attack must not be tidied up, nor refused for an escape
// that a server would get to see. The scheme is http or https, in lower case; the authority
// is a host that CanonicalHost takes, with its port; the target begins with "/" and
// has no fragment.
func SplitURL(raw string) (scheme, authority, target string, err error) {
	scheme, rest, found := strings.Cut(raw, "://")
	scheme = strings.ToLower(scheme)
	if !found || scheme != "http" && scheme != "https" {
		return "", "", "", ErrBadURL
	}
	authority, target = rest, ""
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		authority, target = rest[:end], rest[end:]
	}
	if host, err := CanonicalHost(authority); err != nil || host == "" {
		return "", "", "", ErrBadURL
	}
	target, _, _ = strings.Cut(target, "#")
	if !strings.HasPrefix(target, "/") {
		target = "/" + target
	}
	return scheme, authority, target, nil
}
