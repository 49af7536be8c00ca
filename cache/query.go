package cache

import (
	"slices"
	"strings"

	"gatehouse/internal/octets"
)

// Query says which parameters of a request count. What does not count is not sent to the backend either: a parameter
// that changes the answer, and is not in the key, lets one client choose what others get. The zero value: all count, in
// their order.
type Query struct {
	// Ignore is names of parameters that do not count, made by NewNames. Nil: none.
	Ignore *Patterns
	// Only is names of those that alone count, made by NewNames; an empty list: none does. Nil: all do. A parameter that
	// Ignore names too does not count.
	Only *Patterns
	// Sort has the order of parameters not matter. Those of one name keep theirs, since backends take the first, the last
	// or a list of them; so do those whose names some backend takes for one ("a[]" and "a[1]", "a.b" and "a_b", "A" and "a").
	Sort bool
}

// Target gives a request target as it is to be keyed and forwarded, both from the same text. If that is target itself,
// changed is false and out is dst; else it is appended to dst. p may be nil: nothing changes.
//
// Parameters are divided by "&" alone: behind ";" stands more of the same value, which goes or stays with it. Names
// are compared decoded once, "+" as a space; parameters stay as they were written. Empty ones ("&&") go. If none is left,
// so does the "?". It allocates if dst is too small, or names are longer than 128 bytes and encoded; with Sort, also beyond
// 32 parameters.
//
// It is for requests that the cache deals with: GET and HEAD that no Bypass names. The target of another method, or
// of one that goes past the cache, is forwarded as it is, and what it gives here is only the key to invalidate.
func (p *Policy) Target(dst []byte, target string) (out []byte, changed bool) {
	if p == nil || p.Query == (Query{}) {
		return dst, false
	}
	path := pathOf(target)
	if len(path) == len(target) {
		return dst, false
	}
	var room [32]string
	kept, changed := p.Query.keep(room[:0], target[len(path)+1:])
	if p.Query.Sort && !slices.IsSortedFunc(kept, compareNames) {
		slices.SortStableFunc(kept, compareNames)
		changed = true
	}
	if !changed {
		return dst, false
	}
	dst = append(dst, path...)
	divider := byte('?')
	for _, parameter := range kept {
		dst = append(append(dst, divider), parameter...)
		divider = '&'
	}
	return dst, true
}

// keep appends the parameters that count to kept, and reports whether there are others.
func (q *Query) keep(kept []string, query string) (_ []string, dropped bool) {
	for more := true; more; {
		var parameter string
		parameter, query, more = strings.Cut(query, "&")
		if parameter == "" || !q.counts(nameOf(parameter)) {
			dropped = true
			continue
		}
		kept = append(kept, parameter)
	}
	return kept, dropped
}

// counts reports whether a parameter of that name, as it was sent, counts.
func (q *Query) counts(name string) bool {
	if q.Only == nil && q.Ignore == nil {
		return true
	}
	var room [128]byte
	if strings.ContainsAny(name, "%+") {
		name = octets.Text(appendDecoded(room[:0], name, true))
	}
	return (q.Only == nil || q.Only.fits(name)) && (q.Ignore == nil || !q.Ignore.fits(name))
}

// nameOf is the name of a parameter, as it was sent.
func nameOf(parameter string) string {
	name, _, _ := strings.Cut(parameter, "=")
	return name
}

// compareNames orders parameters by their names, as foldedName reads them.
func compareNames(a, b string) int {
	x, y := foldedName{text: nameOf(a), cut: true}, foldedName{text: nameOf(b), cut: true}
	for {
		c, d := x.next(), y.next()
		if c != d || c < 0 {
			return c - d
		}
	}
}

// foldedName reads a name of a parameter or cookie so that names which some server takes for one come out alike:
// decoded, in small letters, "." and space as "_" (PHP), a "[" as one, too, or as the end of the name.
type foldedName struct {
	text string
	at   int
	cut  bool // "[" ends the name
}

// next returns the next byte; -1 at the end.
func (f *foldedName) next() int {
	if f.at >= len(f.text) {
		return -1
	}
	c := f.text[f.at]
	f.at++
	if c == '%' {
		if d, ok := unhex(f.text[f.at-1:]); ok {
			c = d
			f.at += 2
		}
	}
	switch {
	case c == '[' && f.cut:
		f.at = len(f.text)
		return -1
	case c == '.' || c == ' ' || c == '+' || c == '[':
		c = '_'
	case c >= 'A' && c <= 'Z':
		c |= 0x20
	}
	return int(c)
}
