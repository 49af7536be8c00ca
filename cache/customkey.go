package cache

import (
	"bytes"
	"strings"

	"gatehouse/internal/octets"
)

// Key is what tells a vhost's stored answers apart beside the request target. The zero value: nothing.
type Key struct {
	// Cookies is names of cookies.
	Cookies []string
	// Headers is names of fields in canonical form ("X-Country").
	Headers []string
	// Device is the class of the client by its User-Agent: see DeviceClass.
	Device bool
}

// Keyed reports whether AppendKey may append anything: then one URL has several keys.
func (p *Policy) Keyed() bool {
	return p != nil && (len(p.Key.Cookies) > 0 || len(p.Key.Headers) > 0 || p.Key.Device)
}

// AppendKey appends what Key takes from a request's header to a key that the function AppendKey has made. Each part says
// what it is and how long, so no two sets of parts share a key, of this policy or of the one before it, and what is
// absent is not taken for what is empty. A plain Policy, and a nil one, append nothing.
//
// A cookie's values are all those that its name has in the request, in order: which of them counts is the backend's
// choice, and if it were another than ours, one client could choose what others get. Likewise names that some server
// takes for the same one count ("LANG", "site.lang" for "site_lang"), and where the name stands in a place that only some
// servers take for a cookie (within a quoted value, behind a comma), the whole field does.
func (p *Policy) AppendKey(dst []byte, h Header) []byte {
	if p == nil {
		return dst
	}
	if len(p.Key.Cookies) > 0 {
		dst = appendCookies(dst, h.PeekAll("Cookie"), p.Key.Cookies)
	}
	for _, name := range p.Key.Headers {
		dst = appendPart(append(dst, 'h'), name)
		dst = appendLines(dst, h.PeekAll(name))
	}
	if p.Key.Device {
		dst = appendPart(append(dst, 'd'), p.Device(h))
	}
	return dst
}

// Device is the class of the client that the request with header h comes from, if Key.Device is set: what AppendKey
// has in the key, and the backend is to get. Else it is empty. See DeviceClass.
func (p *Policy) Device(h Header) string {
	if p == nil || !p.Key.Device {
		return ""
	}
	var agent []byte
	if lines := h.PeekAll("User-Agent"); len(lines) > 0 {
		agent = lines[0]
	}
	return DeviceClass(agent)
}

// appendLines appends any number of texts so that they can be told from any others: 1 before each, 0 at the end.
func appendLines(dst []byte, lines [][]byte) []byte {
	for _, line := range lines {
		dst = appendPart(append(dst, 1), octets.Text(line))
	}
	return append(dst, 0)
}

func appendCookies(dst []byte, lines [][]byte, names []string) []byte {
	doubt := false
	for _, name := range names {
		dst = appendPart(append(dst, 'c'), name)
		sure, loose := 0, 0
		for _, line := range lines {
			for rest := line; len(rest) > 0; {
				var pair []byte
				if pair, rest = cutCookie(rest); !isCookie(pair, name) {
					continue
				}
				dst = appendPart(append(dst, 1), octets.Text(pair))
				if bytes.IndexByte(pair, '=') >= 0 {
					sure++
				}
			}
			for rest := line; len(rest) > 0; {
				var part []byte
				if part, rest = cutPart(rest, ";, \t\""); isCookie(part, name) && bytes.IndexByte(part, '=') >= 0 {
					loose++
				}
			}
		}
		dst = append(dst, 0)
		doubt = doubt || sure != loose
	}
	if doubt {
		dst = appendLines(append(dst, 'l'), lines)
	}
	return dst
}

// isCookie reports whether a pair is of the cookie with that name, for some server.
func isCookie(pair []byte, name string) bool {
	got := cookieName(pair)
	return sameName(got, name, false) || strings.ContainsAny(got, "[%") && sameName(got, name, true)
}

func sameName(a, b string, cut bool) bool {
	x, y := foldedName{text: a, cut: cut}, foldedName{text: b}
	for {
		c, d := x.next(), y.next()
		if c != d || c < 0 {
			return c == d
		}
	}
}

// cookieName is a pair's name as it was sent. It is read before pair changes.
func cookieName(pair []byte) string {
	if end := bytes.IndexByte(pair, '='); end >= 0 {
		pair = pair[:end]
	}
	return octets.Text(octets.TrimOWS(pair))
}

// cutCookie cuts the first pair, without space around it, from the line of a Cookie field (RFC 6265 §4.2.1). A value that
// begins with a quote ends behind the next one: a ";" in between is its own.
func cutCookie(line []byte) (pair, rest []byte) {
	end := bytes.IndexByte(line, ';')
	if end < 0 {
		return octets.TrimOWS(line), nil
	}
	if closed := quoteEnd(line, end); closed > end {
		if end = bytes.IndexByte(line[closed:], ';'); end < 0 {
			return octets.TrimOWS(line), nil
		}
		end += closed
	}
	return octets.TrimOWS(line[:end]), line[end+1:]
}

// quoteEnd returns where the quoted value of the pair before line[end] ends; 0: it has none. A backslash takes the meaning
// from the byte behind it.
func quoteEnd(line []byte, end int) int {
	at := bytes.IndexByte(line[:end], '=') + 1
	for at > 0 && at < end && (line[at] == ' ' || line[at] == '\t') {
		at++
	}
	if at == 0 || line[at] != '"' {
		return 0
	}
	for at++; at < len(line); at++ {
		switch line[at] {
		case '"':
			return at + 1
		case '\\':
			at++
		}
	}
	return 0
}

// cutPart cuts what stands before the first of the dividers, without space around it.
func cutPart(line []byte, dividers string) (part, rest []byte) {
	end := bytes.IndexAny(line, dividers)
	if end < 0 {
		return octets.TrimOWS(line), nil
	}
	return octets.TrimOWS(line[:end]), line[end+1:]
}
