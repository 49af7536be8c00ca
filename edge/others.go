package edge

import (
	"errors"
	"time"

	"gatehouse/edge/upstream"
)

// tries are those of a request that a backend failed.
type tries struct {
	failed   []*backendMember
	kept     *backendMember // whose kept connection has ended: a fresh one may be as good as another backend
	repeated bool           // there is one repetition
	owes     *upstream.Budget
}

// tryOthers goes on with a request that failed at first, in an attempt that doubted its health or not. What a backend refuses to take is passed on until
// one takes it: nothing was sent, nobody had to do with it. Beside that a request is repeated once, if that cannot do harm and the site's
// budget has room: on another backend or, if there is none and a kept connection was closed at the wrong moment, on a fresh one.
func (s *Server) tryOthers(r *request, out *upstream.Request, first *backendMember, doubted bool, err error) (*upstream.Response, backendAttempt, error) {
	t := tries{repeated: r.cached.repeats}
	defer t.end()
	for failed := first; ; {
		fault, ok := errors.AsType[*upstream.Error](err)
		if !ok || !fault.Repeatable || !fault.Refused && t.repeated || !r.body.rewind() {
			return nil, backendAttempt{}, err
		}
		next, ok := r.another(&t, failed, fault)
		if !ok {
			return nil, backendAttempt{}, err
		}
		if !s.mayRepeat(r, &t, fault, doubted) {
			next.Done()
			return nil, backendAttempt{}, err
		}
		out.Fresh = true
		failed, doubted = next.Member(), next.DespiteHealth()
		var answer *upstream.Response
		if answer, err = s.ask(r, &next, out); err == nil {
			return answer, next, nil
		}
	}
}

// mayRepeat reports whether the request may be sent once more, and counts that. It takes nothing of the budget where nothing was sent to who
// refused, nor to one that was asked although it was out: that is no load on backends that fail under load.
func (s *Server) mayRepeat(r *request, t *tries, fault *upstream.Error, doubted bool) bool {
	result := "taken"
	switch {
	case fault.Refused:
		result = "unsent"
	case doubted && fault.Op == upstream.OpConnect:
		result, t.repeated = "unsent", true // once: it has waited
	case r.site.budget.Take(time.Now()):
		t.owes, t.repeated = r.site.budget, true
	default:
		result = "refused"
	}
	s.metrics.retries.WithLabelValues(result).Inc()
	return result != "refused"
}

// end gives back what was taken of the budget.
func (t *tries) end() {
	if t.owes != nil {
		t.owes.Release()
	}
}

// another picks who may get a request after one has failed.
func (r *request) another(t *tries, failed *backendMember, fault *upstream.Error) (attempt backendAttempt, ok bool) {
	t.failed = append(t.failed, failed)
	if fault.Stale {
		t.kept = failed
	}
	if attempt, ok = r.pick(t.failed, t.kept != nil); !ok {
		if t.kept == nil {
			return backendAttempt{}, false // it would fail again
		}
		attempt = r.site.pool.Begin(t.kept)
		t.kept = nil
	}
	if r.site.sticky != nil {
		r.stickTo(r.site.sticky.tagsFor(r.srv.stickyKey.Load(), r.site), attempt.Member())
	}
	return attempt, true
}
