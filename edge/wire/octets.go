package wire

import (
	"bytes"
	"encoding/binary"
)

// token holds the characters of a token (RFC 9110 §5.6.2).
var token = func() (t [256]bool) {
	for c := '0'; c <= '9'; c++ {
		t[c] = true
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-0x20] = true, true
	}
	for _, c := range "!#$%&'*+-.^_`|~" {
		t[c] = true
	}
	return t
}()

func isToken(b []byte) bool {
	for _, c := range b {
		if !token[c] {
			return false
		}
	}
	return len(b) > 0
}

// Masks for eight bytes at once.
const (
	ones  = 0x0101010101010101
	highs = 0x80 * ones
)

// isText reports whether b has no control character other than HTAB: what a
// field value may hold (RFC 9110 §5.5, obs-text included).
func isText(b []byte) bool {
	for len(b) >= 8 {
		x := binary.LittleEndian.Uint64(b)
		control := (x - 0x20*ones) &^ x // high bit where a byte is below 0x20
		del := x ^ 0x7f*ones
		del = (del - ones) &^ del // high bit where a byte is 0x7f
		if (control|del)&highs != 0 && !isTextSlow(b[:8]) {
			return false
		}
		b = b[8:]
	}
	return isTextSlow(b)
}

func isTextSlow(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// equalFold compares with a lower-case ASCII word, without the Unicode folding
// that takes a Kelvin sign for a k.
func equalFold(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

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
		if equalFold(trim(member), lower) {
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
