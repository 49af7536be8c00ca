package cache

import (
	"bytes"
	"cmp"
	"slices"

	"gatehouse/internal/octets"
)

// maxLanguages bounds what is sorted of an Accept-Language; one with more is compared as it is.
const maxLanguages = 32

// A language is a member of Accept-Language (RFC 9110 §12.5.4).
type language struct {
	tag    []byte
	weight int // in thousandths
}

// appendLanguages appends Accept-Language in one form: in lower case, without whitespace, what is wanted most first, and
// what is wanted equally by name. (The order of such members has no meaning in the standard, although browsers, which
// weight all but the first, keep it too.) A member that cannot be read has all of it appended as it is, behind a comma: nobody
// can tell what it wants most, see prefers.
func appendLanguages(dst []byte, lines [][]byte) []byte {
	var array [maxLanguages]language
	languages := array[:0]
	for _, line := range lines {
		for len(line) > 0 {
			member, rest, _ := bytes.Cut(line, []byte{','})
			line = rest
			l, ok := parseLanguage(octets.TrimOWS(member))
			if !ok || len(languages) == maxLanguages {
				return append(append(dst, ','), bytes.Join(lines, []byte{','})...)
			}
			if len(l.tag) > 0 {
				languages = append(languages, l)
			}
		}
	}
	slices.SortStableFunc(languages, func(a, b language) int {
		return cmp.Or(cmp.Compare(b.weight, a.weight), compareFold(a.tag, b.tag))
	})
	for i, l := range languages {
		if i > 0 {
			dst = append(dst, ',')
		}
		for _, c := range l.tag {
			dst = append(dst, lower(c))
		}
		if l.weight != 1000 {
			dst = append(dst, ";q="...)
			dst = append(dst, '0'+byte(l.weight/1000), '.', '0'+byte(l.weight/100%10), '0'+byte(l.weight/10%10), '0'+byte(l.weight%10))
		}
	}
	return dst
}

// parseLanguage reads "tag" and "tag;q=0.5"; an empty member is none.
func parseLanguage(b []byte) (l language, ok bool) {
	tag, weight, weighted := bytes.Cut(b, []byte{';'})
	l = language{tag: octets.TrimOWS(tag), weight: 1000}
	for _, c := range l.tag {
		if c != '-' && c != '*' && (lower(c) < 'a' || lower(c) > 'z') && (c < '0' || c > '9') {
			return l, false
		}
	}
	if !weighted {
		return l, true
	}
	l.weight, ok = parseWeight(octets.TrimOWS(weight))
	return l, ok
}

// parseWeight reads "q=0.123" (RFC 9110 §12.4.2) in thousandths.
func parseWeight(b []byte) (int, bool) {
	if len(b) < 3 || len(b) > 7 || lower(b[0]) != 'q' || b[1] != '=' || len(b) > 3 && b[3] != '.' {
		return 0, false
	}
	weight, unit := 0, 1000
	for i, c := range b[2:] {
		if i == 1 {
			continue
		}
		if c < '0' || c > '9' {
			return 0, false
		}
		weight += int(c-'0') * unit
		unit /= 10
	}
	return weight, weight <= 1000
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c | 0x20
	}
	return c
}

func compareFold(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if d := cmp.Compare(lower(a[i]), lower(b[i])); d != 0 {
			return d
		}
	}
	return cmp.Compare(len(a), len(b))
}

// nameLanguage notes in the field Accept-Language of a Vary which language the response has.
func nameLanguage(vary []varyField, h Header) {
	for i := range vary {
		if vary[i].name != "Accept-Language" {
			continue
		}
		lines := h.PeekAll("Content-Language")
		if len(lines) != 1 || len(lines[0]) == 0 || bytes.ContainsAny(lines[0], ", ") {
			return
		}
		vary[i].language = string(bytes.ToLower(lines[0]))
	}
}

// prefers reports whether a normalised Accept-Language wants that language more than any other.
func prefers(value []byte, language string) bool {
	first, rest, more := bytes.Cut(value, []byte{','})
	tag, _, weighted := bytes.Cut(first, []byte{';'})
	if string(tag) != language || bytes.HasSuffix(first, []byte("q=0.000")) {
		return false
	}
	if !more {
		return true
	}
	second, _, _ := bytes.Cut(rest, []byte{','})
	_, weight, secondWeighted := bytes.Cut(second, []byte{';'})
	if !weighted {
		return secondWeighted // the first weighs 1, the second less
	}
	_, own, _ := bytes.Cut(first, []byte{';'})
	return string(own) != string(weight)
}
