package waf

import (
	"net/url"
	"strings"
	"unicode/utf8"
)

// An exclusion for a path must not be reached by a request that the backend takes for another
// path: /search/../admin would get what /search* was given. Servers differ in what they
// resolve, so there is no one form to compare. Hence only a path that has a single reading
// fits a pattern; every other one is inspected in full, which costs at most a false
// alarm. The form compared is the path decoded once, which is what rules see as
// REQUEST_FILENAME and what a backend routes by.

// plainPath returns the path of a request target, decoded, and whether it has one
// reading only. It has not if it holds
//
//   - a segment of dots ("/./", "/../", "/..."), also encoded, or before a ";" or a space
//   - an empty segment ("//"), which some servers merge
//   - a backslash, a separator on Windows
//   - an encoded slash, which some servers take for a separator
//   - a semicolon, behind which some servers see parameters and cut them off
//   - a "?" or "#", encoded, for servers that decode before they cut
//   - a percent sign after decoding: a second decoding gives something else
//   - a control character, NUL included, or a text that is not UTF-8, such as an overlong slash
//   - a malformed escape (%u002e, %g1)
func plainPath(target string) (path string, plain bool) {
	raw, _, _ := strings.Cut(target, "?")
	path = raw
	if strings.IndexByte(raw, '%') >= 0 {
		if containsFold(raw, "%2f") {
			return raw, false
		}
		var err error
		if path, err = url.PathUnescape(raw); err != nil {
			return raw, false
		}
	}
	if path == "" || path[0] != '/' || strings.ContainsAny(path, `\;?#%`) || !utf8.ValidString(path) {
		return path, false
	}
	for i := 0; i < len(path); i++ {
		if c := path[i]; c < ' ' || c == 0x7f {
			return path, false
		}
		if path[i] == '/' && ambiguous(path[i+1:]) {
			return path, false
		}
	}
	return path, true
}

// ambiguous reports whether the segment at the beginning of rest is empty, unless it is the last,
// or all dots and spaces.
func ambiguous(rest string) bool {
	end := strings.IndexByte(rest, '/')
	if end == 0 {
		return true
	}
	if end < 0 {
		end = len(rest)
	}
	for _, c := range []byte(rest[:end]) {
		if c != '.' && c != ' ' {
			return false
		}
	}
	return end > 0
}

// containsFold is strings.Contains for a lower-case text in ASCII, whatever the case.
func containsFold(s, lower string) bool {
	for i := 0; i+len(lower) <= len(s); i++ {
		if strings.EqualFold(s[i:i+len(lower)], lower) {
			return true
		}
	}
	return false
}

// A glob is a pattern between whose pieces anything may stand.
type glob struct {
	pieces  []string // a single one: without a star; "?" in them is any one character
	folders bool     // the star before the first piece stands for folders, see [Exclusion.Folders]
}

func newGlob(pattern string) glob { return glob{pieces: strings.Split(pattern, "*")} }

func newGlobs(patterns []string, folders bool) (out []glob) {
	for _, p := range patterns {
		g := newGlob(p)
		g.folders = folders && strings.HasPrefix(p, "*/")
		out = append(out, g)
	}
	return out
}

func (g glob) fits(path string) bool {
	if !g.folders {
		return fit(g.pieces, path)
	}
	for at := 0; at < len(path) && path[at] != '.'; at++ {
		if path[at] == '/' && fit(g.pieces[1:], path[at:]) {
			return true
		}
	}
	return false
}

// fit compares from the left, taking the first place of each piece: a later place would leave
// less for the rest. So the time grows with the length of the path, not with a power of it.
func fit(pieces []string, path string) bool {
	first, last := pieces[0], pieces[len(pieces)-1]
	n, ok := prefix(path, first)
	if !ok {
		return false
	}
	path = path[n:]
	if len(pieces) == 1 {
		return path == ""
	}
	for _, piece := range pieces[1 : len(pieces)-1] {
		at, n := index(path, piece)
		if at < 0 {
			return false
		}
		path = path[at+n:]
	}
	if strings.IndexByte(last, '?') < 0 {
		return strings.HasSuffix(path, last)
	}
	for ; ; path = path[width(path):] { // the last piece stands at the very end
		if n, ok := prefix(path, last); ok && n == len(path) {
			return true
		}
		if path == "" {
			return false
		}
	}
}

// index returns where a piece stands first, and how many bytes it takes there; -1: nowhere.
func index(text, piece string) (at, n int) {
	if strings.IndexByte(piece, '?') < 0 {
		return strings.Index(text, piece), len(piece)
	}
	for ; ; at += width(text[at:]) {
		if n, ok := prefix(text[at:], piece); ok {
			return at, n
		}
		if at == len(text) {
			return -1, 0
		}
	}
}

// prefix returns how many bytes of text the piece takes, if text begins with it.
func prefix(text, piece string) (int, bool) {
	at := 0
	for i := 0; i < len(piece); i++ {
		switch {
		case at >= len(text):
			return 0, false
		case piece[i] == '?':
			at += width(text[at:])
		case piece[i] != text[at]:
			return 0, false
		default:
			at++
		}
	}
	return at, true
}

// width is the length of the first character of a text; 0 of an empty one.
func width(text string) int {
	_, n := utf8.DecodeRuneInString(text)
	return n
}
