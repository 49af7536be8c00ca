package gate

import "strings"

// A decoder looks at a text that begins with one of its bytes. It returns what takes the place of how many
// bytes, or 0: the first byte stands for itself.
type decoder func(rest string) (text string, width int)

// decoding returns the transformation that asks d at each of the bytes in starts.
func decoding(starts string, d decoder) func(string) string {
	set := bytesOf(starts)
	next := func(s string) int {
		for i := range len(s) {
			if set.has(s[i]) {
				return i
			}
		}
		return -1
	}
	if len(starts) == 1 {
		next = func(s string) int { return strings.IndexByte(s, starts[0]) }
	}
	return func(s string) string {
		var b strings.Builder
		kept := 0 // s up to here is in b
		for i := 0; ; {
			skip := next(s[i:])
			if skip < 0 {
				break
			}
			i += skip
			text, width := d(s[i:])
			if width == 0 {
				i++
				continue
			}
			grow(&b, len(s))
			b.WriteString(s[kept:i])
			b.WriteString(text)
			i += width
			kept = i
		}
		return rewritten(&b, s, kept)
	}
}

// grow makes room for a text once, when it turns out that it changes.
func grow(b *strings.Builder, n int) {
	if b.Cap() == 0 {
		b.Grow(n)
	}
}

// rewritten returns b with the rest of s, from kept on; s itself if there is no difference.
func rewritten(b *strings.Builder, s string, kept int) string {
	if kept == 0 {
		return s
	}
	b.WriteString(s[kept:])
	if out := b.String(); out != s {
		return out
	}
	return s
}

// eachByte has all bytes in order, so that a byte becomes a text without an allocation.
var eachByte = func() string {
	var all [256]byte
	for i := range all {
		all[i] = byte(i)
	}
	return string(all[:])
}()

func textOf(c byte) string { return eachByte[c : int(c)+1] }

// hexValue returns the value of a text that is hex digits only, at most eight of them.
func hexValue(digits string) (rune, bool) {
	var v rune
	for i := range len(digits) {
		c := digits[i]
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		v = v<<4 | rune(c)
	}
	return v, len(digits) > 0
}

// leading returns how many of the first bytes of s, at most limit, are in the set.
func leading(s string, set *byteSet, limit int) int {
	n, limit := 0, min(limit, len(s))
	for n < limit && set.has(s[n]) {
		n++
	}
	return n
}
