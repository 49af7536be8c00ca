package ratelimit

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// A Ledger keeps what the nodes of a fleet have taken from their buckets. Sharing calls it from one goroutine; a call ends by
// itself within a bounded time.
type Ledger interface {
	// Settle notes what was taken and returns how the buckets stand after it, in the order of the reports. A standing
	// without Nodes is of a report that was not noted.
	Settle(ctx context.Context, reports []Report) ([]Standing, error)
	// Nodes says that this node is there, and returns how many are, this one among them.
	Nodes(ctx context.Context) (int, error)
}

// A Report is what a node has taken from one bucket.
type Report struct {
	Owner string // see NewRoom
	Key   uint64
	Rate  Rate
	Taken int           // tokens; 0: it only asks
	Over  time.Duration // the time in which it took them, until now
}

// MostOwed is the most that a bucket may owe.
func (r Report) MostOwed() time.Duration { return r.Rate.mostOwed() }

// A Standing is how a bucket stands.
type Standing struct {
	Owed  time.Duration // the time in which it will be full, if nobody takes anything
	Nodes int           // that took from it, or asked, within the last moments, the one that reports among them
}

// SharingOptions configure a Sharing. Ledger is required.
type SharingOptions struct {
	Ledger Ledger
	Logger *slog.Logger // nil discards
}

// Sharing has the limiters of this node count together with those of others.
//
// A request is decided by what this node knows, and never waits. Behind it the node reports what it has taken from a bucket, once that is a
// part of it (a quarter of its burst, divided by the number of nodes) or once a request was refused, and learns what all have taken, and how many nodes
// take from that bucket. Until the next report it lets through its share of what is left: between n nodes a request
// counts n times. In effect a report leases tokens, and the next one settles them.
//
// How exact that is: a bucket that n nodes take from lets through as many requests in the long run as one node alone would. Before they
// have heard of each other, which takes a report (Interval and the ledger's answer), each may let through a burst: from a full bucket n-1 bursts too
// many at most, of which one is paid back by waiting. A client that comes to one node is never refused what he has. While the ledger
// does not answer, a node goes on with its share: of buckets that were reported, as long as it is known who takes from them; of
// others, one of as many parts as there are nodes.
//
// The zero value is not usable; see NewSharing. It is safe for concurrent use.
type Sharing struct {
	ledger Ledger
	log    *slog.Logger

	limiters atomic.Int64  // that are open
	nodes    atomic.Int64  // that are there, as last known; at least 1
	away     atomic.Bool   // the ledger did not answer the last call
	known    atomic.Bool   // it has answered a call
	waking   atomic.Bool   // somebody has called, or does
	woken    chan struct{} // has one

	mu    sync.Mutex
	ready []*Room // that have claims, each once

	reported, failed, putOff atomic.Uint64

	// What the goroutine of Run has alone.
	beaten time.Time
}

const (
	// Interval is the least time between two rounds of reports.
	Interval = 25 * time.Millisecond
	// beatEvery is how often a node says that it is there.
	beatEvery = 5 * time.Second
	// retryAfter is the time until a ledger that did not answer is asked again.
	retryAfter = time.Second
	// roundClaims is about how many reports a round has, roomClaims how many of one owner. What is more is put off until the
	// bucket's next request: a flood of keys takes up its owner's part of a round, and no one else's.
	roundClaims, roomClaims = 1024, 128
)

// NewSharing makes a Sharing. It begins with Run.
func NewSharing(o SharingOptions) *Sharing {
	s := &Sharing{ledger: o.Ledger, log: o.Logger, woken: make(chan struct{}, 1)}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.nodes.Store(1)
	return s
}

// Shared reports whether other nodes' requests are known of at present.
func (s *Sharing) Shared() bool { return s.known.Load() && !s.away.Load() }

// Reports is how many reports were noted by the ledger, got no answer, or were put off since there were too many.
func (s *Sharing) Reports() (noted, failed, putOff uint64) {
	return s.reported.Load(), s.failed.Load(), s.putOff.Load()
}

func (s *Sharing) opened() {
	s.limiters.Add(1)
	s.wake()
}

func (s *Sharing) closed() { s.limiters.Add(-1) }

// unreported is how many tokens of a bucket may be taken without a report.
func (s *Sharing) unreported(r Rate) uint32 {
	return uint32(max(1, r.burst()/(4*s.nodes.Load())))
}

// unknownShare is by how many nodes a bucket is divided that was never reported: by all while nothing can be learned of
// others, else by none, since most clients come to one node.
func (s *Sharing) unknownShare() int64 {
	if s.away.Load() {
		return s.nodes.Load()
	}
	return 1
}

func (s *Sharing) wake() {
	if !s.waking.Swap(true) {
		select {
		case s.woken <- struct{}{}:
		default:
		}
	}
}

// A claim is a bucket that has something to report.
type claim struct {
	limiter *Limiter
	key     uint64
	rate    Rate
}

// report has a claim reported in the next round; false: its owner has too many.
func (r *Room) report(c claim) bool {
	s := c.limiter.sharing
	r.mu.Lock()
	if len(r.claims) >= roomClaims {
		r.mu.Unlock()
		s.putOff.Add(1)
		return false
	}
	r.claims = append(r.claims, c)
	first := len(r.claims) == 1
	r.mu.Unlock()
	if first {
		s.mu.Lock()
		s.ready = append(s.ready, r)
		s.mu.Unlock()
	}
	s.wake()
	return true
}

// unqueue has a bucket's next request try again to have it reported.
func (l *Limiter) unqueue(key uint64) {
	sh, place := l.at(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if b := sh.lookup(key, place); b != nil {
		b.state = idle
	}
}

// Run reports until ctx ends, and returns ctx's error. It is called once. Without an open limiter it asks the ledger for nothing.
func (s *Sharing) Run(ctx context.Context) error {
	beat := time.NewTicker(beatEvery)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.woken:
		case <-beat.C:
		}
		s.waking.Store(false)
		if s.limiters.Load() == 0 {
			continue
		}
		pause := Interval
		if err := s.round(ctx); err != nil {
			pause = retryAfter
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
		s.answered(pause == Interval)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		if s.away.Load() {
			s.wake() // it is asked again, also if nothing is to be reported
		}
	}
}

// answered notes whether the ledger has answered.
func (s *Sharing) answered(did bool) {
	if did {
		s.known.Store(true)
	}
	if s.away.Swap(!did) == !did {
		return
	}
	if did {
		s.log.Info("rate limits are counted together with other nodes again")
	} else {
		s.log.Warn("rate limits are counted by this node alone, with its share of them: the ledger does not answer")
	}
}

// round reports what waits.
func (s *Sharing) round(ctx context.Context) error {
	if now := time.Now(); s.away.Load() || now.Sub(s.beaten) >= beatEvery {
		n, err := s.ledger.Nodes(ctx)
		if err != nil {
			s.log.Debug("rate limits: nodes are not known", "err", err)
			return err
		}
		s.nodes.Store(int64(max(1, n)))
		s.beaten = now
	}
	claims, reports := s.collect()
	if len(reports) == 0 {
		return nil
	}
	standings, err := s.ledger.Settle(ctx, reports)
	if err != nil {
		s.log.Debug("rate limits: nothing was settled", "err", err)
	}
	for i, c := range claims {
		var st Standing
		if i < len(standings) {
			st = standings[i]
		}
		c.settle(st)
		if st.Nodes > 0 {
			s.reported.Add(1)
		} else {
			s.failed.Add(1)
		}
	}
	if len(s.waiting()) > 0 {
		s.wake()
	}
	return err
}

func (s *Sharing) waiting() []*Room {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ready
}

// collect takes claims, of one owner after the other, and makes reports of them.
func (s *Sharing) collect() (claims []claim, reports []Report) {
	for len(reports) < roundClaims {
		s.mu.Lock()
		if len(s.ready) == 0 {
			s.mu.Unlock()
			break
		}
		room := s.ready[0]
		s.ready = s.ready[1:]
		s.mu.Unlock()
		room.mu.Lock()
		taken := room.claims
		room.claims = nil
		room.mu.Unlock()
		for _, c := range taken {
			if taken, over, ok := c.begin(); ok {
				claims = append(claims, c)
				reports = append(reports, Report{Owner: room.owner, Key: c.key, Rate: c.rate, Taken: taken, Over: over})
			}
		}
	}
	return claims, reports
}

// begin takes what is to be reported; false: the key has lost its place.
func (c claim) begin() (taken int, over time.Duration, ok bool) {
	l := c.limiter
	sh, place := l.at(c.key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	b := sh.lookup(c.key, place)
	if b == nil {
		return 0, 0, false
	}
	taken, over = int(b.spent), time.Duration(max(0, l.clock(time.Now())-b.since))
	b.spent, b.state = 0, settled
	return taken, over, true
}

// settle brings the bucket up to how it stands. Where that is not known it stays as this node sees it, and what was reported is not reported again:
// the ledger may have noted it.
func (c claim) settle(st Standing) {
	l := c.limiter
	sh, place := l.at(c.key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	b := sh.lookup(c.key, place)
	if b == nil || b.state != settled {
		return
	}
	b.state = idle
	if st.Nodes == 0 {
		return
	}
	b.nodes = uint16(min(st.Nodes, 1<<16-1))
	now := l.clock(time.Now())
	b.full = now + int64(min(max(0, st.Owed), c.rate.mostOwed())) + int64(b.spent)*c.rate.interval*int64(b.nodes)
}
