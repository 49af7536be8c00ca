package gate

import "unicode/utf8"

var octalDigits = bytesOf("01234567")

// decodeCSS is cssDecode (CSS Syntax, section 4.3.7): a backslash and up to six hex digits are a character,
// which swallows one space behind it; before a line feed a backslash goes with it; before anything else, and at
// the end, it goes alone. So a backslash always changes a text, though with enough of them it may come out
// as it went in: then this allocates for nothing.
var decodeCSS = decoding(`\`, func(rest string) (string, int) {
	digits := leading(rest[1:], &hexDigits, 6)
	switch {
	case digits > 0:
		code, _ := hexValue(rest[1 : 1+digits])
		width := 1 + digits + leading(rest[1+digits:], &spaceSet, 1)
		if c, ok := wide(code); ok {
			return textOf(c), width
		}
		if code == 0 {
			code = utf8.RuneError
		}
		if code < utf8.RuneSelf {
			return textOf(byte(code)), width
		}
		return string(code), width
	case len(rest) == 1:
		return "", 1
	case rest[1] == '\n':
		return "", 2
	}
	return rest[1:2], 2
})

// decodeJS is jsDecode: the escapes of a string in JavaScript, each to one byte.
var decodeJS = decoding(`\`, func(rest string) (string, int) {
	if len(rest) == 1 {
		return "", 0
	}
	if code, width := jsUnicode(rest); width > 0 {
		if c, ok := wide(code); ok {
			return textOf(c), width
		}
		return textOf(byte(code)), width
	}
	if rest[1] == 'x' && len(rest) >= 4 {
		if v, ok := hexValue(rest[2:4]); ok {
			return textOf(byte(v)), 4
		}
	}
	if digits := leading(rest[1:], &octalDigits, 3); digits > 0 {
		if digits == 3 && rest[1] > '3' { // more than a byte holds
			digits = 2
		}
		return textOf(octal(rest[1 : 1+digits])), 1 + digits
	}
	if c := control(rest[1]); c != 0 {
		return textOf(c), 2
	}
	return rest[1:2], 2
})

// jsUnicode reads \uHHHH, or \u{H} with one to six digits. The width is 0 if it is neither.
func jsUnicode(rest string) (code rune, width int) {
	if len(rest) < 3 || rest[1] != 'u' {
		return 0, 0
	}
	if rest[2] == '{' {
		digits := leading(rest[3:], &hexDigits, 6)
		if digits == 0 || len(rest) <= 3+digits || rest[3+digits] != '}' {
			return 0, 0
		}
		code, _ = hexValue(rest[3 : 3+digits])
		return code, 4 + digits
	}
	if len(rest) < 6 {
		return 0, 0
	}
	code, ok := hexValue(rest[2:6])
	if !ok {
		return 0, 0
	}
	return code, 6
}

// decodeEscapes is escapeSeqDecode: the escapes of a string in C.
var decodeEscapes = decoding(`\`, func(rest string) (string, int) {
	if len(rest) == 1 {
		return "", 0
	}
	if c := control(rest[1]); c != 0 {
		return textOf(c), 2
	}
	if rest[1]|0x20 == 'x' && len(rest) >= 4 {
		if v, ok := hexValue(rest[2:4]); ok {
			return textOf(byte(v)), 4
		}
	}
	if digits := leading(rest[1:], &octalDigits, 3); digits > 0 {
		return textOf(octal(rest[1 : 1+digits])), 1 + digits
	}
	return rest[1:2], 2
})

// octal returns the low byte of at most three octal digits.
func octal(digits string) (v byte) {
	for i := range len(digits) {
		v = v<<3 | (digits[i] - '0')
	}
	return v
}

// control returns the control character that a letter behind a backslash stands for, or 0.
func control(c byte) byte {
	switch c {
	case 'a':
		return '\a'
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	case 'v':
		return '\v'
	}
	return 0
}
