package edge

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"

	"gatehouse/cache"
	"gatehouse/internal/octets"
)

// StoredHeads writes the heads of stored responses into a snapshot of the cache, and reads them.
func StoredHeads() cache.Templates { return storedHeads{} }

// storedHeads implements cache.Templates: a byte of flags, then the lines, the backend's Strict-Transport-Security and what no client
// gets, each of the first two behind its length.
type storedHeads struct{}

var _ cache.Templates = storedHeads{}

// Version changes with the form, and with what a storedHead means.
func (storedHeads) Version() string { return "head 3" }

func (storedHeads) Append(dst []byte, template any) ([]byte, error) {
	h, ok := template.(*storedHead)
	if !ok {
		return nil, errors.New("not a stored head")
	}
	flags := byte(0)
	if h.codes {
		flags |= headCodes
	}
	if h.varying {
		flags |= headVarying
	}
	dst = binary.AppendUvarint(append(dst, flags), uint64(len(h.lines)))
	dst = binary.AppendUvarint(append(dst, h.lines...), uint64(len(h.hsts)))
	return append(append(dst, h.hsts...), h.hidden...), nil
}

const (
	headCodes   = 1
	headVarying = 2
)

var errStoredHead = errors.New("a stored head that is none")

func (storedHeads) Read(b []byte) (template any, size int, err error) {
	if len(b) == 0 || b[0] > headCodes|headVarying {
		return nil, 0, errStoredHead
	}
	flags := b[0]
	b = b[1:]
	lines, rest, ok := cutLines(b)
	hsts, hidden, ok2 := cutLines(rest)
	if !ok || !ok2 {
		return nil, 0, errStoredHead
	}
	h := &storedHead{
		lines: bytes.Clone(lines), hsts: bytes.Clone(hsts), hidden: bytes.Clone(hidden),
		codes: flags&headCodes != 0, varying: flags&headVarying != 0,
	}
	if !areFieldLines(h.lines) || !areFieldLines(h.hsts) || !areFieldLines(h.hidden) {
		return nil, 0, errStoredHead
	}
	return h, h.size(), nil
}

// cutLines cuts what stands behind its length.
func cutLines(b []byte) (lines, rest []byte, ok bool) {
	n, start := binary.Uvarint(b)
	if start <= 0 || n > uint64(len(b)-start) {
		return nil, nil, false
	}
	return b[start:][:n], b[start:][n:], true
}

// areFieldLines reports whether b is what appendField appends. What is sent as it is must not end a head, or another's
// response would begin there.
func areFieldLines(b []byte) bool {
	for len(b) > 0 {
		line, rest, ok := bytes.Cut(b, []byte("\r\n"))
		name, value, ok2 := bytes.Cut(line, []byte(": "))
		if !ok || !ok2 || !octets.IsToken(name) || !octets.IsFieldText(value) || slices.ContainsFunc(framing, field{Name: name}.Is) {
			return false
		}
		b = rest
	}
	return true
}

// framing are the fields that each answer gets for itself.
var framing = []string{"connection", "content-length", "transfer-encoding"}

// CacheOf returns the cache's account of a vhost that has the cache on; nil if there is none of that tenant and name, or its
// cache is off. It reads the table that requests see now, and needs Options.Cache.
func (s *Server) CacheOf(tenant, vhost string) *cache.Vhost {
	table := s.table.Load()
	if table == nil {
		return nil
	}
	route := table.Vhost(vhost)
	if route == nil || route.Vhost == nil {
		return nil
	}
	settings := route.Settings(s.opts.Defaults)
	if !settings.Cache || settings.Tenant != tenant {
		return nil
	}
	return s.opts.Cache.Vhost(tenant, vhost)
}

// Settled is closed when the last request has ended: after Shutdown or Handover all but upgraded connections, which may stay
// a little longer, after Close all. From then on nothing but what is written behind requests changes the cache.
func (s *Server) Settled() <-chan struct{} { return s.settled }
