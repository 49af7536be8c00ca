package routes

import (
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
	host     string
	names    trie[pathName]
	segments int // that a path has at most, or had
}

func (s *pathSet) key() string { return s.host }

// A pathName is the name of a path vhost, whose key is the path.
type pathName string

func (n pathName) key() string {
	_, path := SplitName(string(n))
	return path
}

// Below returns the route that answers for a target among the route of its host, as
// Match found it, and that vhost's path vhosts: the longest path of which the
// target's is, or is below. The path is compared as it stands, since that is what the
// WAF, the cache and the backend see. Where a backend that decodes escapes, resolves
// dot segments or the like could find itself in another vhost than that, there is
// ErrAmbiguousPath beside the host's route: /x/..%2fadmin must not reach with the
// settings of one vhost what the other one guards.
//
// For a host without path vhosts it costs a comparison, and for a hostile path what maxReadings
// bounds. It does not allocate.
func (t *Table) Below(host *Route, target string) (*Route, error) {
	if host.rarely().below == nil {
		return host, nil
	}
	path, _, _ := strings.Cut(target, "?")
	route := t.longest(host, path)
	if plainPath(path) {
		return route, nil
	}
	if anyReading(path, func(x *readings) bool {
		return t.longest(host, unsafe.String(unsafe.SliceData(x.read), len(x.read))) != route // kept by nobody
	}) {
		return host, ErrAmbiguousPath
	}
	return route, nil
}

// longest returns the route of the longest path vhost that has the path, or the host's.
func (t *Table) longest(host *Route, path string) *Route {
	below := host.rarely().below
	end, segments := 1, 0
	for ; end < len(path) && end <= maxNamePath; end++ {
		if path[end] == '/' {
			if segments++; segments == below.segments {
				break
			}
		}
	}
	for end = min(end, len(path)); end > 0; end = strings.LastIndexByte(path[:end], '/') {
		name, ok := below.names.get(path[:end])
		if !ok {
			continue
		}
		if r, ok := t.vhosts.get(string(name)); ok && isPathOf(r, host) {
			return r
		}
	}
	return host
}

// TLS returns what the vhost says of TLS; of a path vhost, what its host's vhost says. nil: nothing.
func (r *Route) TLS() *TLS {
	if tls := r.rarely().hostTLS; tls != nil {
		return tls
	}
	return r.Vhost.TLS
}

// IsSuspended reports whether nothing but errors is served for the route: its vhost is suspended, or its tenant or, of a path vhost, the vhost of its host.
func (r *Route) IsSuspended() bool {
	return r.Vhost != nil && (r.rarely().hostSuspended || r.Vhost.IsSuspended() || r.Tenant.IsSuspended())
}

// Paths yields the names of the vhost's path vhosts, also of those that answer for no request, in no particular order.
func (r *Route) Paths() iter.Seq[string] {
	return func(yield func(string) bool) {
		below := r.rarely().below
		if below == nil {
			return
		}
		for name := range below.names.all() {
			if !yield(string(name)) {
				return
			}
		}
	}
}

// Paths yields the routes of a vhost's path vhosts that answer for requests, in no particular order.
func (t *Table) Paths(host *Route) iter.Seq[*Route] {
	return func(yield func(*Route) bool) {
		for name := range host.Paths() {
			if r, ok := t.vhosts.get(name); ok && isPathOf(r, host) && !yield(r) {
				return
			}
		}
	}
}

// isPathOf reports whether the route of a path vhost answers for requests of its host.
func isPathOf(r, host *Route) bool { return r.Vhost != nil && r.Vhost.Tenant == host.Vhost.Tenant }

// nest enters a path vhost at the vhost of its host, be that there or not.
func (b *builder) nest(name string) {
	host, path := SplitName(name)
	if path == "" {
		return
	}
	next := pathSet{host: host}
	if paths, ok := b.t.below.get(host); ok {
		if _, there := paths.names.get(path); there {
			return
		}
		next = *paths
	}
	next.names, next.segments = next.names.with(pathName(name)), max(next.segments, strings.Count(path, "/"))
	b.t.below = b.t.below.with(&next)
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
		b.t.below = b.t.below.with(&pathSet{host, names, paths.segments})
	} else {
		b.t.below = b.t.below.without(host)
	}
	b.renew(host)
}

// renew puts a successor with the same document in the place of a route.
func (b *builder) renew(name string) {
	if r, ok := b.vhosts.get(name); ok {
		b.put(r.successor(r.Vhost, r.Tenant, r.Problems()))
	}
}

// relate gives a route what it has from others by its name.
func (b *builder) relate(r *Route) {
	if below, ok := b.t.below.get(r.Name); ok {
		r.toRare().below = below
	}
	if host, path := SplitName(r.Name); path != "" {
		if h, ok := b.vhosts.get(host); ok && h.Vhost != nil {
			r.toRare().hostTLS, r.toRare().hostSuspended = h.Vhost.TLS, h.Vhost.IsSuspended()
		}
	}
}

// renewBelow brings a host's settings of TLS, and whether it is suspended, to its path vhosts, if that is other than before.
func (b *builder) renewBelow(host, before *Route) {
	if host.rarely().below == nil || host.Vhost == nil {
		return
	}
	tls, suspended := host.Vhost.TLS, host.Vhost.IsSuspended()
	if before != nil && before.Vhost != nil && before.Vhost.TLS == tls && before.Vhost.IsSuspended() == suspended {
		return
	}
	for name := range host.rarely().below.names.all() {
		if r, ok := b.vhosts.get(string(name)); ok && (r.rarely().hostTLS != tls || r.rarely().hostSuspended != suspended) {
			b.renew(string(name))
		}
	}
}

// releaseBelow ends for its path vhosts that a host was suspended which is gone.
func (b *builder) releaseBelow(host *Route) {
	if paths, ok := b.t.below.get(host.Name); ok && host.IsSuspended() {
		for name := range paths.names.all() {
			b.renew(string(name))
		}
	}
}
