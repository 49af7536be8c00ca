package redisstore

import (
	"fmt"
	"strings"

	"gatehouse/routes"
)

// The names of keys after the prefix.
const (
	frontendKey   = "frontend:"
	vhostKey      = "vhost:"
	tenantKey     = "tenant:"
	acceptLossKey = routes.AcceptLossKey
)

// scanPattern matches all frontend:, vhost: and tenant: keys in one pass, and
// little else.
const scanPattern = "[fvt][rhe][on]*:*"

// A part says which key of a document a raw key is.
type part uint8

const (
	partList part = iota + 1 // frontend:<host>
	partJSON                 // vhost:<host>, tenant:<id>
)

// A rawKey is a key as Redis has it, and what it means.
type rawKey struct {
	raw  string // with the prefix
	part part
	doc  routes.Key
}

// canonical returns the raw key that the part of a document should have.
func canonical(prefix string, doc routes.Key, p part) string {
	switch {
	case doc.Kind == routes.KindTenant:
		return prefix + tenantKey + doc.Name
	case p == partList:
		return prefix + frontendKey + doc.Name
	}
	return prefix + vhostKey + doc.Name
}

// odd reports whether a key is spelled otherwise than the canonical one of its document.
func (k rawKey) odd() bool { return !strings.HasSuffix(k.raw, canonical("", k.doc, k.part)) }

// parseKey says what a raw key means. ok is false for a key that is none of
// ours; a key that is, but whose name cannot be one, is an error.
func parseKey(prefix, raw string) (key rawKey, ok bool, err error) {
	key.raw = raw
	rest, ok := strings.CutPrefix(raw, prefix)
	if !ok {
		return key, false, nil
	}
	kind, name, _ := strings.Cut(rest, ":")
	switch kind + ":" {
	case tenantKey:
		key.part, key.doc = partJSON, routes.Key{Kind: routes.KindTenant, Name: name}
		return key, true, routes.CheckTenantName(name)
	case frontendKey:
		key.part = partList
	case vhostKey:
		key.part = partJSON
	default:
		return key, false, nil
	}
	host, err := hostOf(name)
	if err != nil {
		return key, true, fmt.Errorf("%q cannot be a host: %w", shortKey(name), err)
	}
	key.doc = routes.Key{Kind: routes.KindVhost, Name: host}
	return key, true, nil
}

// hostOf makes the host of a key canonical. Ports are dropped: hipache cuts them
// off a request's Host before it looks, so such keys were meant for the host.
func hostOf(name string) (string, error) {
	if host, path := routes.SplitName(name); path != "" {
		host, err := hostOf(host)
		if err != nil {
			return "", err
		}
		return routes.CanonicalVhost(host + path)
	}
	if rest, wildcard := strings.CutPrefix(name, "*"); wildcard {
		host, port, _ := strings.Cut(rest, ":")
		if strings.Trim(port, "0123456789") != "" {
			return "", routes.ErrBadHost
		}
		return routes.CanonicalName("*" + strings.TrimSuffix(host, "."))
	}
	return routes.CanonicalHost(name)
}

// globEscape makes a prefix match itself in SCAN's MATCH.
func globEscape(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if strings.IndexByte(`*?[]^-\`, c) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(c)
	}
	return b.String()
}
