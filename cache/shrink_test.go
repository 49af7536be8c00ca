package cache

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// fillPages stores n pages of size bytes under /0, /1, ….
func fillPages(t *testing.T, s *Store, n, size int) {
	t.Helper()
	for i := range n {
		if !fill(t, s, get(fmt.Sprintf("/%d", i)), answer(200, fresh...), strings.Repeat("x", size)) {
			t.Fatalf("page %d is refused", i)
		}
	}
}

// heap is what is in use after a collection. Of pools, of which the stores of other tests have some, the second one takes
// what the first has set aside.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestShrinkReleasesMemoryAtOnce(t *testing.T) {
	s, _ := newStore(t, 64<<20)
	empty := heap()
	fillPages(t, s, 300, 100<<10)
	full, held := heap()-empty, s.Stats().Bytes
	s.Shrink(0.5)
	st := s.Stats()
	if st.Bytes > held/2 || st.MaxBytes != held/2 {
		t.Errorf("stored %d of at most %d bytes, want half of %d", st.Bytes, st.MaxBytes, held)
	}
	if half := heap() - empty; half > full*6/10 {
		t.Errorf("the heap fell from %d to %d bytes, not by half", full, half)
	}
	if left := s.cache.MaxCost() - s.cache.RemainingCost(); left != st.Bytes {
		t.Errorf("ristretto counts %d bytes, the ledger %d", left, st.Bytes)
	}
	if got := st.Evictions + uint64(st.Entries); got != 300 || st.Entries != st.Objects {
		t.Errorf("%d evicted, %d entries and %d objects stored: want 300 together", st.Evictions, st.Entries, st.Objects)
	}
}

func TestShrunkStoreHoldsItsBoundAndGrowsBack(t *testing.T) {
	const setting = 64 << 20
	s, _ := newStore(t, setting)
	fillPages(t, s, 200, 100<<10)
	s.Shrink(0.25)
	bound := s.Stats().MaxBytes
	for i := range 300 {
		req := get(fmt.Sprintf("/more/%d", i))
		s.Lookup(req, &Policy{})
		put(t, s, req, answer(200, fresh...), strings.Repeat("y", 100<<10)) // admitted or not
	}
	if st := s.Stats(); st.Bytes > bound {
		t.Errorf("%d bytes are stored after Shrink to %d", st.Bytes, bound)
	}
	if s.Grow(1 << 20) {
		t.Error("a small step made it whole")
	}
	if got := s.Stats().MaxBytes; got != bound+1<<20 {
		t.Errorf("bound %d after growing by 1 MiB from %d", got, bound)
	}
	if !s.Grow(setting) || s.Stats().MaxBytes != setting {
		t.Errorf("bound %d, want the setting", s.Stats().MaxBytes)
	}
	for i := range 500 {
		req := get(fmt.Sprintf("/again/%d", i))
		s.Lookup(req, &Policy{})
		put(t, s, req, answer(200, fresh...), strings.Repeat("z", 100<<10))
	}
	if st := s.Stats(); st.Bytes < setting/2 {
		t.Errorf("only %d bytes are stored in a store that has grown back", st.Bytes)
	}
}

func TestShrinkNeverGoesBelowTheSmallestStore(t *testing.T) {
	s, _ := newStore(t, 64<<20)
	s.Shrink(0)
	if got := s.Stats().MaxBytes; got != MinMaxBytes {
		t.Errorf("bound %d, want %d", got, MinMaxBytes)
	}
	fill(t, s, get("/"), answer(200, fresh...), "page")
	wantHit(t, s, get("/"), "page")
}

func TestShrinkDropsTheStaleThenTheUnused(t *testing.T) {
	s, clock := newStore(t, 64<<20)
	page := strings.Repeat("x", 100<<10)
	for i := range 30 {
		fill(t, s, get(fmt.Sprintf("/old/%d", i)), answer(200, "Cache-Control", "max-age=10"), page)
		fill(t, s, get(fmt.Sprintf("/unused/%d", i)), answer(200, fresh...), page)
		fill(t, s, get(fmt.Sprintf("/used/%d", i)), answer(200, fresh...), page)
		wantHit(t, s, get(fmt.Sprintf("/used/%d", i)), page)
	}
	clock.advance(20 * time.Second)
	count := func(kind string) (n int) {
		for i := range 30 {
			if o := s.stored(s.hash(get(fmt.Sprintf("/%s/%d", kind, i)).Key), get(fmt.Sprintf("/%s/%d", kind, i)).Key); o != nil {
				n++
			}
		}
		return n
	}
	s.Shrink(0.66)
	if old, unused, used := count("old"), count("unused"), count("used"); old != 0 || unused < 28 || used != 30 {
		t.Errorf("left: %d stale, %d unused, %d used; want the stale gone", old, unused, used)
	}
	for i := range 15 { // what was used before that Shrink counts no more
		wantHit(t, s, get(fmt.Sprintf("/used/%d", i)), page)
	}
	s.Shrink(0.3)
	for i := range 15 {
		wantHit(t, s, get(fmt.Sprintf("/used/%d", i)), page)
	}
	if left := count("used") + count("unused"); left > 18 {
		t.Errorf("%d pages are left of 60, want a third", left)
	}
}

// Shrinking beside fills, hits and Close: nothing is counted twice or lost.
func TestShrinkBesideEverythingElse(t *testing.T) {
	s, _ := newStore(t, 16<<20)
	var all sync.WaitGroup
	for w := range 4 {
		all.Go(func() {
			for i := range 400 {
				req := get(fmt.Sprintf("/%d", (i*7+w)%200))
				s.Lookup(req, &Policy{})
				resp := answer(200, fresh...)
				_ = s.Put(NewEntry(req, resp, Decide(req, resp, &Policy{}), nil, 100, make([]byte, 50<<10), ""))
			}
		})
	}
	all.Go(func() {
		for i := range 40 {
			s.Shrink(0.7)
			s.Grow(int64(i) << 18)
		}
	})
	all.Wait()
	s.cache.Wait()
	var bytes, objects int64
	s.cache.IterValues(func(o *object) bool { bytes += o.cost; objects++; return false })
	if st := s.Stats(); st.Bytes != bytes || st.Objects != objects {
		t.Errorf("the ledger has %d bytes in %d objects, the store %d in %d", st.Bytes, st.Objects, bytes, objects)
	}
	s.Close()
	s.Shrink(0.5)
	s.Grow(1)
	if st := s.Stats(); st.Bytes != 0 {
		t.Errorf("%d bytes after Close", st.Bytes)
	}
}
