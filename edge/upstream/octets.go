package upstream

import "encoding/binary"

// Classes of octets from RFC 9110 §5.5 and §5.6.2, and comparisons without regard to ASCII case.

var tokenOctet = func() (t [256]bool) {
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

// isToken reports whether b is a token (RFC 9110 §5.6.2): not empty, no separators, no spaces.
func isToken[T ~string | ~[]byte](b T) bool {
	for i := range len(b) {
		if !tokenOctet[b[i]] {
			return false
		}
	}
	return len(b) > 0
}

// isVisible reports whether b has no control character and no space.
func isVisible(b string) bool {
	for i := range len(b) {
		if b[i] <= ' ' || b[i] == 0x7f {
			return false
		}
	}
	return true
}

// isFieldText reports whether b may stand in a field value or a reason phrase: visible octets,
// octets above 0x7f, SP and HTAB (RFC 9110 §5.5). It looks at eight octets at a time, since most
// of what a head has is values.
func isFieldText(b []byte) bool {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	for len(b) >= 8 {
		x := binary.LittleEndian.Uint64(b)
		del := x ^ ones*0x7f
		if ((x-ones*0x20)&^x|(del-ones)&^del)&tops != 0 && !isFieldTextSlow(b[:8]) {
			return false
		}
		b = b[8:]
	}
	return isFieldTextSlow(b)
}

func isFieldTextSlow(b []byte) bool {
	for _, c := range b {
		if (c < ' ' && c != '\t') || c == 0x7f {
			return false
		}
	}
	return true
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f'
}

// is reports whether name is lower in any case; lower must be in lower case.
func is(name []byte, lower string) bool {
	if len(name) != len(lower) {
		return false
	}
	for i := range len(lower) {
		c := name[i]
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// trimOWS removes optional white space (RFC 9110 §5.6.3) from both ends.
func trimOWS(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}
