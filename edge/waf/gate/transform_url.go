package gate

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// decodeURL is urlDecode: "+" and "%HH". What is no such thing stays.
var decodeURL = decoding("%+", func(rest string) (string, int) {
	if rest[0] == '+' {
		return " ", 1
	}
	return percentByte(rest)
})

// decodeURLUni is urlDecodeUni: what urlDecode does, and the "%uHHHH" of IIS, to one byte.
var decodeURLUni = decoding("%+", func(rest string) (string, int) {
	switch {
	case rest[0] == '+':
		return " ", 1
	case len(rest) > 1 && rest[1]|0x20 == 'u':
		if len(rest) < 6 {
			return "", 0
		}
		code, ok := hexValue(rest[2:6])
		if !ok {
			return "", 0
		}
		return textOf(asciiOf(code)), 6
	}
	return percentByte(rest)
})

func percentByte(rest string) (string, int) {
	if len(rest) < 3 {
		return "", 0
	}
	v, ok := hexValue(rest[1:3])
	if !ok {
		return "", 0
	}
	return textOf(byte(v)), 3
}

// asciiOf folds a character to a byte: to the one of ASCII that looks most like it, else the lower of its two.
func asciiOf(code rune) byte {
	if c, ok := wide(code); ok {
		return c
	}
	at, found := slices.BinarySearchFunc(bestFit, code, func(run fitting, code rune) int { return int(run.from - code) })
	if !found {
		at--
	}
	if at >= 0 && int(code-bestFit[at].from) < len(bestFit[at].to) {
		return bestFit[at].to[code-bestFit[at].from]
	}
	return byte(code)
}

// wide returns the byte of a full-width character, U+FF01 to U+FF5E.
func wide(code rune) (byte, bool) {
	if code < 0xff01 || code > 0xff5e {
		return 0, false
	}
	return byte(code - 0xff00 + ' '), true
}

// urlPlain is what urlEncode leaves as it is.
var urlPlain = bytesOf("*0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")

// encodeURL is urlEncode.
func encodeURL(s string) string {
	const digits = "0123456789abcdef"
	same := leading(s, &urlPlain, len(s))
	if same == len(s) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s) + 2*(len(s)-same))
	b.WriteString(s[:same])
	for i := same; i < len(s); i++ {
		switch c := s[i]; {
		case c == ' ':
			b.WriteByte('+')
		case urlPlain.has(c):
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
		}
	}
	return b.String()
}

// utf8ToUnicode is utf8toUnicode: each character that is not ASCII becomes %u and at least four digits, and
// each byte that is not UTF-8 becomes %ufffd.
func utf8ToUnicode(s string) string {
	ascii := 0
	for ascii < len(s) && s[ascii] < utf8.RuneSelf {
		ascii++
	}
	if ascii == len(s) {
		return s
	}
	var b strings.Builder
	b.Grow(2 * len(s))
	b.WriteString(s[:ascii])
	var digits [8]byte
	for _, r := range s[ascii:] {
		if r < utf8.RuneSelf {
			b.WriteByte(byte(r))
			continue
		}
		hex := strconv.AppendInt(digits[:0], int64(r), 16)
		b.WriteString("%u0000"[:max(2, 6-len(hex))])
		b.Write(hex)
	}
	return b.String()
}
