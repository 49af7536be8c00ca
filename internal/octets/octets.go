// Package octets has the classes of octets that HTTP is made of, and comparisons
// without regard to ASCII case: one meaning of a token, of a field's text and of
// white space for whoever reads a request, an answer or a stored one. Two readers
// that differ here are how requests are smuggled.
//
// It parses nothing. Its functions do not allocate and are safe for concurrent use.
package octets

import (
	"encoding/binary"
	"unsafe"
)

// token holds the characters of a token.
var token = func() (t [256]bool) {
	for c := '0'; c <= '9'; c++ {
		t[c] = true
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-'a'+'A'] = true, true
	}
	for _, c := range "!#$%&'*+-.^_`|~" {
		t[c] = true
	}
	return t
}()

// IsTokenByte reports whether c is a tchar (RFC 9110 §5.6.2).
func IsTokenByte(c byte) bool { return token[c] }

// IsToken reports whether b is a token (RFC 9110 §5.6.2): not empty, no separators,
// no white space.
func IsToken[T ~string | ~[]byte](b T) bool {
	for i := range len(b) {
		if !token[b[i]] {
			return false
		}
	}
	return len(b) > 0
}

// IsFieldText reports whether b may stand in a field value or a reason phrase:
// visible octets, octets above 0x7f, SP and HTAB (RFC 9110 §5.5). It looks at eight
// octets at a time, since most of what a head has is values.
func IsFieldText(b []byte) bool {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	for len(b) >= 8 {
		x := binary.LittleEndian.Uint64(b)
		control := (x - 0x20*ones) &^ x // high bit where an octet is below 0x20
		del := x ^ 0x7f*ones
		del = (del - ones) &^ del // high bit where an octet is 0x7f
		if (control|del)&tops != 0 && !isFieldTextSlow(b[:8]) {
			return false
		}
		b = b[8:]
	}
	return isFieldTextSlow(b)
}

func isFieldTextSlow(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// TrimOWS removes optional white space (RFC 9110 §5.6.3) from both ends.
func TrimOWS(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// Is reports whether b is the word lower, which is in lower case, in any ASCII
// case: without the Unicode folding that takes a Kelvin sign for a k.
func Is(b []byte, lower string) bool {
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

// View gives the octets of s without copying them. Nobody may ever write to them: a
// string does not change.
func View(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// Text gives b as a string without copying it. It is for a moment's reading: when
// somebody writes to b, the string changes, which no other code expects.
func Text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
