package wire

import (
	"bytes"

	"gatehouse/internal/octets"
)

// sameFold reports whether two byte strings are equal but for ASCII case.
func sameFold(a, b []byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		x, y := a[i], b[i]
		if x != y && (x|0x20 != y|0x20 || x|0x20 < 'a' || x|0x20 > 'z') {
			return false
		}
	}
	return true
}

// listHas reports whether a comma-separated list (RFC 9110 §5.6.1) has a member,
// whatever its case; lower is in lower case.
func listHas(list []byte, lower string) bool {
	for more := true; more; {
		var member []byte
		member, list, more = bytes.Cut(list, []byte{','})
		if octets.Is(octets.TrimOWS(member), lower) {
			return true
		}
	}
	return false
}

func hexDigit(c byte) (int64, bool) {
	switch {
	case c >= '0' && c <= '9':
		return int64(c - '0'), true
	case c >= 'a' && c <= 'f':
		return int64(c-'a') + 10, true
	case c >= 'A' && c <= 'F':
		return int64(c-'A') + 10, true
	}
	return 0, false
}
