package wire

import (
	"bytes"

	"gatehouse/internal/octets"
)

// checkTarget refuses what no reading of RFC 9112 §3.2 allows in a target: white
// space and control characters (they split the line elsewhere), a fragment, and
// in the path a broken escape or an escaped NUL, which decoders read differently.
// Everything else stays as it came: the raw target is what routing, the WAF, the
// cache and the backend see.
func checkTarget(target []byte) *Refusal {
	path := true
	for i, c := range target {
		switch {
		case c <= ' ' || c == 0x7f || c == '#':
			return errTarget
		case c == '?':
			path = false
		case c == '%' && path && !goodEscape(target[i:]):
			return errTarget
		}
	}
	return nil
}

func goodEscape(b []byte) bool {
	if len(b) < 3 {
		return false
	}
	high, ok1 := hexDigit(b[1])
	low, ok2 := hexDigit(b[2])
	return ok1 && ok2 && high|low != 0
}

// origin returns a target in origin-form, or "*" for OPTIONS (RFC 9112 §3.2.1,
// §3.2.4). Of an absolute-form the authority must be host's, byte for byte but
// for case: if they differ, two programs may serve two sites (§3.2.2).
func origin(method string, target, host []byte) ([]byte, *Refusal) {
	switch {
	case len(target) > 0 && target[0] == '/', method == "OPTIONS" && string(target) == "*":
		return target, nil
	}
	rest, ok := afterScheme(target)
	if !ok {
		return nil, errTarget
	}
	end := bytes.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	authority, path := rest[:end], rest[end:]
	if !sameFold(authority, host) {
		return nil, errAuthority
	}
	switch {
	case len(path) == 0 && method == "OPTIONS": // RFC 9112 §3.2.4
		return []byte("*"), nil
	case len(path) == 0 || path[0] == '?':
		return append([]byte{'/'}, path...), nil
	}
	return path, nil
}

func afterScheme(target []byte) ([]byte, bool) {
	scheme, rest, ok := bytes.Cut(target, []byte("://"))
	return rest, ok && (octets.Is(scheme, "http") || octets.Is(scheme, "https"))
}
