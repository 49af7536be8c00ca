package routes

import (
	"bytes"
	"errors"
	"iter"
	"strings"
	"unsafe"
)

// ErrAmbiguousPath is returned for a path that is one vhost's as it stands and
// another's as some backend would read it.
var ErrAmbiguousPath = errors.New("the path can be read in two ways")

// A pathSet is the path vhosts of one host.
type pathSet struct {
	names    trie[string] // by path
	segments int          // that a path has at most, or had
}

// Below returns the route that answers for a target among the route of its host, as
// Match found it, and that vhost's path vhosts: the longest path of which the
// target's is, or is below. The path is compared as it stands, since that is what the
// WAF, the cache and the backend see. Where a backend that decodes escapes, resolves
// dot segments or the like could find itself in another vhost than that, there is
// ErrAmbiguousPath beside the host's route: /x/..%2fadmin must not reach with the
// settings of one vhost what the other one guards.
//
// For a host without path vhosts it costs a comparison. It does not allocate for
// paths of up to 512 bytes.
func (t *Table) Below(host *Route, target string) (*Route, error) {
	if host.below == nil {
		return host, nil
	}
	path, _, _ := strings.Cut(target, "?")
	route := t.longest(host, path)
	if plainPath(path) {
		return route, nil
	}
	var memory [512]byte
	for reading := range readingsOf(path).all {
		read := reading.of(memory[:0], path)
		if t.longest(host, unsafe.String(unsafe.SliceData(read), len(read))) != route { // kept by nobody
			return host, ErrAmbiguousPath
		}
	}
	return route, nil
}

// longest returns the route of the longest path vhost that has the path, or the host's.
func (t *Table) longest(host *Route, path string) *Route {
	end, segments := 1, 0
	for ; end < len(path) && end <= maxNamePath; end++ {
		if path[end] == '/' {
			if segments++; segments == host.below.segments {
				break
			}
		}
	}
	for end = min(end, len(path)); end > 0; end = strings.LastIndexByte(path[:end], '/') {
		name, ok := host.below.names.get(path[:end])
		if !ok {
			continue
		}
		if r, ok := t.vhosts.get(name); ok && r.Vhost != nil && r.Vhost.Tenant == host.Vhost.Tenant {
			return r
		}
	}
	return host
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

// A reading is one of the ways in which programs read a path.
type reading struct {
	early  bool // what stands behind a ";" in a segment is cut off before escapes are decoded,
	late   bool // or after it
	decode int  // how often
	turn   bool // "\" is "/"
	merge  bool // "//" is "/"
	dots   bool // "." and ".." are resolved (RFC 3986 §5.2.4)
}

// readings is the reading that does all of it that a path has something for.
type readings reading

// readingsOf says which differences there can be for a path.
func readingsOf(path string) readings {
	var memory [512]byte
	most := reading{}
	if strings.IndexByte(path, '%') >= 0 {
		if most.decode = 1; strings.Contains(path, "%25") {
			most.decode = 2
		}
	}
	b := reading{decode: most.decode}.of(memory[:0], path)
	most.early = strings.IndexByte(path, ';') >= 0
	most.late = bytes.IndexByte(b, ';') >= 0
	most.turn = bytes.IndexByte(b, '\\') >= 0
	most.dots = bytes.Contains(b, []byte("/.")) || most.turn && bytes.IndexByte(b, '.') >= 0
	most.merge = most.early || most.late || most.turn || most.dots || bytes.Contains(b, []byte("//"))
	return readings(most)
}

// all yields each combination, but for the path as it stands.
func (most readings) all(yield func(reading) bool) {
	for decode := range most.decode + 1 {
		for bits := range 1 << 5 {
			if bits == 0 && decode == 0 {
				continue
			}
			r := reading{
				early: bits&1 != 0, late: bits&2 != 0, turn: bits&4 != 0, merge: bits&8 != 0, dots: bits&16 != 0, decode: decode,
			}
			if r.early && !most.early || r.late && !most.late || r.turn && !most.turn || r.merge && !most.merge || r.dots && !most.dots {
				continue
			}
			if !yield(r) {
				return
			}
		}
	}
}

// of appends the path as the reading has it.
func (x reading) of(dst []byte, path string) []byte {
	b := append(dst, path...)
	if x.early {
		b = cutParameters(b)
	}
	for range x.decode {
		b = decodeEscapes(b)
	}
	if x.turn {
		for i, c := range b {
			if c == '\\' {
				b[i] = '/'
			}
		}
	}
	if x.late {
		b = cutParameters(b)
	}
	if x.merge {
		b = mergeSlashes(b)
	}
	if x.dots {
		b = resolveDots(b)
	}
	return b
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

func mergeSlashes(b []byte) []byte {
	out := b[:0]
	for _, c := range b {
		if c != '/' || len(out) == 0 || out[len(out)-1] != '/' {
			out = append(out, c)
		}
	}
	return out
}

// resolveDots removes dot segments in place. The path begins with "/".
func resolveDots(b []byte) []byte {
	out := b[:0]
	for len(b) > 0 {
		end := 1
		for end < len(b) && b[end] != '/' {
			end++
		}
		segment, last := b[:end], end == len(b) // with its "/"
		b = b[end:]
		switch string(segment) {
		case "/..":
			out = out[:max(0, bytes.LastIndexByte(out, '/'))]
		case "/.":
		default:
			out = append(out, segment...)
			continue
		}
		if last {
			out = append(out, '/')
		}
	}
	return out
}

// PathProblem returns why a path vhost answers for no request, though its document
// is good; nil: it does, or it is none. Cookies, storage and the cache's host are shared by
// all that a browser gets from one host, so all of a host is one tenant's.
func (t *Table) PathProblem(v *Vhost) *Problem {
	host, path := SplitName(v.Name)
	if path == "" {
		return nil
	}
	if r := t.Vhost(host); r != nil && r.Vhost != nil {
		if r.Vhost.Tenant == v.Tenant {
			return nil
		}
		return &Problem{Field: "tenant", Reason: "vhost " + host + " is " + whose(r.Vhost) + ", and a path of it has to be too: its requests go to " + host}
	}
	if owner := t.Match(host); owner != nil {
		return &Problem{Reason: "vhost " + owner.Name + " answers for " + host + ": name this one " + owner.Name + path + ", or add a vhost " + host}
	}
	return &Problem{Reason: "there is no vhost " + host + " that this could be a path of: add one"}
}

// whose says in words whose a vhost is.
func whose(v *Vhost) string {
	if v.Tenant == "" {
		return "without tenant"
	}
	return "tenant " + v.Tenant + "'s"
}

// TLS returns what the vhost says of TLS; of a path vhost, what its host's vhost says. nil: nothing.
func (r *Route) TLS() *TLS {
	if r.hostTLS != nil {
		return r.hostTLS
	}
	return r.Vhost.TLS
}

// Paths yields the names of the vhost's path vhosts, also of those that answer for no request, in no particular order.
func (r *Route) Paths() iter.Seq[string] {
	return func(yield func(string) bool) {
		if r.below == nil {
			return
		}
		for _, name := range r.below.names.all() {
			if !yield(name) {
				return
			}
		}
	}
}

// nest enters a path vhost at the vhost of its host, be that there or not.
func (b *builder) nest(name string) {
	host, path := SplitName(name)
	if path == "" {
		return
	}
	var next pathSet
	if paths, ok := b.t.below.get(host); ok {
		if _, there := paths.names.get(path); there {
			return
		}
		next = *paths
	}
	next.names, next.segments = next.names.with(path, name), max(next.segments, strings.Count(path, "/"))
	b.t.below = b.t.below.with(host, &next)
	b.renew(host)
}

// unnest takes back what nest entered.
func (b *builder) unnest(name string) {
	host, path := SplitName(name)
	paths, ok := b.t.below.get(host)
	if path == "" || !ok {
		return
	}
	if names := paths.names.without(path); names.len() > 0 {
		b.t.below = b.t.below.with(host, &pathSet{names, paths.segments})
	} else {
		b.t.below = b.t.below.without(host)
	}
	b.renew(host)
}

// renew puts a successor with the same document in the place of a route.
func (b *builder) renew(name string) {
	if r, ok := b.vhosts.get(name); ok {
		b.put(r.successor(r.Vhost, r.Tenant, r.Problems))
	}
}

// relate gives a route what it has from others by its name.
func (b *builder) relate(r *Route) {
	r.below, _ = b.t.below.get(r.Name)
	if host, path := SplitName(r.Name); path != "" {
		if h, ok := b.vhosts.get(host); ok && h.Vhost != nil {
			r.hostTLS = h.Vhost.TLS
		}
	}
}

// renewBelow brings a host's settings of TLS to its path vhosts.
func (b *builder) renewBelow(host *Route) {
	if host.below == nil || host.Vhost == nil {
		return
	}
	for _, name := range host.below.names.all() {
		if r, ok := b.vhosts.get(name); ok && r.hostTLS != host.Vhost.TLS {
			b.renew(name)
		}
	}
}
