package loadtest

import (
	"runtime"
	"sync"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// kind is why a request got no answer.
type kind uint8

const (
	noError kind = iota
	errConnect
	errTLS
	errTimeout
	errReset // cut, before the answer or in it
	errNoHTTP
	errOther
	kinds
)

var kindNames = [kinds]string{"", "connect", "tls", "timeout", "reset", "protocol", "other"}

// A sample is one request and what became of it. Times are nanoseconds of the run.
type sample struct {
	target  int
	planned int64 // when it should have begun
	since   int64 // what its latency counts from: see lane.loop
	begun   int64
	ended   int64
	failed  kind
	cause   error // of a failure, in words; see Result.Causes
	status  int
	good    bool // the status is one that was expected
	in, out int64
}

// fail says that there is no answer, and why.
func (x *sample) fail(failed kind, cause error) { x.failed, x.cause = failed, cause }

// bounds of what a histogram holds, in nanoseconds.
const (
	shortest = 1
	longest  = int64(MaxDuration)
)

// Significant digits: 3 for what is asked for most, 2 where there are many histograms.
func fineHistogram() *hdrhistogram.Histogram   { return hdrhistogram.New(shortest, longest, 3) }
func coarseHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(shortest, longest, 2) }

// put records ns, within the bounds.
func put(h *hdrhistogram.Histogram, ns int64) {
	_ = h.RecordValue(min(max(ns, shortest), longest)) // it fails outside of the bounds only
}

// A span is what fell into some stretch of time.
type span struct {
	latency          *hdrhistogram.Histogram
	answers, errors  int64
	bytesIn, bytesUp int64
}

func newSpan() *span { return &span{latency: fineHistogram()} }

func (s *span) reset() {
	s.latency.Reset()
	*s = span{latency: s.latency}
}

func (s *span) add(other *span) {
	s.latency.Merge(other.latency)
	s.answers += other.answers
	s.errors += other.errors
	s.bytesIn += other.bytesIn
	s.bytesUp += other.bytesUp
}

// A part is what fell to one target.
type part struct {
	latency    *hdrhistogram.Histogram // nil: there is only one target, and the whole has it
	statuses   [1000]int64
	failed     [kinds]int64
	unexpected int64
}

// A shard collects the samples of some clients. There are as many as processors, so
// that two clients that run at once seldom want the same; memory stays bounded
// whatever the number of clients.
type shard struct {
	mu          sync.Mutex
	now, spare  *span
	parts       []*part // nil until a target is asked for the first time
	single      bool
	late        int64
	last        int64 // when the last answer came, in nanoseconds of the run
	causes      [kinds]cause
	opened      int64
	before      int64 // opened in the warm-up
	resumed     int64
	shakes      *hdrhistogram.Histogram
	_           [64]byte // the next one has its own cache line
	handshakeNS int64
}

func newShards(targets int) []*shard {
	out := make([]*shard, runtime.GOMAXPROCS(0))
	for i := range out {
		out[i] = &shard{
			now: newSpan(), spare: newSpan(), shakes: coarseHistogram(),
			parts: make([]*part, targets), single: targets == 1,
		}
	}
	return out
}

// lateAfter is the delay from which a request of an open load counts as late.
const lateAfter = 1_000_000

func (s *shard) record(x *sample) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.part(x.target)
	s.now.bytesUp += x.out
	if x.begun-x.planned > lateAfter {
		s.late++
	}
	if x.failed != noError {
		p.failed[x.failed]++
		s.now.errors++
		s.causes[x.failed].note(x)
		return
	}
	s.last = max(s.last, x.ended)
	s.now.answers++
	s.now.bytesIn += x.in
	put(s.now.latency, x.ended-x.since)
	p.statuses[x.status]++
	if !x.good {
		p.unexpected++
		s.now.errors++
	}
	if p.latency != nil {
		put(p.latency, x.ended-x.since)
	}
}

func (s *shard) part(target int) *part {
	if s.parts[target] == nil {
		s.parts[target] = new(part)
		if !s.single {
			s.parts[target].latency = coarseHistogram()
		}
	}
	return s.parts[target]
}

// warmed records a new connection of the warm-up.
func (s *shard) warmed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before++
}

// connected records a new connection.
func (s *shard) connected(took int64, resumed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opened++
	s.handshakeNS += took
	put(s.shakes, took)
	if resumed {
		s.resumed++
	}
}

// take moves what has come in since the last call into to.
func (s *shard) take(to *span) {
	s.mu.Lock()
	s.now, s.spare = s.spare, s.now
	s.mu.Unlock()
	to.add(s.spare)
	s.spare.reset()
}
