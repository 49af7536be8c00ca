package ratelimit

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A book is a Ledger in memory, with faults.
type book struct {
	mu     sync.Mutex
	full   map[uint64]time.Time
	by     map[uint64]int // nodes that are said to take from a bucket; 0: one
	nodes  int
	failed error
	hangs  bool
	calls  int
	rounds [][]Report
}

var errAway = errors.New("away")

func (b *book) enter() error {
	b.mu.Lock()
	b.calls++
	failed, hangs := b.failed, b.hangs
	b.mu.Unlock()
	if hangs {
		time.Sleep(600 * time.Millisecond) // what a ledger takes at most
		return errAway
	}
	return failed
}

func (b *book) called() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.calls
}

// reported is what was settled so far, when nothing is under way.
func (b *book) reported() [][]Report {
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.rounds
}

func (b *book) Settle(_ context.Context, reports []Report) ([]Standing, error) {
	if err := b.enter(); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rounds = append(b.rounds, reports)
	var out []Standing
	for _, r := range reports {
		full := b.full[r.Key]
		if since := time.Now().Add(-r.Over); full.Before(since) {
			full = since
		}
		full = full.Add(time.Duration(r.Taken) * r.Rate.Interval())
		b.full[r.Key] = full
		out = append(out, Standing{Owed: max(0, time.Until(full)), Nodes: max(1, b.by[r.Key])})
	}
	return out, nil
}

func (b *book) Nodes(context.Context) (int, error) { return b.nodes, b.enter() }

func (b *book) set(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f()
}

func newBook(nodes int) *book {
	return &book{full: map[uint64]time.Time{}, by: map[uint64]int{}, nodes: nodes}
}

// share begins a limiter that shares by the book. It ends with the bubble's test.
func share(t *testing.T, b *book) (*Limiter, *Sharing) {
	t.Helper()
	s := NewSharing(SharingOptions{Ledger: b})
	l := New(Options{Room: NewRoom("shop", DefaultKeys), Sharing: s})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	synctest.Wait()
	return l, s
}

// What was given back was not taken: nodes that hear of it would owe it.
func TestATokenThatWasGivenBackIsNotReported(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBook(2)
		l, _ := share(t, b)
		r := NewRate(1, time.Hour, 16) // a report for each two tokens
		for range 8 {
			taken(l, 1, r, time.Now(), 1)
			l.GiveBack(1, r, time.Now())
		}
		taken(l, 1, r, time.Now(), 1)
		time.Sleep(time.Second)
		if rounds := b.reported(); len(rounds) != 0 {
			t.Errorf("with one token taken: %+v", rounds)
		}
		taken(l, 1, r, time.Now(), 1)
		time.Sleep(time.Second)
		if rounds := b.reported(); len(rounds) != 1 || rounds[0][0].Taken != 2 {
			t.Errorf("with two tokens taken: %+v", rounds)
		}
	})
}

func TestWhatOthersTakeIsLearned(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBook(2)
		l, s := share(t, b)
		if !s.Shared() {
			t.Fatal("the ledger answers, and limits are not shared")
		}
		r := NewRate(1, time.Hour, 16) // a report for each two tokens
		taken(l, 1, r, time.Now(), 1)
		time.Sleep(time.Second)
		if rounds := b.reported(); len(rounds) != 0 {
			t.Errorf("a sixteenth of a bucket was reported: %+v", rounds)
		}
		b.set(func() { b.full[1] = time.Now().Add(10 * time.Hour) })
		taken(l, 1, r, time.Now(), 1)
		time.Sleep(time.Second)
		if rounds := b.reported(); len(rounds) != 1 || rounds[0][0].Taken != 2 || rounds[0][0].Over != time.Second || rounds[0][0].Owner != "shop" {
			t.Fatalf("reports: %+v", rounds)
		}
		if got := taken(l, 1, r, time.Now(), 16); got != 4 {
			t.Errorf("%d are left of 16, of which others have taken 10 and we 2", got)
		}
	})
}

// Between two nodes each lets through half of what is left, and the next report says what that really was.
func TestNodesDivideWhatIsLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBook(2)
		b.by[1] = 2
		l, _ := share(t, b)
		r := NewRate(1, time.Hour, 16)
		taken(l, 1, r, time.Now(), 4)
		time.Sleep(time.Second) // 12 are left
		if got := taken(l, 1, r, time.Now(), 16); got != 6 {
			t.Errorf("%d passed of the 12 that are left for two", got)
		}
		time.Sleep(time.Second) // the other node took none
		if got := taken(l, 1, r, time.Now(), 16); got != 3 {
			t.Errorf("%d passed of the 6 that are left for two", got)
		}
		time.Sleep(24 * time.Hour)
		if got := taken(l, 1, r, time.Now(), 20); got != 16 {
			t.Errorf("%d passed of a bucket that has long been full: nobody knows of another node now", got)
		}
	})
}

func TestWithoutTheLedgerANodeHasItsShare(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBook(4)
		l, _ := share(t, b)
		r := NewRate(1, time.Hour, 16)
		taken(l, 1, r, time.Now(), 4)
		time.Sleep(time.Second)
		b.set(func() { b.hangs = true })
		begin := time.Now()
		if got := taken(l, 1, r, time.Now(), 20); got != 12 {
			t.Errorf("of a bucket that this node alone takes from, %d of 12", got)
		}
		taken(l, 2, r, time.Now(), 1)
		if took := time.Since(begin); took != 0 {
			t.Errorf("requests waited %v for a ledger that hangs", took)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		b := newBook(4)
		l, s := share(t, b)
		r := NewRate(1, time.Hour, 16)
		b.set(func() { b.failed = errAway })
		time.Sleep(2 * beatEvery)
		if s.Shared() {
			t.Fatal("the ledger is away, and limits are shared")
		}
		if got := taken(l, 3, r, time.Now(), 16); got != 4 {
			t.Errorf("of a bucket that nobody knows, %d passed of 16 for four nodes", got)
		}
		calls := b.called()
		time.Sleep(10 * time.Second)
		if more := b.called() - calls; more < 5 || more > 11 {
			t.Errorf("a ledger that is away was called %d times in 10 s", more)
		}
		b.set(func() { b.failed = nil })
		time.Sleep(2 * time.Second)
		if !s.Shared() {
			t.Error("it is back, and limits are not shared")
		}
		if got := taken(l, 4, r, time.Now(), 20); got != 16 {
			t.Errorf("%d of 16 when it is back", got)
		}
	})
}

// A flood of keys of one tenant takes a bounded part of each round, and none of another's.
func TestAttackAFloodOfKeysLeavesOthersTheirReports(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBook(1)
		flooded, s := share(t, b)
		other := New(Options{Room: NewRoom("blog", DefaultKeys), Sharing: s})
		r := NewRate(1, time.Hour, 1) // each request is reported
		for i := range uint64(5000) {
			flooded.Take(i, r, time.Now())
		}
		other.Take(99_999, r, time.Now())
		time.Sleep(time.Second)
		of := map[string]int{}
		for _, round := range b.reported() {
			for _, report := range round {
				of[report.Owner]++
			}
		}
		if of["blog"] != 1 || of["shop"] > 2*roomClaims || of["shop"] < roomClaims {
			t.Errorf("reports of %v", of)
		}
		if _, _, putOff := s.Reports(); putOff < 4000 {
			t.Errorf("%d were put off", putOff)
		}
		// What was put off is tried again by the next request.
		before := len(b.reported())
		flooded.Take(4999, r, time.Now())
		time.Sleep(time.Second)
		if len(b.reported()) == before {
			t.Error("a bucket that was put off is never reported")
		}
	})
}

func TestWithoutLimitersNothingIsAsked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBook(1)
		l, _ := share(t, b)
		l.Close()
		before := b.called()
		time.Sleep(time.Hour)
		if after := b.called(); after != before {
			t.Errorf("%d calls for nobody", after-before)
		}
	})
}
