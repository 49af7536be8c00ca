package cache

import (
	"slices"
	"strings"

	"gatehouse/internal/octets"
)

// Patterns is a list of patterns, of which one must fit a whole text. It never changes. A nil *Patterns is no list; an
// empty one fits nothing.
type Patterns struct {
	list []pattern
	// starts has a bit for each byte that a pattern begins with; open: one begins with a wildcard. Most texts fit no
	// pattern, and this says so at once.
	starts [4]uint64
	open   bool
	// decoded has the patterns with their escapes decoded, if one has any: paths can be escaped in several ways.
	decoded *Patterns
}

// NewPaths makes patterns of paths, such as "/static/*" and "*.css": "*" is any text, "?" any one byte, "/" included.
// Without patterns the list is empty, and not nil.
func NewPaths(patterns ...string) *Patterns {
	p := newPatterns(patterns, true)
	if slices.ContainsFunc(patterns, func(text string) bool { return strings.IndexByte(text, '%') >= 0 }) {
		decoded := make([]string, len(patterns))
		for i, text := range patterns {
			decoded[i] = string(appendDecoded(nil, text, false))
		}
		p.decoded = newPatterns(decoded, true)
	}
	return p
}

// NewNames makes patterns of names, such as "utm_*": "*" is any text, and nothing else is a wildcard. Without patterns
// the list is empty, and not nil.
func NewNames(patterns ...string) *Patterns { return newPatterns(patterns, false) }

func newPatterns(patterns []string, single bool) *Patterns {
	p := &Patterns{list: make([]pattern, len(patterns))}
	for i, text := range patterns {
		p.list[i] = pattern{pieces: strings.Split(text, "*"), single: single, extension: hasExtension(text)}
		switch {
		case text == "", text[0] == '*', single && text[0] == '?':
			p.open = true
		default:
			p.starts[text[0]>>6] |= 1 << (text[0] & 63)
		}
	}
	return p
}

// pattern is a text with wildcards.
type pattern struct {
	pieces    []string // what stands between its stars; a single one: it has no star
	single    bool     // "?" is any one byte
	extension bool     // see hasExtension
}

// hasExtension reports whether a pattern leaves the name of a file open and ends in an extension, as "*.css" does: what
// it means to fit is files of a kind, which is to be seen from their type, too.
func hasExtension(text string) bool {
	dot := strings.LastIndexByte(text, '.')
	return dot >= 0 && dot+1 < len(text) && strings.ContainsAny(text[:dot], "*?") && strings.IndexByte(text[dot:], '/') < 0
}

// may reports whether some pattern can fit a text, by its first byte.
func (p *Patterns) may(text string) bool {
	return p.open || text != "" && p.starts[text[0]>>6]&(1<<(text[0]&63)) != 0
}

// fits reports whether a pattern fits the whole text.
func (p *Patterns) fits(text string) bool {
	if !p.may(text) {
		return false
	}
	for i := range p.list {
		if p.list[i].fits(text) {
			return true
		}
	}
	return false
}

// fitsDecoded reports whether a pattern fits the path as it is, or decoded.
func (p *Patterns) fitsDecoded(path string) bool {
	if p.fits(path) {
		return true
	}
	if strings.IndexByte(path, '%') < 0 {
		return p.decoded != nil && p.decoded.fits(path)
	}
	var room [512]byte
	plain := octets.Text(appendDecoded(room[:0], path, false))
	return p.fits(plain) || p.decoded != nil && p.decoded.fits(plain)
}

// fitsName reports whether a pattern fits a name as it is, decoded, or as PHP makes a variable of it.
func (p *Patterns) fitsName(name string) bool {
	if p.fits(name) {
		return true
	}
	if !strings.ContainsAny(name, "%+. [") {
		return false
	}
	var room [128]byte
	decoded := appendDecoded(room[:0], name, true)
	if p.fits(octets.Text(decoded)) {
		return true
	}
	if end := strings.IndexByte(octets.Text(decoded), '['); end > 0 && p.fits(octets.Text(decoded[:end])) {
		return true
	}
	for i, c := range decoded {
		if c == '.' || c == ' ' || c == '[' {
			decoded[i] = '_'
		}
	}
	return p.fits(octets.Text(decoded))
}

// fits compares from the left and takes the first place of each piece: a later one would leave less for the rest. So
// there is nothing to go back to.
func (p *pattern) fits(text string) bool {
	first, last := p.pieces[0], p.pieces[len(p.pieces)-1]
	if !p.begins(text, first) {
		return false
	}
	text = text[len(first):]
	if len(p.pieces) == 1 {
		return text == ""
	}
	for _, piece := range p.pieces[1 : len(p.pieces)-1] {
		at := p.index(text, piece)
		if at < 0 {
			return false
		}
		text = text[at+len(piece):]
	}
	return len(text) >= len(last) && p.begins(text[len(text)-len(last):], last)
}

// index returns where a piece stands first; -1: nowhere.
func (p *pattern) index(text, piece string) int {
	if !p.single || strings.IndexByte(piece, '?') < 0 {
		return strings.Index(text, piece)
	}
	for at := 0; at+len(piece) <= len(text); at++ {
		if p.begins(text[at:], piece) {
			return at
		}
	}
	return -1
}

func (p *pattern) begins(text, piece string) bool {
	if len(text) < len(piece) {
		return false
	}
	for i := range len(piece) {
		if piece[i] != text[i] && !(p.single && piece[i] == '?') {
			return false
		}
	}
	return true
}

// appendDecoded appends s with its percent escapes decoded once. One that is malformed stays as it is. plus: "+" is a
// space, as in forms.
func appendDecoded(dst []byte, s string, plus bool) []byte {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '+' && plus {
			c = ' '
		} else if c == '%' {
			if d, ok := unhex(s[i:]); ok {
				c = d
				i += 2
			}
		}
		dst = append(dst, c)
	}
	return dst
}

// unhex reads the escape %xx that s begins with.
func unhex(s string) (c byte, ok bool) {
	if len(s) < 3 {
		return 0, false
	}
	high, low := hexDigit(s[1]), hexDigit(s[2])
	return high<<4 | low&15, high < 16 && low < 16
}

// hexDigit is the value of a digit; 16 or more: it is none.
func hexDigit(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10
	}
	return 16
}

// pathOf is the path of a request target.
func pathOf(target string) string {
	path, _, _ := strings.Cut(target, "?")
	return path
}

// ambiguous reports whether backends may read a path in different ways: what stands behind ";" or an encoded "?", "#" or
// control character is cut off by some; an encoded "/" or "\" divides segments for some; dots and empty segments are
// resolved by some; and what is encoded twice, or no well-formed escape, is decoded by some. Behind each of these a file
// name with an extension can be written that the backend never sees (web cache deception), or a path be hidden.
func ambiguous(path string) bool {
	for i := 0; i < len(path); i++ {
		switch c := path[i]; {
		case c == ';' || c == '\\' || c == '#' || c < ' ' || c == 0x7f:
			return true
		case c == '%':
			d, ok := unhex(path[i:])
			if !ok || d < ' ' || d == 0x7f || d == 0xc0 || d == 0xc1 || strings.IndexByte(`/\;?#%.`, d) >= 0 {
				return true
			}
			i += 2
		case c == '.':
			if rest := path[i+1:]; strings.HasPrefix(rest, ".") || i > 0 && path[i-1] == '/' && (rest == "" || rest[0] == '/') {
				return true
			}
		case c == '/' && i+1 < len(path) && path[i+1] == '/':
			return true
		}
	}
	return false
}
