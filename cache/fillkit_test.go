package cache

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"
)

// A script is a Source that does as it is told, and notes who breaks its contract: Read and Close by one at a time,
// Close once and last, Buffered and Cut not after it.
type script struct {
	steps chan step     // a Read waits for the next one
	pause time.Duration // that a Close takes

	mu      sync.Mutex
	reading bool
	reads   int
	closed  int
	closing bool
	cut     chan struct{}
	wasCut  bool
	faults  []string
}

// A step is what one Read gives.
type step struct {
	data  string
	err   error
	panic bool
}

var errCut = errors.New("cut")

func newScript() *script { return &script{steps: make(chan step, 64), cut: make(chan struct{})} }

// say has the next Reads give these steps.
func (s *script) say(steps ...step) *script {
	for _, st := range steps {
		s.steps <- st
	}
	return s
}

func (s *script) fault(format string, args ...any) { // the caller holds mu
	s.faults = append(s.faults, fmt.Sprintf(format, args...))
}

func (s *script) Read(p []byte) (int, error) {
	s.mu.Lock()
	if s.reading || s.closed > 0 {
		s.fault("Read: reading %v, closed %d", s.reading, s.closed)
	}
	if len(p) == 0 {
		s.fault("Read into nothing")
	}
	s.reading = true
	s.reads++
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.reading = false
		s.mu.Unlock()
	}()
	select {
	case <-s.cut:
		return 0, errCut
	default:
	}
	select {
	case <-s.cut:
		return 0, errCut
	case st := <-s.steps:
		if st.panic {
			panic("a bug in a source")
		}
		if len(st.data) > len(p) {
			rest := step{st.data[len(p):], st.err, false}
			st = step{data: st.data[:len(p)]}
			s.unread(rest)
		}
		return copy(p, st.data), st.err
	}
}

// unread puts what did not fit in front of the other steps.
func (s *script) unread(first step) {
	steps := []step{first}
	for {
		select {
		case st := <-s.steps:
			steps = append(steps, st)
			continue
		default:
		}
		break
	}
	s.say(steps...)
}

func (s *script) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed++; s.closed > 1 || s.reading {
		s.fault("Close: reading %v, for the %d. time", s.reading, s.closed)
	}
	if s.pause > 0 {
		s.closing = true
		s.mu.Unlock()
		time.Sleep(s.pause)
		s.mu.Lock()
		s.closing = false
	}
	return nil
}

func (s *script) Buffered() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reading || s.closed > 0 {
		s.fault("Buffered: reading %v, closed %d", s.reading, s.closed)
	}
	return len(s.steps)
}

func (s *script) Cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed > 0 {
		s.fault("Cut after Close")
	}
	if !s.wasCut {
		s.wasCut = true
		close(s.cut)
	}
}

// isClosed reports whether the source was closed, as it has to be once.
func (s *script) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed == 1
}

// A reporter is what a test and a model have in common.
type reporter interface {
	Helper()
	Error(args ...any)
	Errorf(format string, args ...any)
}

// want fails the test if the contract was broken, or the source is not closed.
func (s *script) want(t reporter) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.faults {
		t.Error("source: " + f)
	}
	if s.closed != 1 {
		t.Errorf("the source was closed %d times", s.closed)
	}
}

// whole is the steps of a body that ends as it should.
func whole(body string) []step { return []step{{data: body}, {err: io.EOF}} }

// begin looks req up and makes the entry that a response to it gets, without a body.
func begin(t testing.TB, s *Store, req *Request, length int64, p *Policy, fields ...string) *Entry {
	t.Helper()
	s.Lookup(req, p)
	resp := answer(200, fields...)
	resp.BodyLength = length
	d := Decide(req, resp, p)
	if !d.Store {
		t.Fatalf("not storable: %s", d.Reason)
	}
	return NewEntry(req, resp, d, nil, 100, nil, "")
}

// filling begins a fill of a page that is fresh for a minute.
func filling(t testing.TB, s *Store, req *Request, length int64, src Source) *Fill {
	t.Helper()
	f := s.NewFill(begin(t, s, req, length, &Policy{}, fresh...), length, func() Source { return src })
	if f == nil {
		t.Fatal("no memory")
	}
	return f
}

// holds is how many bytes f holds that the store does not count, with its lock held.
func (f *Fill) holds() (n int64) {
	if f.err == io.EOF && f.outcome == nil {
		return 0
	}
	for _, p := range f.pieces {
		n += int64(cap(p))
	}
	return n
}

// wantNothingLeft fails the test if anything of fills or flights is left in the store, or its accounts are wrong.
func wantNothingLeft(t reporter, s *Store) {
	t.Helper()
	if n := s.filling.Load(); n != 0 {
		t.Errorf("%d bytes are counted as on their way", n)
	}
	for _, v := range append(slices.Collect(maps.Values(s.vhosts.by)), &s.nobody) {
		if n := v.tenant.filling.Load(); n != 0 {
			t.Errorf("%d bytes of %q are counted as on their way", n, v.tenant.name)
		}
	}
	for i := range s.flights.shards {
		shard := &s.flights.shards[i]
		shard.mu.Lock()
		if n := len(shard.by); n != 0 {
			t.Errorf("%d flights are left in shard %d", n, i)
		}
		shard.mu.Unlock()
	}
	s.cache.Wait()
	var bytes, objects, entries int64
	vhosts, tenants := map[*Vhost][2]int64{}, map[*Tenant]int64{}
	s.cache.IterValues(func(o *object) bool {
		bytes += o.cost
		objects++
		entries += int64(len(o.variants))
		if o.vhost != nil {
			sum := vhosts[o.vhost]
			vhosts[o.vhost] = [2]int64{sum[0] + o.cost, sum[1] + int64(len(o.variants))}
			tenants[o.vhost.tenant] += o.cost
		}
		return false
	})
	if st := s.Stats(); st.Bytes != bytes || st.Objects != objects || st.Entries != entries {
		t.Errorf("ledger %+v; held %d bytes, %d objects, %d entries", st, bytes, objects, entries)
	}
	for _, v := range s.vhosts.by {
		if sum := vhosts[v]; v.bytes.Load() != sum[0] || v.entries.Load() != sum[1] || v.tenant.bytes.Load() != tenants[v.tenant] {
			t.Errorf("%s: account of %d bytes, %d entries, tenant's %d bytes; held %v, %d", v.name, v.bytes.Load(), v.entries.Load(), v.tenant.bytes.Load(), sum, tenants[v.tenant])
		}
	}
}
