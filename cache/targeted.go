package cache

import "github.com/dunglas/httpsfv"

// targetedFields are the fields that speak to a shared cache such as this one in the place of Cache-Control, the first one
// that is valid (RFC 9213 §2.2): one for Gatehouse alone, and one for what stands between backends and clients.
var targetedFields = []string{"Gatehouse-Cache-Control", "Cdn-Cache-Control"}

// responseControl reads what a response says of caching: its targeted field, in which case Cache-Control and Expires
// count for nothing (RFC 9213 §2.1), else Cache-Control.
func responseControl(h Header) (c control, targeted bool) {
	for _, name := range targetedFields {
		if c, ok := parseTargeted(h.PeekAll(name)); ok {
			return c, true
		}
	}
	return parseControl(h.PeekAll("Cache-Control")), false
}

// parseTargeted reads a targeted field, a Dictionary of RFC 8941 whose keys are directives. Not ok: it is absent, empty, no
// Dictionary, or has an argument of another type than its directive, and is to be ignored (RFC 9213 §2.1).
func parseTargeted(lines [][]byte) (c control, ok bool) {
	if len(lines) == 0 {
		return c, false
	}
	text := make([]string, len(lines))
	for i, line := range lines {
		text[i] = string(line)
	}
	members, err := httpsfv.UnmarshalDictionary(text)
	if err != nil || len(members.Names()) == 0 {
		return control{}, false
	}
	c.present = true
	for _, name := range members.Names() {
		member, _ := members.Get(name)
		if !c.take(name, member) {
			return control{}, false
		}
	}
	return c, true
}

// take takes a member of a targeted field and reports whether its argument is of its directive's type.
func (c *control) take(name string, member httpsfv.Member) bool {
	item, isItem := member.(httpsfv.Item)
	var to *seconds
	switch name {
	case "max-age":
		to = &c.maxAge
	case "s-maxage":
		to = &c.sMaxAge
	case "stale-while-revalidate":
		to = &c.revalidate
	case "stale-if-error":
		to = &c.onError
	default:
		is, isBool := item.Value.(bool)
		if isItem && isBool && !is { // "no-store=?0" says that it does not hold
			return true
		}
		c.apply([]byte(name), nil, !isBool)
		return true
	}
	n, isInt := item.Value.(int64)
	if !isItem || !isInt || n < 0 {
		return false
	}
	to.set, to.n = true, min(n, maxSeconds)
	return true
}
