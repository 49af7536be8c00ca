package edge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"gatehouse/edge/balance"
	"gatehouse/edge/upstream"
	"gatehouse/routes"
)

type (
	backendMember  = balance.Member[*upstream.Pool]
	backendAttempt = balance.Attempt[*upstream.Pool]
)

// openPools gives a site its backends. The pool of the site before is kept, with its turn, if it would be the same.
func (s *Server) openPools(st *site, route *routes.Route, old *site) error {
	if st.fixed != nil {
		return nil
	}
	specs := make([]balance.Spec[*upstream.Pool], 0, len(route.Vhost.Backends))
	for _, b := range route.Vhost.Backends {
		key := poolKey{st.owner, b.URL, st.settings.ConnectTimeout, st.settings.FirstByte, tlsKey(b.TLS)}
		pool, err := st.backends.pool(key, func() (*upstream.Pool, error) {
			o, err := s.poolOptions(st.owner, &b, key.connect, key.firstByte)
			if err != nil {
				return nil, err
			}
			return upstream.NewPool(o)
		})
		if err != nil {
			return fmt.Errorf("backend of vhost %s: %w", route.Name, err)
		}
		spec := balance.Spec[*upstream.Pool]{
			Backend: pool, Name: pool.String(), Weight: b.Weight, State: st.backends.state(newBackendKey(st.owner, pool.String(), key.tls, key.connect, key.firstByte)),
		}
		if t, ok := targetOf(route.Vhost, &b); ok {
			if known := s.checks.of(t); known != nil { // else the route is not in force any more
				spec.Check = &known.Check
			}
		}
		specs = append(specs, spec)
	}
	if len(specs) == 0 {
		return errNoBackend
	}
	if old != nil && old.pool != nil && old.settings.Balance == st.settings.Balance && sameBackends(old.pool, specs) {
		st.pool = old.pool
	} else {
		st.pool = balance.New(balance.Policy(st.settings.Balance), specs)
	}
	s.stick(st)
	return nil
}

// poolOptions are how an owner's backends are reached, for requests and for checks.
func (s *Server) poolOptions(owner string, b *routes.Backend, connect, firstByte time.Duration) (upstream.Options, error) {
	config, err := s.backendTLS(owner, b)
	return upstream.Options{
		Address: b.URL, ConnectTimeout: connect, FirstByteTimeout: firstByte, MaxIdle: idleToBackend,
		ResponseHeader: s.opts.Limits.ResponseHeader, ResponseFields: s.opts.Limits.ResponseHeaderFields,
		Dial: s.dial, TLS: config, Resolver: s.names, Owner: owner,
	}, err
}

func sameBackends(pool *balance.Pool[*upstream.Pool], specs []balance.Spec[*upstream.Pool]) bool {
	return slices.EqualFunc(pool.Members(), specs, func(m *backendMember, b balance.Spec[*upstream.Pool]) bool {
		return m.Backend == b.Backend && m.State() == b.State && m.Check() == b.Check && m.Weight() == max(b.Weight, 1)
	})
}

// pickBackend chooses the backend that is asked first.
func (r *request) pickBackend() (backendAttempt, bool) {
	pool := r.site.pool
	if r.site.sticky == nil {
		return r.pick(nil, false)
	}
	tags := r.site.sticky.tagsFor(r.srv.stickyKey.Load(), r.site)
	if m := tags.member(r); m != nil {
		if a, ok := pool.PickMember(m); ok {
			return a, true // it may have to wait there: what the client left at that backend is nowhere else
		}
	}
	a, ok := r.pick(nil, false)
	if ok {
		r.stickTo(tags, a.Member())
	}
	return a, ok
}

// maxSegment is how much of a path's first segment tells requests apart.
const maxSegment = 128

// backendHash is that by which the vhost's policy chooses a backend. 0: it goes by none.
func (r *request) backendHash() uint64 {
	if !r.site.pool.Hashes() {
		return 0
	}
	switch balance.Policy(r.site.settings.Balance) {
	case balance.HashHost:
		return balance.Hash(r.Host)
	case balance.HashPathSegment:
		var segment [maxSegment]byte
		return balance.Hash(appendFirstSegment(segment[:0], r.site.stripped(r.Target)))
	}
	client := r.Client.Addr().Unmap()
	if client.Is4() {
		four := client.As4()
		return balance.Hash(four[:])
	}
	sixteen := client.As16()
	return balance.Hash(sixteen[:8]) // the /64: a host changes its address within it as it likes (RFC 8981)
}

// appendFirstSegment appends the first segment of a path, up to maxSegment bytes of it, as backends read it: unescaped, and without
// regard to the case of ASCII letters, or /Fred and /fred would be two users of a site that takes them for one.
func appendFirstSegment(dst []byte, target string) []byte {
	for target != "" && target[0] == '/' {
		target = target[1:]
	}
	for i := 0; i < len(target) && len(dst) < maxSegment; i++ {
		c := target[i]
		if c == '/' || c == '?' || c == '#' {
			break
		}
		if c == '%' && i+2 < len(target) && isHexDigit(target[i+1]) && isHexDigit(target[i+2]) {
			c = hexValue(target[i+1])<<4 | hexValue(target[i+2])
			i += 2
		}
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		dst = append(dst, c)
	}
	return dst
}

func isHexDigit(c byte) bool { return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f' }

func hexValue(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}

// backendOutcome is what a round trip says of its backend. A kept connection that ended, a client that left and a shortage of
// descriptors say nothing.
func backendOutcome(answer *upstream.Response, err error) balance.Outcome {
	if err == nil {
		switch answer.Status {
		case 502, 503, 504:
			return balance.Failed
		}
		return balance.Answered
	}
	up, ok := errors.AsType[*upstream.Error](err)
	switch {
	case !ok || up.Stale || up.Op == upstream.OpBody, errors.Is(err, upstream.ErrBadRequest), errors.Is(err, context.Canceled),
		errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return balance.Unknown
	case up.Op == upstream.OpConnect:
		return balance.Unreachable
	}
	return balance.Failed
}

// Why a backend was ejected, as counted.
var ejectionReasons = map[balance.Outcome]string{balance.Unreachable: "unreachable", balance.Failed: "failing"}

// report passes the outcome on, and tells when it ejects the backend, or brings it back.
func (s *Server) report(r *request, attempt *backendAttempt, answer *upstream.Response, err error) {
	o := backendOutcome(answer, err)
	reason := ""
	if o == balance.Failed || o == balance.Unreachable {
		reason = failureText(answer, err)
		attempt.Member().State().Note(reason) // first: whoever sees the failure sees why
	}
	length := attempt.Report(o)
	if attempt.BroughtBack() {
		s.log.Info("backend is back", "vhost", r.site.name, "tenant", r.site.tenant, "backend", attempt.Member().Backend.String())
	}
	if length == 0 {
		return
	}
	s.metrics.ejections.WithLabelValues(r.site.tenant, ejectionReasons[o]).Inc()
	s.log.Warn("backend ejected", "vhost", r.site.name, "tenant", r.site.tenant, "backend", attempt.Member().Backend.String(),
		"why", ejectionReasons[o], "for", length.Round(100*time.Millisecond), "last", reason)
}

// failureText is what a failure was, for the operator.
func failureText(answer *upstream.Response, err error) string {
	if err == nil {
		return fmt.Sprintf("answered %d", answer.Status)
	}
	if up, ok := errors.AsType[*upstream.Error](err); ok && up.Timeout && up.Op != upstream.OpConnect {
		return "no answer in time"
	}
	text := strings.TrimPrefix(err.Error(), "backend ")
	return text[:min(len(text), 200)]
}
