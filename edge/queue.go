package edge

import (
	"container/list"
	"context"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"gatehouse/edge/upstream"
	"gatehouse/routes"
)

// longAnswer is how long an answer may go on after its head until it counts no more among its tenant's requests: event streams,
// downloads of slow clients. One client could else have all places of a site by taking its answers slowly.
const longAnswer = 5 * time.Second

// tellBusy is how often the log tells that requests of the same tenant are refused.
const tellBusy = 30 // seconds

// Why requests get no place, as counted.
const (
	busyFull    = "queue_full"
	busyTimeout = "queue_timeout"
)

// A busyError is why a request got no place. It is for the operator.
type busyError struct {
	reason  string // one of the above
	backend string // whose places they are; "": all of the tenant's
}

func (e *busyError) Error() string {
	whose := "the tenant's backends have"
	if e.backend != "" {
		whose = "the backend " + e.backend + " has"
	}
	if e.reason == busyFull {
		return whose + " as many requests as they may, and as many wait as may"
	}
	return whose + " as many requests as they may; waited too long"
}

// A queued request waits for a place.
type queued struct {
	r       *request
	waiting waiting
	gone    chan struct{} // closed when nobody wants the answer any more
	isGone  atomic.Bool
}

// left implements leaver: others may want the answer still.
func (q *queued) left() {
	if f := q.r.cached.flight; f == nil || f.Waiting() == 0 {
		q.cut()
	}
}

// cut implements leaver.
func (q *queued) cut() {
	if q.isGone.CompareAndSwap(false, true) {
		close(q.gone)
	}
}

// enter takes one of the places, and waits for it if none is free. backend is whose they are, see busyError.
func (s *Server) enter(r *request, p *places, backend string) error {
	if p.take() {
		return nil
	}
	came, place := p.join(s.opts.Limits.TenantQueue)
	if came == nil {
		return s.busy(r, p, busyFull, backend)
	}
	return s.await(r, p, came, place, backend)
}

// await waits for a place that came tells of. All waits of a request together take no longer than one may.
func (s *Server) await(r *request, p *places, came chan struct{}, place *list.Element, backend string) error {
	q := &queued{r: r, gone: make(chan struct{})}
	q.waiting.who, q.waiting.shard = q, rand.IntN(waiterShards)
	if r.Upgrade == "" {
		q.waiting.conn = r.conn
	}
	s.waiters.add(&q.waiting)
	defer s.waiters.remove(&q.waiting)
	s.metrics.queued.Inc()
	defer s.metrics.queued.Dec()
	begun := time.Now()
	defer func() { r.queued += time.Since(begun) }()
	timer := time.NewTimer(s.opts.Limits.QueueTime - r.queued)
	defer timer.Stop()
	select {
	case <-came:
		return nil
	case <-timer.C:
		if p.giveUp(came, place) {
			return s.busy(r, p, busyTimeout, backend)
		}
		return nil
	case <-q.gone:
		if !p.giveUp(came, place) {
			p.leave()
		}
	}
	if s.waiters.closed.Load() {
		return fail(503, "the server is going away", context.Canceled)
	}
	return &httpError{status: 499, reason: "client closed the connection", cause: context.Canceled}
}

// busy counts a request that got no place, and returns its error.
func (s *Server) busy(r *request, p *places, reason, backend string) error {
	s.metrics.busy.WithLabelValues(r.site.tenant, reason).Inc()
	err := &busyError{reason, backend}
	now := time.Now().Unix()
	if told := p.told.Load(); now-told >= tellBusy && p.told.CompareAndSwap(told, now) {
		s.log.Warn("requests are refused: too many at a time", "of", r.site.owner, "vhost", r.site.name, "most", p.most.Load(),
			"waiting", p.waits.Load(), "err", err)
	}
	return fail(503, "the site is busy", err)
}

// isBusy reports whether a request got no place, which the log is told of by busy.
func isBusy(err error) bool {
	_, ok := errors.AsType[*busyError](err)
	return ok
}

// shedLoad refuses requests that would get no place, before they are inspected: under a flood that is most of the work. Those of a
// vhost with a cache may be answered from that, and one without backends takes no place.
func (s *Server) shedLoad(next handler) handler {
	return func(r *request) error {
		if p := r.site.places; r.site.cache == nil && r.site.fixed == nil && p.full() && p.waits.Load() >= int64(s.opts.Limits.TenantQueue) {
			return s.busy(r, p, busyFull, "")
		}
		return next(r)
	}
}

// givePlaces has the site's requests take places: its owner's, and those of backends that have their own. old is an outdated table's.
func (s *Server) givePlaces(st *site, route *routes.Route, old bool) {
	st.places = s.places.get(placesKey{owner: st.owner})
	if !old {
		most := st.settings.Concurrency
		if most == 0 {
			most = max(0, s.opts.Limits.TenantConcurrency)
		}
		st.places.bound(most)
	}
	if st.pool == nil {
		return
	}
	for _, b := range route.Vhost.Backends {
		if b.Concurrency == 0 {
			continue
		}
		for _, m := range st.pool.Members() {
			if a, err := upstream.ParseAddress(b.URL); err == nil && m.Backend.String() == a.String() {
				if st.limited == nil {
					st.limited = map[*upstream.Pool]*places{}
				}
				st.limited[m.Backend] = s.places.get(placesKey{st.owner, a.String(), b.Concurrency})
			}
		}
	}
}

// pick begins an attempt with a backend that has not failed the request: one with a free place, if there is any that is well. wellOnly: it
// finds nobody rather than one that is not.
func (r *request) pick(failed []*backendMember, wellOnly bool) (first backendAttempt, ok bool) {
	st, hash := r.site, r.backendHash()
	if wellOnly {
		first, ok = st.pool.PickInstead(hash, failed, nil)
	} else {
		first, ok = st.pool.Pick(hash, failed)
	}
	if !ok || st.hasRoom(first.Member()) {
		return first, ok
	}
	var full []*backendMember
	for last := first.Member(); ; {
		full = append(full, last)
		next, ok := st.pool.PickInstead(hash, failed, full)
		if !ok {
			return first, true
		}
		if last = next.Member(); st.hasRoom(last) {
			first.Done()
			return next, true
		}
		next.Done()
	}
}

// hasRoom reports whether a request would not have to wait at a backend.
func (st *site) hasRoom(m *backendMember) bool {
	p := st.limited[m.Backend]
	return p == nil || !p.full()
}

// enterBackend takes a place at a backend that has its own. Who waits for it leaves his tenant's place to others meanwhile, and then takes one again: one
// slow backend could else stop all sites of its tenant.
func (s *Server) enterBackend(r *request, backend *upstream.Pool) error {
	p, b := r.site.limited[backend], r.outbound
	if p == nil {
		return nil
	}
	if !p.take() {
		if err := s.waitAtBackend(r, p, backend.String()); err != nil {
			return err
		}
	}
	b.backend = p
	return nil
}

func (s *Server) waitAtBackend(r *request, p *places, backend string) error {
	tenant, b := r.site.places, r.outbound
	if !tenant.goAway(s.opts.Limits.TenantQueue) {
		return s.busy(r, p, busyFull, backend)
	}
	b.leaveTenant()
	err := s.enter(r, p, backend)
	tenant.back()
	if err != nil {
		return err
	}
	came, place := tenant.rejoin()
	if err := s.await(r, tenant, came, place, ""); err != nil {
		p.leave()
		return err
	}
	b.place.Store(tenant)
	return nil
}

// leaveTenant gives the tenant's place back, if it was not yet.
func (b *outbound) leaveTenant() {
	if p := b.place.Swap(nil); p != nil {
		p.leave()
	}
}

// leaveBackendPlace gives the place at the backend back.
func (b *outbound) leaveBackendPlace() {
	if b.backend != nil {
		b.backend.leave()
		b.backend = nil
	}
}

// grow is called now and then while the round trip is under way, see longAnswer.
func (b *outbound) grow() {
	if at := b.answeredAt.Load(); at != 0 && time.Now().UnixNano()-at >= int64(longAnswer) {
		b.leaveTenant()
	}
}
