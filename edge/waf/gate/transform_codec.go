package gate

import (
	"crypto/fips140"
	"crypto/md5"
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"strconv"
	"strings"
)

const base64Alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

// base64Values has the value of each byte of the alphabet, and noBase64 for the others.
var base64Values = func() (values [256]byte) {
	for i := range values {
		values[i] = noBase64
	}
	for i := range len(base64Alphabet) {
		values[base64Alphabet[i]] = byte(i)
	}
	return values
}()

const noBase64 = 0xff

// decodeBase64 is base64Decode: it stops at padding and at whatever is not of the alphabet, line ends excepted.
func decodeBase64(s string) string { return base64Of(s, false) }

// decodeBase64Ext is base64DecodeExt: it passes over what is not of the alphabet, of which there are two
// (RFC 4648, sections 4 and 5), and stops at padding.
func decodeBase64Ext(s string) string { return base64Of(s, true) }

func base64Of(s string, lenient bool) string {
	if s == "" {
		return s
	}
	var b strings.Builder
	b.Grow(len(s)/4*3 + 2)
	var bits uint32
	n := 0 // characters in bits
	for i := range len(s) {
		c := s[i]
		if c == '=' {
			break
		}
		if lenient {
			switch c {
			case '-':
				c = '+'
			case '_':
				c = '/'
			}
		}
		v := base64Values[c]
		if v == noBase64 {
			if lenient || c == '\r' || c == '\n' {
				continue
			}
			break
		}
		bits = bits<<6 | uint32(v)
		if n++; n == 4 {
			b.WriteByte(byte(bits >> 16))
			b.WriteByte(byte(bits >> 8))
			b.WriteByte(byte(bits))
			bits, n = 0, 0
		}
	}
	switch n { // a single one is not a byte yet
	case 2:
		b.WriteByte(byte(bits >> 4))
	case 3:
		b.WriteByte(byte(bits >> 10))
		b.WriteByte(byte(bits >> 2))
	}
	return b.String()
}

func encodeBase64(s string) string {
	if s == "" {
		return s
	}
	return base64.StdEncoding.EncodeToString([]byte(s))
}

// decodeHex is hexDecode. It fails on a text that is not all hex, which then stays as it is.
func decodeHex(s string) string {
	if s == "" || len(s)%2 != 0 || leading(s, &hexDigits, len(s)) < len(s) {
		return s
	}
	out, err := hex.DecodeString(s)
	if err != nil {
		return s
	}
	return string(out)
}

func encodeHex(s string) string {
	if s == "" {
		return s
	}
	return hex.EncodeToString([]byte(s))
}

// length is the number of bytes, in decimal digits.
func length(s string) string {
	if s == "1" {
		return s
	}
	return strconv.Itoa(len(s))
}

// md5Of is md5, whose result is bytes, not digits. Coraza refuses it in FIPS 140-3 mode.
func md5Of(s string) string {
	if fips140.Enabled() {
		return s
	}
	sum := md5.Sum([]byte(s))
	return string(sum[:])
}

// sha1Of is sha1, of which the same holds.
func sha1Of(s string) string {
	if fips140.Enabled() {
		return s
	}
	sum := sha1.Sum([]byte(s))
	return string(sum[:])
}
