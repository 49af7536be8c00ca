package acme

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/crypto/ocsp"
)

const (
	staplers       = 4 // requests at a time: one dead responder must not hold up all
	stapleMinRetry = time.Minute
	stapleMaxRetry = time.Hour
)

// stapler keeps a fresh OCSP response on each held certificate that names a
// responder. One without responder, the normal case since Let's Encrypt ended OCSP
// in 2025, costs nothing and causes no request.
type stapler struct {
	dir     string
	log     *slog.Logger
	client  *responderClient
	fetches *prometheus.CounterVec
	plan    *schedule[*leaf]
	shared  Shared // nil: this node is alone
	owner   string // of leases
	// revoked is told, once, of a certificate that the issuer has revoked.
	revoked func(*leaf)

	mu   sync.Mutex
	held map[*leaf]*stapleState
}

// stapleState is the stapler's knowledge of one leaf.
type stapleState struct {
	refs     int // names under which the leaf is held
	state    string
	this     time.Time // thisUpdate and nextUpdate of the response in use
	until    time.Time
	failures int
	err      error
}

func newStapler(o Options, fetches *prometheus.CounterVec) (*stapler, error) {
	s := &stapler{
		dir:     filepath.Join(o.Data, "ocsp"),
		log:     o.Logger,
		client:  newResponderClient(o.AllowPrivateResponders),
		fetches: fetches,
		plan:    newSchedule[*leaf](),
		shared:  o.Shared,
		owner:   o.Node + "/" + processID(),
		revoked: func(*leaf) {},
		held:    make(map[*leaf]*stapleState),
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, fmt.Errorf("acme: folder of OCSP responses: %w", err)
	}
	return s, nil
}

// hold starts to staple a leaf, at once if a stored response still verifies. A leaf
// held under several names is stapled once.
func (s *stapler) hold(l *leaf) {
	if l == nil || l.responders == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if st, ok := s.held[l]; ok {
		st.refs++
		return
	}
	st := &stapleState{refs: 1, state: StaplePending}
	s.held[l] = st
	at := time.Now()
	if resp, err := s.load(l); err == nil {
		at = s.use(l, st, resp)
	} else if !errors.Is(err, os.ErrNotExist) {
		s.log.Info("stored OCSP response not used", "names", l.names, "err", err)
	}
	s.plan.set(l, at)
}

// release undoes one hold.
func (s *stapler) release(l *leaf) {
	if l == nil || l.responders == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st, ok := s.held[l]
	if !ok {
		return
	}
	if st.refs--; st.refs > 0 {
		return
	}
	delete(s.held, l)
	s.plan.drop(l)
	for other := range s.held {
		if other.digest == l.digest { // the same certificate, loaded again
			return
		}
	}
	if err := ignoreAbsent(os.Remove(s.file(l))); err != nil {
		s.log.Warn("OCSP response not removed", "names", l.names, "err", err)
	}
}

func (s *stapler) file(l *leaf) string {
	return filepath.Join(s.dir, hex.EncodeToString(l.digest[:16])+".der")
}

// run fetches until ctx ends.
func (s *stapler) run(ctx context.Context) {
	var workers sync.WaitGroup
	for range staplers {
		workers.Go(func() {
			for {
				l, ok := s.plan.next(ctx)
				if !ok {
					return
				}
				s.refresh(ctx, l)
			}
		})
	}
	workers.Wait()
	s.client.close()
}

// refresh fetches a leaf's response, verifies it, and plans the next fetch. A
// failure keeps the old response until its nextUpdate.
func (s *stapler) refresh(ctx context.Context, l *leaf) {
	resp, later, err := s.obtain(ctx, l)
	if ctx.Err() != nil {
		return
	}
	if later > 0 {
		s.plan.set(l, time.Now().Add(later))
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st, ok := s.held[l]
	if !ok {
		return
	}
	if err == nil && resp.ThisUpdate.Before(st.this) {
		err = errors.New("ocsp: response is older than the one in use")
	}
	if err != nil {
		s.fetches.WithLabelValues("failed").Inc()
		s.plan.set(l, s.fail(l, st, err))
		return
	}
	s.fetches.WithLabelValues(statusName(resp.Status)).Inc()
	s.plan.set(l, s.use(l, st, resp))
	if err := s.store(l, resp); err != nil {
		s.log.Error("OCSP response not stored", "names", l.names, "err", err)
	}
}

func statusName(status int) string {
	if status == ocsp.Good {
		return StapleGood
	}
	return StapleRevoked
}

// use acts on a verified response and returns when to fetch the next. Only Good is
// stapled.
func (s *stapler) use(l *leaf, st *stapleState, resp *ocsp.Response) time.Time {
	st.this, st.until, st.failures, st.err = resp.ThisUpdate, resp.NextUpdate, 0, nil
	if resp.Status == ocsp.Good {
		st.state = StapleGood
		l.staple(resp.Raw)
	} else {
		if st.state != StapleRevoked {
			s.log.Error("certificate is revoked", "names", l.names, "issuer", l.issuer,
				"revoked_at", resp.RevokedAt, "reason", resp.RevocationReason)
			go s.revoked(l) // which may ask for locks that are held here
		}
		st.state = StapleRevoked
		l.staple(nil)
	}
	return nextRefresh(resp.ThisUpdate, resp.NextUpdate, time.Now())
}

// nextRefresh is half of the response's life, with jitter; past that, half of what
// is left.
func nextRefresh(this, next, now time.Time) time.Time {
	half := next.Sub(this) / 2
	at := this.Add(jitter(half))
	if !at.After(now) {
		at = now.Add(next.Sub(now) / 2)
	}
	if soonest := now.Add(stapleMinRetry); at.Before(soonest) {
		return soonest
	}
	return at
}

// fail notes a failed fetch and returns when to try again: after 1 min, 2 min, up
// to an hour, ±20 %.
func (s *stapler) fail(l *leaf, st *stapleState, err error) time.Time {
	s.dropStale(l, st)
	st.err = err
	wait := min(stapleMinRetry<<min(st.failures, 10), stapleMaxRetry)
	st.failures++
	s.log.Warn("OCSP response not refreshed", "names", l.names, "err", err, "stapled", st.state == StapleGood)
	return time.Now().Add(jitter(wait))
}

// dropStale takes a response off that has passed its nextUpdate.
func (s *stapler) dropStale(l *leaf, st *stapleState) {
	if st.state != StapleGood || time.Now().Before(st.until) {
		return
	}
	st.state = StapleExpired
	l.staple(nil)
	s.log.Warn("OCSP response expired", "names", l.names, "next_update", st.until, "must_staple", l.mustStaple)
}

// sweep drops expired responses of leaves whose next fetch is not due yet.
func (s *stapler) sweep() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for l, st := range s.held {
		s.dropStale(l, st)
	}
}

// status returns the state of a leaf, until when it holds, and the last error.
func (s *stapler) status(l *leaf) (state string, until time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st, ok := s.held[l]
	if !ok {
		return StapleNone, time.Time{}, nil
	}
	return st.state, st.until, st.err
}
