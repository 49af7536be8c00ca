package gate

import (
	"strings"

	"golang.org/x/net/html"
)

// decodeEntities is htmlEntityDecode: what a browser makes of character references in text.
//
// The package that knows their names copies a text before it looks. So it is asked only if there is
// a reference, or a name with its semicolon, which may not be known; then this allocates for nothing.
func decodeEntities(s string) string {
	for rest := s; ; rest = rest[1:] {
		at := strings.IndexByte(rest, '&')
		if at < 0 {
			return s
		}
		if rest = rest[at:]; mayBeReference(rest) {
			break
		}
	}
	if out := html.UnescapeString(s); out != s {
		return out
	}
	return s
}

var (
	decimalDigits = bytesBetween('0', '9')
	nameBytes     = decimalDigits.union(bytesBetween('a', 'z')).union(bytesBetween('A', 'Z'))
)

// mayBeReference reports whether a text that begins with & can begin with a reference. If it says no, it cannot.
func mayBeReference(s string) bool {
	s = s[1:]
	if strings.HasPrefix(s, "#") {
		s = s[1:]
		if s != "" && s[0]|0x20 == 'x' {
			return leading(s[1:], &hexDigits, 1) == 1
		}
		return leading(s, &decimalDigits, 1) == 1
	}
	n := leading(s, &nameBytes, len(s))
	if n > 0 && n < len(s) && s[n] == ';' {
		return true
	}
	for k := 2; k <= min(n, longestBareName); k++ {
		if bareNames[s[:k]] {
			return true
		}
	}
	return false
}

const longestBareName = 6

// bareNames are the references that need no semicolon, and that may begin a longer word (HTML, section 13.5).
var bareNames = func() map[string]bool {
	names := map[string]bool{}
	for name := range strings.FieldsSeq(`
		AElig AMP Aacute Acirc Agrave Aring Atilde Auml COPY Ccedil ETH Eacute Ecirc Egrave Euml GT Iacute Icirc
		Igrave Iuml LT Ntilde Oacute Ocirc Ograve Oslash Otilde Ouml QUOT REG THORN Uacute Ucirc Ugrave Uuml Yacute
		aacute acirc acute aelig agrave amp aring atilde auml brvbar ccedil cedil cent copy curren deg divide eacute
		ecirc egrave eth euml frac12 frac14 frac34 gt iacute icirc iexcl igrave iquest iuml laquo lt macr micro
		middot nbsp not ntilde oacute ocirc ograve ordf ordm oslash otilde ouml para plusmn pound quot raquo reg sect
		shy sup1 sup2 sup3 szlig thorn times uacute ucirc ugrave uml uuml yacute yen yuml`) {
		names[name] = true
	}
	return names
}()
