package cache

import "gatehouse/internal/octets"

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

// tokenLen is the length of the token that b starts with.
func tokenLen(b []byte) int {
	for i, c := range b {
		if !octets.IsTokenByte(c) {
			return i
		}
	}
	return len(b)
}
