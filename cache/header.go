package cache

// Header gives all values of a field, one per field line, in the order
// received. fasthttp's header types have this method.
//
// Names are asked for in canonical form ("Cache-Control", "Etag"), so a parsed
// message must have its names normalised: a set-cookie that keeps its lower
// case would go unseen. The result is read before the next call and never kept,
// so an implementation may reuse it.
type Header interface {
	PeekAll(name string) [][]byte
}

// has reports whether h has the field with a value that is not empty. (fasthttp
// answers one empty line for an absent Set-Cookie.)
func has(h Header, name string) bool {
	for _, line := range h.PeekAll(name) {
		if len(line) > 0 {
			return true
		}
	}
	return false
}

// isTokenChar reports whether c is a tchar (RFC 9110 §5.6.2).
func isTokenChar(c byte) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		return true
	}
	switch c {
	case '!', '#', '$', '%', '&', '\'', '*', '+', '-', '.', '^', '_', '`', '|', '~':
		return true
	}
	return false
}

// tokenLen is the length of the token that b starts with.
func tokenLen(b []byte) int {
	for i, c := range b {
		if !isTokenChar(c) {
			return i
		}
	}
	return len(b)
}

// trimSpace removes optional whitespace (RFC 9110 §5.6.3: space and tab) from
// both ends of b.
func trimSpace(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// equalFold reports whether b is lower, which must be lower case, in any ASCII
// case.
func equalFold(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}
