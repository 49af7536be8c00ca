package cache

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"gatehouse/internal/edgetest"
)

var fresh = []string{"Cache-Control", "max-age=60"}

// ristretto's Set is asynchronous; a Put is not. No waiting, no luck.
func TestAPutIsVisibleToTheNextLookup(t *testing.T) {
	s, _ := newStore(t, 64<<20)
	for i := range 5000 {
		req := get(fmt.Sprintf("/%d", i))
		body := fmt.Sprint(i)
		if !fill(t, s, req, answer(200, fresh...), body) {
			t.Fatalf("fill %d is refused by a store that is empty", i)
		}
		wantHit(t, s, get(fmt.Sprintf("/%d", i)), body)
	}
	if st := s.Stats(); st.Objects != 5000 || st.Entries != 5000 || st.Rejected != 0 || st.Evictions != 0 {
		t.Errorf("%+v", st)
	}
}

// ristretto alone keeps the older of two Sets of a new key.
func TestTheLaterOfTwoFillsWins(t *testing.T) {
	s, _ := newStore(t, 8<<20)
	for i := range 1000 {
		path := fmt.Sprintf("/%d", i)
		first, second := get(path), get(path)
		fill(t, s, first, answer(200, fresh...), "first")
		s.Lookup(second, &Policy{})
		put(t, s, second, answer(200, fresh...), "second")
		wantHit(t, s, get(path), "second")
	}
}

func TestAFillThatBeganEarlierDoesNotReplaceALaterOne(t *testing.T) {
	s, _ := newStore(t, MinMaxBytes)
	slow, quick, late := get("/"), get("/"), get("/", "Cache-Control", "no-cache")
	wantForward(t, s, slow, ForwardURIMiss)
	wantForward(t, s, quick, ForwardURIMiss)
	put(t, s, quick, answer(200, fresh...), "v1")
	wantForward(t, s, late, ForwardRequest)
	if !put(t, s, late, answer(200, fresh...), "v2") {
		t.Fatal("a later fill is refused")
	}
	if put(t, s, slow, answer(200, fresh...), "v0") {
		t.Error("an earlier fill is stored over a later one")
	}
	wantHit(t, s, get("/"), "v2")
}

// Two tenants' keys with one hash: neither ever gets the other's page.
func TestACollisionNeverServesAnotherTenantsPage(t *testing.T) {
	s, _ := newStore(t, MinMaxBytes)
	s.hash = func([]byte) uint64 { return 42 }
	a := &Request{Method: "GET", Header: head(), Key: AppendKey(nil, "a", "site", "https", "site", "/")}
	b := &Request{Method: "GET", Header: head(), Key: AppendKey(nil, "b", "site", "https", "site", "/")}
	fill(t, s, a, answer(200, fresh...), "page of a")
	wantHit(t, s, a, "page of a")
	if !fill(t, s, b, answer(200, fresh...), "page of b") { // fill fails on a hit
		t.Fatal("b is refused")
	}
	wantHit(t, s, b, "page of b")
	wantForward(t, s, a, ForwardURIMiss)
	s.Invalidate(nil, a.Key)
	wantHit(t, s, b, "page of b")
	if st := s.Stats(); st.Objects != 1 || st.Entries != 1 {
		t.Errorf("%+v", st)
	}
	// Nor does a variant of one slip into the object of the other.
	vary := answer(200, "Cache-Control", "max-age=60", "Vary", "Foo")
	a.Header, b.Header = head("Foo", "1"), head("Foo", "2")
	fill(t, s, a, vary, "variant of a")
	fill(t, s, b, vary, "variant of b")
	b.Header = head("Foo", "1")
	wantForward(t, s, b, ForwardVaryMiss)
}

func TestInvalidateRFC9111Section4_4(t *testing.T) {
	s, _ := newStore(t, 8<<20)
	vary := answer(200, "Cache-Control", "max-age=60", "Vary", "Foo")
	fill(t, s, get("/", "Foo", "1"), vary, "1")
	fill(t, s, get("/", "Foo", "2"), vary, "2")
	fill(t, s, get("/other"), answer(200, fresh...), "other")

	running := get("/", "Foo", "3")
	wantForward(t, s, running, ForwardVaryMiss)
	s.Invalidate(nil, get("/").Key)
	wantForward(t, s, get("/", "Foo", "1"), ForwardURIMiss)
	wantForward(t, s, get("/", "Foo", "2"), ForwardURIMiss)
	wantHit(t, s, get("/other"), "other")
	if put(t, s, running, vary, "3") {
		t.Error("a fill that began before the invalidation is stored after it")
	}
	fill(t, s, get("/", "Foo", "1"), vary, "1 again")
	wantHit(t, s, get("/", "Foo", "1"), "1 again")
	wantForward(t, s, get("/", "Foo", "2"), ForwardVaryMiss) // gone with the rest
	if st := s.Stats(); st.Objects != 2 || st.Entries != 2 {
		t.Errorf("%+v", st)
	}

	// A fill of a key that nothing is stored for yet.
	running = get("/new")
	wantForward(t, s, running, ForwardURIMiss)
	s.Invalidate(nil, running.Key)
	if put(t, s, running, answer(200, fresh...), "old") {
		t.Error("a fill that began before the invalidation is stored after it")
	}
}

func TestWhatPutRefuses(t *testing.T) {
	s, _ := newStore(t, 256<<20)
	req := get("/")
	s.Lookup(req, &Policy{})
	entry := func(resp *Response, p *Policy, body int) *Entry {
		return NewEntry(req, resp, Decide(req, resp, p), nil, 0, make([]byte, body), "")
	}
	short := answer(200, fresh...)
	short.BodyLength = 10
	for name, e := range map[string]*Entry{
		"nil":                        nil,
		"no-store":                   entry(answer(200, "Cache-Control", "no-store"), &Policy{}, 10),
		"RFC 9111 §3.3: short body":  entry(short, &Policy{}, 9),
		"RFC 9111 §3.3: long body":   entry(short, &Policy{}, 11),
		"over the policy's max_body": entry(answer(200, fresh...), &Policy{MaxBody: 9}, 10),
		"over a hundredth":           entry(answer(200, fresh...), &Policy{MaxBody: 1 << 30}, 3<<20),
	} {
		if s.Put(e) == nil {
			t.Errorf("%s: stored", name)
		}
		wantForward(t, s, req, ForwardURIMiss)
	}
	if st := s.Stats(); st.Bytes != 0 || st.Objects != 0 || st.Rejected != 6 {
		t.Errorf("%+v", st)
	}
	// A body of the default limit fits in a store of the default size.
	if s.Put(entry(answer(200, fresh...), &Policy{}, DefaultMaxBody)) != nil {
		t.Error("a body of 1 MiB is refused")
	}
	if s.Put(entry(short, &Policy{}, 10)) != nil {
		t.Error("a complete body is refused")
	}
}

// The promise of `cache: {memory: …}`.
func TestTenTimesTheMemoryStaysWithinIt(t *testing.T) {
	const limit = 4 << 20
	s, _ := newStore(t, limit)
	var offered, largest, stored int64
	for i := 0; offered < 10*limit; i++ {
		size := 500 + i*7919%30_000
		req := get(fmt.Sprintf("/%d", i))
		resp := answer(200, fresh...)
		s.Lookup(req, &Policy{})
		e := NewEntry(req, resp, Decide(req, resp, &Policy{}), nil, 300, make([]byte, size), "")
		offered += e.cost
		largest = max(largest, e.cost+objectOverhead+int64(len(req.Key)))
		if s.Put(e) == nil {
			stored++
		}
		if got := s.Stats().Bytes; got > limit {
			t.Fatalf("%d bytes after fill %d, limit %d", got, i, limit)
		}
	}
	st := s.Stats()
	if st.Bytes < limit-2*largest {
		t.Errorf("only %d bytes of %d are used", st.Bytes, limit)
	}
	if st.Evictions == 0 || stored-int64(st.Evictions) != st.Entries {
		t.Errorf("stored %d: %+v", stored, st)
	}
	wantLedgerExact(t, s)
}

// ristretto never evicts for an update, so objects that grow need care.
func TestObjectsThatGrowStayWithinTheMemory(t *testing.T) {
	const limit = 8 << 20
	s, _ := newStore(t, limit)
	grow := func(size int) (stored int) {
		for i := range 200 {
			req := get(fmt.Sprintf("/%d", i), "Cache-Control", "no-cache")
			s.Lookup(req, &Policy{})
			if put(t, s, req, answer(200, fresh...), string(make([]byte, size))) {
				stored++
			}
			if got := s.Stats().Bytes; got > limit {
				t.Fatalf("%d bytes, limit %d", got, limit)
			}
		}
		wantLedgerExact(t, s)
		return stored
	}
	if n := grow(1_000); n != 200 {
		t.Fatalf("%d of 200 are stored with room to spare", n)
	}
	if n := grow(70_000); n < 50 {
		t.Errorf("%d of 200 are stored when grown", n)
	}
	grow(80_000)
}

// wantLedgerExact compares the ledger with what is in ristretto.
func wantLedgerExact(t *testing.T, s *Store) {
	t.Helper()
	var bytes, objects, entries int64
	s.cache.IterValues(func(o *object) bool {
		bytes += o.cost
		objects++
		entries += int64(len(o.variants))
		return false
	})
	if st := s.Stats(); st.Bytes != bytes || st.Objects != objects || st.Entries != entries {
		t.Errorf("ledger %+v, held %d bytes, %d objects, %d entries", st, bytes, objects, entries)
	}
	// The policy hears of what was deleted a moment later.
	edgetest.WaitFor(t, fmt.Sprint("the policy to count the bytes held, ", bytes), func() bool { return s.ledger.max.Load()-s.cache.RemainingCost() == bytes })
}

// Many fillers, few keys, variants, growth, invalidations: what a hit gives is
// always of its key and variant, a Put that returned true is not lost by luck,
// and the ledger is exact at the end.
func TestConcurrentFills(t *testing.T) {
	const (
		limit   = 2 << 20
		workers = 8
		rounds  = 400
	)
	s, _ := newStore(t, limit)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range rounds {
				n := (i*31 + w*17) % 300
				path, foo := fmt.Sprintf("/%d", n), fmt.Sprint(i%3)
				req := get(path, "Foo", foo)
				want := path + "?" + foo + ":"
				if l := s.Lookup(req, &Policy{}); l.Entry != nil {
					if !strings.HasPrefix(string(l.Entry.Body), want) {
						t.Errorf("%s: got %.20q", want, l.Entry.Body)
					}
					if i%7 == 0 {
						invalidate(s, req)
					}
					continue
				}
				body := want + strings.Repeat("x", (i*997+w)%15_000)
				put(t, s, req, answer(200, "Cache-Control", "max-age=60", "Vary", "Foo"), body)
				if got := s.Stats().Bytes; got > limit+workers*variantRoom*s.MaxEntry() {
					t.Errorf("%d bytes", got)
				}
			}
		})
	}
	wg.Wait()
	wantLedgerExact(t, s)
}

func TestCloseEndsEverything(t *testing.T) {
	registry := prometheus.NewRegistry()
	for range 2 { // the second New finds the metrics' names free
		s, err := New(Options{MaxBytes: MinMaxBytes, Registerer: registry})
		if err != nil {
			t.Fatal(err)
		}
		req := get("/")
		fill(t, s, req, answer(200, fresh...), "body")
		s.Close()
		s.Close()
		if put(t, s, req, answer(200, fresh...), "body") {
			t.Error("stored after Close")
		}
		invalidate(s, req)
		wantForward(t, s, req, ForwardURIMiss)
		if st := s.Stats(); st.Bytes != 0 || st.Entries != 0 || st.Evictions != 0 {
			t.Errorf("%+v", st)
		}
	}
}

func TestOptions(t *testing.T) {
	for _, n := range []int64{-1, 1, MinMaxBytes - 1} {
		if _, err := New(Options{MaxBytes: n}); err == nil || !strings.Contains(err.Error(), "must be at least") {
			t.Errorf("%d: %v", n, err)
		}
	}
	s, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if n := s.Stats().MaxBytes; n != DefaultMaxBytes {
		t.Errorf("default is %d", n)
	}
	registry := prometheus.NewRegistry()
	first, err := New(Options{MaxBytes: MinMaxBytes, Registerer: registry})
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if _, err := New(Options{MaxBytes: MinMaxBytes, Registerer: registry}); err == nil {
		t.Error("two stores share one registry's names")
	}
}

func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	s, err := New(Options{MaxBytes: MinMaxBytes, Registerer: registry})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	fill(t, s, get("/"), answer(200, fresh...), "body")
	s.Put(nil)
	got := map[string]float64{}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			got[f.GetName()] += m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	want := map[string]float64{
		"gatehouse_cache_bytes":           float64(s.Stats().Bytes),
		"gatehouse_cache_entries":         1,
		"gatehouse_cache_evictions_total": 0,
		"gatehouse_cache_limit_bytes":     MinMaxBytes,
		"gatehouse_cache_rejected_total":  1,

		"gatehouse_cache_blind": 0, "gatehouse_cache_purges_total": 0, "gatehouse_cache_purges_merged_total": 0, "gatehouse_cache_purged_entries_total": 0,
	}
	if fmt.Sprint(got) != fmt.Sprint(want) || want["gatehouse_cache_bytes"] == 0 {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestEntryKeepsWhatTheCallerGave(t *testing.T) {
	s, _ := newStore(t, MinMaxBytes)
	type template struct{ name string }
	req, resp := get("/"), answer(404, fresh...)
	s.Lookup(req, &Policy{})
	made := &template{"head"}
	if s.Put(NewEntry(req, resp, Decide(req, resp, &Policy{}), made, 50, []byte("gone"), "sha256:1")) != nil {
		t.Fatal("refused")
	}
	e := wantHit(t, s, get("/"), "gone").Entry
	if e.Template != made || e.Status != 404 || e.Digest != "sha256:1" {
		t.Errorf("%+v", e)
	}
	// The caller found the digest wanting, and fills anew.
	again := get("/")
	s.Lookup(again, &Policy{})
	if !put(t, s, again, answer(200, fresh...), "here") {
		t.Error("a hit that the caller did not use cannot be replaced")
	}
	wantHit(t, s, get("/"), "here")
}
