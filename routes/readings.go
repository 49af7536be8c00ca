package routes

import (
	"bytes"
	"strings"
	"sync"
	"unsafe"
)

// Climbs reports whether a target leads above its own root as some program reads paths: "/../x", "/a/..%2f..;/x". What stands
// before it then, such as the prefix of a backend, does not hold it.
func Climbs(target string) bool {
	path, _, _ := strings.Cut(target, "?")
	if plainPath(path) {
		return false
	}
	return anyReading(path, func(x *readings) bool { return x.climbs })
}

// anyReading reports whether a path has a reading that is sought, or too many. A program that resolves dot segments hands on what
// another one may read in its own way, "/a/..;/../..;/x" as "/a/..;/x", as does one that decodes and then cuts parameters off,
// "/a%3b%252fb/%2563" as "/a/%63": the readings of such readings are among them.
func anyReading(path string, sought func(*readings) bool) bool {
	x := readingsOf(path)
	defer x.release()
	return x.any(sought)
}

func (x *readings) any(sought func(*readings) bool) bool {
	for x.next() {
		if sought(x) {
			return true
		}
		read := unsafe.String(unsafe.SliceData(x.read), len(x.read)) // kept by nobody
		if !x.resolved && !x.cutDecoded() || plainPath(read) {
			continue
		}
		next := readingsOf(read)
		next.left, next.extra = x.left-2*maxDecoded*len(read), 32 // they are many, and short
		found := next.any(sought)
		x.left = next.left
		next.release()
		if found {
			return true
		}
	}
	return x.tooMany()
}

// plainPath reports whether all programs read a path alike.
func plainPath(path string) bool {
	for i := range len(path) {
		switch path[i] {
		case '%', '\\', ';':
			return false
		case '/':
			rest := path[i+1:]
			if rest != "" && (rest[0] == '/' || rest[0] == '.' && (len(rest) == 1 || rest[1] == '/' || rest[1] == '.')) {
				return false
			}
		}
	}
	return true
}

// A difference is one between programs that read the same path.
type difference uint8

const (
	turned difference = 1 << iota // "\" is "/"
	ended                         // the path ends at a "?" or "#" that was escaped
	cut                           // what stands behind a ";" in a segment is no part of it
	merged                        // "//" is "/"
	walked                        // "." and ".." are resolved (RFC 3986 §5.2.4)
)

const (
	// maxDecoded is how often programs decode escapes.
	maxDecoded = 2
	// maxReadings bounds all readings of one path together, in bytes: they come before any limit of requests. Only paths
	// of some hundred bytes that have all of the differences are beyond it, or of some dozen with dot segments among them.
	maxReadings = 32 << 10
)

// readings are the ways in which programs read one path, one after another: with escapes decoded or not, with parameters
// (";v=1") cut off before that or not, and then with any combination of differences.
type readings struct {
	// read is the present one. It is overwritten by the next.
	read []byte
	// climbs is whether its dot segments have led above the root.
	climbs bool
	// resolved is whether it had any.
	resolved bool
	// shortened is whether parameters were cut off it, behind all decoding.
	shortened bool

	path  string
	base  []byte     // the path, decoded
	stage int        // which base comes next
	most  difference // all that there can be for the base
	bits  int        // those of the next reading; -1: it is one of the next base
	left  int        // of maxReadings
	extra int        // that each reading counts there beside its length
}

var spareReadings = sync.Pool{New: func() any { return &readings{} }}

// readingsOf makes the readings of a path, which is to be released.
func readingsOf(path string) *readings {
	x := spareReadings.Get().(*readings)
	*x = readings{path: path, base: x.base, read: x.read, bits: -1, left: maxReadings}
	if len(path) > 4*maxReadings { // as no path is that limits.target_bytes lets in by default
		x.left = -1
	}
	return x
}

func (x *readings) release() {
	x.path = ""
	spareReadings.Put(x)
}

// cutDecoded reports whether what was cut off was decoded before: what still is escaped in it a further decoding does not bring to light.
func (x *readings) cutDecoded() bool { return x.shortened && x.stage > 2 }

// tooMany reports whether next has ended early.
func (x *readings) tooMany() bool { return x.left < 0 }

// next goes on to the next reading; false: there is none, or it would be too many.
func (x *readings) next() bool {
	for x.bits < 0 {
		if x.stage > 2*maxDecoded+1 || x.tooMany() {
			return false
		}
		x.decode(x.stage/2, x.stage%2 == 1)
		x.stage++
	}
	if x.left -= len(x.base) + x.extra; x.tooMany() {
		return false
	}
	x.apply(difference(x.bits))
	if x.bits--; x.bits >= 0 {
		x.bits &= int(x.most)
	}
	return true
}

// decode makes the base whose escapes are decoded so many times, after parameters were cut off or not. One that is the same as
// another has no readings.
func (x *readings) decode(times int, cutBefore bool) {
	if cutBefore && strings.IndexByte(x.path, ';') < 0 || times > 0 && strings.IndexByte(x.path, '%') < 0 {
		return
	}
	x.base = append(x.base[:0], x.path...)
	if cutBefore {
		x.base = cutParameters(x.base)
	}
	for range times {
		escaped := len(x.base)
		if x.base = decodeEscapes(x.base); len(x.base) == escaped {
			return
		}
	}
	if x.most = differencesOf(x.base); x.most != 0 || x.stage > 0 { // else it is the path as it stands
		x.bits = int(x.most)
	}
}

// differencesOf returns which differences there can be for a path.
func differencesOf(b []byte) (most difference) {
	if bytes.IndexByte(b, '\\') >= 0 {
		most |= turned
	}
	if bytes.ContainsAny(b, "?#") {
		most |= ended
	}
	if bytes.IndexByte(b, ';') >= 0 {
		most |= cut
	}
	if bytes.Contains(b, []byte("/.")) || most&turned != 0 && bytes.IndexByte(b, '.') >= 0 {
		most |= walked
	}
	if most&^ended != 0 || bytes.Contains(b, []byte("//")) {
		most |= merged
	}
	return most
}

// apply makes the reading of the base that has these differences.
func (x *readings) apply(d difference) {
	out, parameters := x.read[:0], false
	x.climbs, x.resolved, x.shortened = false, false, false
	for _, c := range x.base {
		if c == '\\' && d&turned != 0 {
			c = '/'
		}
		if d&ended != 0 && (c == '?' || c == '#') {
			break
		}
		switch {
		case c == '/':
			parameters = false
			if d&walked != 0 {
				out, _ = x.walk(out)
			}
			if d&merged != 0 && len(out) > 0 && out[len(out)-1] == '/' {
				continue
			}
		case parameters:
			continue
		case c == ';' && d&cut != 0:
			parameters, x.shortened = true, true
			continue
		}
		out = append(out, c)
	}
	if d&walked != 0 {
		var dots bool
		if out, dots = x.walk(out); dots {
			out = append(out, '/')
		}
	}
	x.read = out
}

// walk resolves the last segment if it is "." or "..".
func (x *readings) walk(b []byte) (out []byte, dots bool) {
	switch n := len(b); {
	case n >= 2 && string(b[n-2:]) == "/.":
		x.resolved = true
		return b[:n-2], true
	case n >= 3 && string(b[n-3:]) == "/..":
		b = b[:n-3]
		x.resolved = true
		x.climbs = x.climbs || len(b) == 0
		return b[:max(0, bytes.LastIndexByte(b, '/'))], true
	}
	return b, false
}

// cutParameters cuts off in each segment what stands behind a ";", in place.
func cutParameters(b []byte) []byte {
	out, cut := b[:0], false
	for _, c := range b {
		cut = c == ';' || cut && c != '/'
		if !cut {
			out = append(out, c)
		}
	}
	return out
}

// decodeEscapes decodes in place, and leaves what is malformed as it is.
func decodeEscapes(b []byte) []byte {
	out := b[:0]
	for i := 0; i < len(b); i++ {
		c := b[i]
		if c == '%' && i+2 < len(b) && isHex(b[i+1]) && isHex(b[i+2]) {
			c = unhex(b[i+1])<<4 | unhex(b[i+2])
			i += 2
		}
		out = append(out, c)
	}
	return out
}

// unhex is the value of a character for which isHex is true.
func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}
