package edge

import "strings"

// viaProtocol is the received protocol in a Via field.
const viaProtocol = "1.1 "

// nodePrefix begins the name of every node in Via and CDN-Loop. What follows is of one process alone.
const nodePrefix = "gatehouse-"

// mostNodes is how many nodes a request may have passed: the fifth time it is going round among nodes that do not know each other,
// behind a load balancer for instance.
const mostNodes = 5

// appendPassed tells whoever comes next that the request was here: in Via (RFC 9110 §7.6.3), and in CDN-Loop (RFC 8586), which
// networks of other operators keep where they drop Via.
func (r *request) appendPassed(dst []byte) []byte {
	dst = appendLine(dst, "Via: ", r.via)
	return appendLine(dst, "CDN-Loop: ", strings.TrimPrefix(r.via, viaProtocol))
}

// looped reports whether the request has been here before, or has passed too many nodes.
func (r *request) looped() bool {
	var via, loop int
	own := strings.TrimPrefix(r.via, viaProtocol)
	for _, f := range r.Fields {
		passed := &via
		switch {
		case f.Is("via"):
		case f.Is("cdn-loop"):
			passed = &loop
		default:
			continue
		}
		for entry := range strings.SplitSeq(string(f.Value), ",") {
			name := nodeOf(entry, passed == &via)
			if strings.EqualFold(name, own) {
				return true
			}
			if len(name) > len(nodePrefix) && strings.EqualFold(name[:len(nodePrefix)], nodePrefix) {
				*passed++
			}
		}
	}
	return max(via, loop) >= mostNodes
}

// nodeOf returns the name in an entry: behind the protocol in Via, before parameters in CDN-Loop.
func nodeOf(entry string, via bool) string {
	words := strings.FieldsFunc(entry, func(c rune) bool { return c == ' ' || c == '\t' || c == ';' })
	switch {
	case via && len(words) > 1:
		return words[1]
	case !via && len(words) > 0:
		return words[0]
	}
	return ""
}
