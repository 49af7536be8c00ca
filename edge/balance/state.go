package balance

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxFailures in a row eject a backend that answers.
	maxFailures = 5
	// ejection is the first one's time; the n-th in a row lasts n times as long, maxEjection at most. Each is made longer or shorter
	// by up to a fifth, the longest ones too: cut off at a bound they would end on all nodes at once.
	ejection    = 10 * time.Second
	maxEjection = 300 * time.Second
	// trialTime is how long a backend whose ejection is over is tried by one request before another may try it, too.
	trialTime = 3 * time.Second
)

// An Outcome is what an attempt says of its backend.
type Outcome uint8

// The outcomes.
const (
	Unknown     Outcome = iota // nothing: the client has left, or the fault is ours
	Answered                   // it answers
	Failed                     // no answer, or one that says that there is none: five in a row eject
	Unreachable                // there was no connection: ejects at once
)

// State is what is known of one backend. It is safe for concurrent use; the counters take no lock. Make it with NewState.
type State struct {
	start    time.Time // times are nanoseconds since then, and 0 means never
	inFlight atomic.Int64
	failures atomic.Int64  // in a row
	until    atomic.Int64  // when the ejection ends, or a trial after it; 0: a request has succeeded since
	turn     atomic.Uint32 // counts ejections: an older attempt says nothing about a newer one
	drained  atomic.Bool
	reason   atomic.Pointer[string]

	mu    sync.Mutex // for the two below
	inRow int        // ejections without a success in between
	why   Outcome    // of the last one
}

// NewState makes the state of a backend of which nothing is known: it counts as good.
func NewState() *State { return &State{start: time.Now()} }

func (s *State) now() int64 { return int64(time.Since(s.start)) + 1 }

// InFlight is how many attempts are between Pick and Done, in all pools.
func (s *State) InFlight() int64 { return s.inFlight.Load() }

// SetDrained makes the backend get no request from now on, whatever else is known, or ends that.
func (s *State) SetDrained(drained bool) { s.drained.Store(drained) }

// Drained reports whether it is drained.
func (s *State) Drained() bool { return s.drained.Load() }

// Failures is how many failures there were in a row.
func (s *State) Failures() int64 { return s.failures.Load() }

// Note remembers what the last failure was, in words.
func (s *State) Note(reason string) { s.reason.Store(&reason) }

// Reason is what was noted last; empty: nothing was.
func (s *State) Reason() string {
	if reason := s.reason.Load(); reason != nil {
		return *reason
	}
	return ""
}

// Ejected returns for how much longer the backend is ejected, and whether that is for being unreachable, or for its answers;
// 0 and Unknown: it is not.
func (s *State) Ejected() (left time.Duration, why Outcome) {
	if !s.out() {
		return 0, Unknown
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Duration(max(s.until.Load()-s.now(), 0)), s.why
}

// out reports whether the backend is ejected, or tried by another request. In good times it costs one load and does not
// read the clock.
func (s *State) out() bool {
	until := s.until.Load()
	return until != 0 && s.now() < until
}

// claim asks for the one request that tries a backend whose ejection is over. trial is false where there is nothing to try;
// ok is false if another request has the trial.
func (s *State) claim() (trial, ok bool) {
	until := s.until.Load()
	if until == 0 {
		return false, true
	}
	now := s.now()
	if now < until {
		return false, false
	}
	ok = s.until.CompareAndSwap(until, now+int64(trialTime))
	return ok, ok
}

// succeed notes an answer to an attempt of that turn, and reports whether it is the one that has ended an ejection.
func (s *State) succeed(turn uint32) (back bool) {
	if s.failures.Load() != 0 { // a plain store would bounce the cache line on every request
		s.failures.Store(0)
	}
	if s.until.Load() == 0 {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if turn != s.turn.Load() { // it began before the ejection: old connections may outlive a listener
		return false
	}
	s.inRow = 0
	return s.until.Swap(0) != 0
}

// ejecting is held from the look at the others to the ejection. It is one for all pools, since backends may be in several; only
// failures that are about to eject take it.
var ejecting sync.Mutex

// fail notes a failure and returns for how long it ejects the backend; 0: not at all.
func (s *State) fail(a attempt, why Outcome, mayEject func() bool) time.Duration {
	if a.turn != s.turn.Load() || s.out() && !a.trial {
		return 0 // that is known
	}
	if s.failures.Add(1) < maxFailures && why != Unreachable && !a.trial || !mayEject() {
		return 0
	}
	ejecting.Lock()
	defer ejecting.Unlock()
	if a.turn != s.turn.Load() || !mayEject() { // another was quicker, here or at the last of the others
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turn.Add(1)
	s.inRow++
	s.why = why
	s.failures.Store(0)
	length := min(time.Duration(s.inRow)*ejection, maxEjection)
	length = time.Duration(float64(length) * (0.8 + 0.4*rand.Float64())) // or all nodes would come back at once
	s.until.Store(s.now() + int64(length))
	return length
}

// A Check is what active checks say of a backend. The zero value says that it is up. It is safe for concurrent use.
type Check struct{ down atomic.Bool }

// Set notes what was found.
func (c *Check) Set(down bool) { c.down.Store(down) }

// Down reports whether the backend is down. A nil Check is up.
func (c *Check) Down() bool { return c != nil && c.down.Load() }
