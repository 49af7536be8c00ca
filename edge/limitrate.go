package edge

import (
	"bytes"
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"gatehouse/edge/ratelimit"
	"gatehouse/internal/octets"
	"gatehouse/routes"
)

// limitRate asks the limits of the tenant and of the vhost, which all must say yes, and answers 429 if one does not. What a refused
// request has taken from others before is put back: it costs nothing.
func (s *Server) limitRate(next handler) handler {
	return func(r *request) error {
		limits := r.site.limits.list
		if len(limits) == 0 {
			r.record.Limit = "no limit"
			return next(r)
		}
		var keys [mostLimits]uint64
		now := time.Now()
		for i := range limits {
			l := &limits[i]
			keys[i] = r.limitKey(l)
			wait := l.limiter.Take(keys[i], l.rate, now)
			if wait == 0 {
				continue
			}
			for j := range i {
				limits[j].limiter.GiveBack(keys[j], limits[j].rate, now)
			}
			r.record.Limit = l.name
			r.site.meter.limited.Add(1)
			return l.refusal(wait)
		}
		r.record.Limit = "within"
		return next(r)
	}
}

// mostLimits is how many limits a request may be asked for: those of a tenant's document and of a vhost's.
const mostLimits = 2 * routes.MaxRates

// A siteLimit is a limit of a site: the buckets, which it may share with other vhosts of the tenant, and what it makes of them.
type siteLimit struct {
	limiter *ratelimit.Limiter
	rate    ratelimit.Rate
	kind    limitKind
	lower   string // of header and cookie: the name, a header's in lower case
	prefix  string // of the texts of its keys: no other limit has it
	policy  string // for RateLimit-Policy
	id      string // there
	name    string // for the record: whose it is, and what it says
}

type limitKind uint8

const (
	limitByIP limitKind = iota
	limitByHeader
	limitByCookie
	limitByPath
	limitOfAll
)

// refusal is the answer to a request that a limit does not let through.
func (l *siteLimit) refusal(wait time.Duration) *httpError {
	seconds := strconv.FormatInt(int64((wait+time.Second-1)/time.Second), 10)
	return &httpError{
		status: 429, reason: "too many requests: try again in " + seconds + " s", retryAfter: seconds,
		rateLimit: l.id + ";r=0;t=" + seconds, ratePolicy: l.policy, cause: errors.New("rate of " + l.name),
	}
}

// limitKey is the key under which a request counts. What is not in the request counts by ip, in buckets of its own: whoever leaves a
// cookie out must not be better off than who sends it. So does what is there with several values, of which no two backends take the same:
// one that changes would hide the one that counts.
func (r *request) limitKey(l *siteLimit) uint64 {
	var memory [256]byte
	text := append(memory[:0], l.prefix...)
	var value []byte
	switch l.kind {
	case limitOfAll:
		return ratelimit.KeyOf(text)
	case limitByPath:
		return ratelimit.KeyOf(appendPath(append(append(append(text, 'p'), r.site.name...), 0), r.path()))
	case limitByHeader:
		value = r.only(l.lower)
	case limitByCookie:
		value = r.cookie(l.lower)
	}
	if len(value) > 0 {
		return ratelimit.KeyOf(append(append(text, 'v'), value...))
	}
	return ratelimit.KeyOf(appendNetwork(append(text, 'i'), r.Client.Addr()))
}

// appendNetwork writes an address, of IPv6 its /64: who has one has all of it.
func appendNetwork(dst []byte, a netip.Addr) []byte {
	if a = a.Unmap(); a.Is4() {
		b := a.As4()
		return append(dst, b[:]...)
	}
	b := a.As16()
	return append(dst, b[:8]...)
}

// appendPath writes a path as most backends read it: decoded, with one slash in the place of several, and "." and ".." resolved. Else whoever
// asks for /login, //login, /a/../login and /%6Cogin in turn would have four buckets.
func appendPath(dst []byte, path string) []byte {
	begin := len(dst)
	for i := 0; i < len(path); i++ {
		c := path[i]
		if c == '%' && i+2 < len(path) {
			if v, err := strconv.ParseUint(path[i+1:i+3], 16, 8); err == nil {
				c, i = byte(v), i+2
			}
		}
		if c == '/' {
			dst = dst[:begin+resolved(dst[begin:])]
			if n := len(dst); n > begin && dst[n-1] == '/' {
				continue
			}
		}
		dst = append(dst, c)
	}
	return dst[:begin+resolved(dst[begin:])]
}

// resolved is how much of a path is left, up to a slash, if its last segment is "." or "..": above the root there is nothing.
func resolved(path []byte) int {
	n := len(path)
	switch {
	case bytes.HasSuffix(path, []byte("/.")):
		return n - 1
	case bytes.HasSuffix(path, []byte("/..")):
		return max(1, bytes.LastIndexByte(path[:n-3], '/')+1)
	}
	return n
}

// only returns the value of a field, however some backend may spell it; nil: there is none, or there are several.
func (r *request) only(lower string) (value []byte) {
	for _, f := range r.Fields {
		switch {
		case !f.Is(lower) && !isTwin(f.Name, lower):
		case value != nil && !bytes.Equal(value, f.Value):
			return nil
		default:
			value = f.Value
		}
	}
	return value
}

// cookie returns the value of the cookie of that name (RFC 6265 §5.4); nil: there is none, or there are several.
func (r *request) cookie(name string) (found []byte) {
	for _, f := range r.Fields {
		if !f.Is("cookie") {
			continue
		}
		for rest, more := octets.Text(f.Value), true; more; {
			var pair string
			pair, rest, more = strings.Cut(rest, ";")
			key, value, ok := strings.Cut(pair, "=")
			if !ok || strings.Trim(key, " \t") != name {
				continue
			}
			if value = strings.Trim(value, " \t"); found != nil && value != string(found) {
				return nil
			}
			found = octets.View(value)
		}
	}
	return found
}
