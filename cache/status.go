package cache

import (
	"strconv"
	"time"
)

// Name is this cache's name in Cache-Status.
const Name = "gatehouse"

// Outcome is what became of a request that was forwarded.
type Outcome struct {
	// Forwarded: the request went to the backend, whatever answers it now.
	Forwarded bool
	// Collapsed: another request with the same key went in its place (RFC 9211 §2.6).
	Collapsed bool
	// Status is the origin's status if the client got another one, else 0
	// (RFC 9211 §2.3: fwd-status).
	Status int
	Stored bool // Put returned true
	// Detail says why the response was not stored: a Decision.Reason,
	// "admission" after a refused Put, or a word of the caller's. Empty: the
	// Lookup's detail.
	Detail string
}

// FormatStatus appends the Cache-Status field value (RFC 9211) for l to dst:
//
//	gatehouse; hit; ttl=57
//	gatehouse; hit; ttl=-3; detail=stale-while-revalidate
//	gatehouse; fwd=stale; fwd-status=503; detail=stale-if-error
//	gatehouse; fwd=stale; fwd-status=304; stored
//	gatehouse; fwd=uri-miss; stored
//	gatehouse; fwd=uri-miss; detail=set-cookie
//	gatehouse; detail=only-if-cached
//
// Of a hit that was forwarded (o.Forwarded) it says what became of that; else o is not read for a hit.
func FormatStatus(dst []byte, l *Lookup, o Outcome) []byte {
	dst = append(dst, Name...)
	switch {
	case l.Entry != nil && !o.Forwarded:
		dst = append(dst, "; hit; ttl="...)
		dst = strconv.AppendInt(dst, int64(l.TTL/time.Second), 10)
		return appendDetail(dst, l.Detail)
	case l.OnlyIfCached:
		return append(dst, "; detail=only-if-cached"...)
	}
	dst = append(dst, "; fwd="...)
	dst = append(dst, l.Forward...)
	if o.Status != 0 {
		dst = append(dst, "; fwd-status="...)
		dst = strconv.AppendInt(dst, int64(o.Status), 10)
	}
	if o.Stored {
		dst = append(dst, "; stored"...)
	}
	if o.Collapsed {
		dst = append(dst, "; collapsed"...)
	}
	if o.Stored && l.Detail != detailBlind {
		return dst
	}
	if o.Detail == "" {
		o.Detail = l.Detail
	}
	return appendDetail(dst, o.Detail)
}

// appendDetail appends s as a token if it is one (RFC 8941 §3.3.4), else as a
// string without what a string cannot hold.
func appendDetail(dst []byte, s string) []byte {
	if s == "" {
		return dst
	}
	dst = append(dst, "; detail="...)
	if first := s[0] | 0x20; (first >= 'a' && first <= 'z') && tokenLen([]byte(s)) == len(s) {
		return append(dst, s...)
	}
	dst = append(dst, '"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c < ' ' || c > '~':
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}
