package ratelimit

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// taken is how many of n requests at a time get a token.
func taken(l *Limiter, key uint64, r Rate, at time.Time, n int) int {
	got := 0
	for range n {
		if l.Take(key, r, at) == 0 {
			got++
		}
	}
	return got
}

func TestBucketHoldsABurstAndIsRefilledAtItsRate(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		requests int
		per      time.Duration
		burst    int
		after    time.Duration // behind an empty bucket
		want     int           // tokens
		wait     time.Duration // of the next one
	}{
		{"at once nothing", 10, time.Second, 5, 0, 0, 100 * time.Millisecond},
		{"just too early", 10, time.Second, 5, 99 * time.Millisecond, 0, time.Millisecond},
		{"one", 10, time.Second, 5, 100 * time.Millisecond, 1, 100 * time.Millisecond},
		{"three and a half", 10, time.Second, 5, 350 * time.Millisecond, 3, 50 * time.Millisecond},
		{"never more than the burst", 10, time.Second, 5, time.Hour, 5, 100 * time.Millisecond},
		{"a burst of one", 2, time.Minute, 1, 30 * time.Second, 1, 30 * time.Second},
		{"a burst above the rate", 1, time.Hour, 48, 24 * time.Hour, 24, time.Hour},
		{"a million", 1_000_000, time.Millisecond, 1_000_000, time.Microsecond, 1000, time.Nanosecond},
	} {
		l, r, at := New(Options{}), NewRate(test.requests, test.per, test.burst), time.Now()
		if got := taken(l, 1, r, at, test.burst+3); got != test.burst {
			t.Errorf("%s: %d of a full bucket, want %d", test.name, got, test.burst)
		}
		at = at.Add(test.after)
		if got := taken(l, 1, r, at, test.want); got != test.want {
			t.Errorf("%s: %d, want %d", test.name, got, test.want)
		}
		if wait := l.Take(1, r, at); wait != test.wait {
			t.Errorf("%s: then wait %v, want %v", test.name, wait, test.wait)
		}
		if got := taken(l, 2, r, at, test.burst+1); got != test.burst {
			t.Errorf("%s: another key has %d", test.name, got)
		}
	}
}

// Whoever is refused pays nothing for it: he gets his rate, however often he asks.
func TestRefusedRequestsTakeNothing(t *testing.T) {
	t.Parallel()
	l, r, at := New(Options{}), NewRate(10, time.Second, 10), time.Now()
	got := 0
	for range 10_000 { // a request each millisecond
		if l.Take(1, r, at) == 0 {
			got++
		}
		at = at.Add(time.Millisecond)
	}
	if got < 109 || got > 110 {
		t.Errorf("%d requests in 10 s, want the burst of 10 and 10 a second", got)
	}
}

func TestAnotherRateActsAtOnceAndKeepsTheFill(t *testing.T) {
	t.Parallel()
	at := time.Now()
	l := New(Options{})
	fast, slow := NewRate(100, time.Second, 100), NewRate(1, time.Second, 1)
	taken(l, 1, fast, at, 50)
	if got := taken(l, 1, NewRate(100, time.Second, 60), at, 100); got != 10 {
		t.Errorf("a burst of 60, of which 50 are gone, has %d", got)
	}
	hour := NewRate(1, time.Hour, 24)
	taken(l, 2, hour, at, 24) // owes a day
	if wait := l.Take(2, slow, at); wait > 2*time.Second {
		t.Errorf("with one a second, the next comes in %v", wait)
	}
	if got := taken(l, 2, slow, at.Add(2*time.Second), 5); got != 1 {
		t.Errorf("two seconds later there are %d", got)
	}
}

func TestGiveBack(t *testing.T) {
	t.Parallel()
	l, r, at := New(Options{}), NewRate(1, time.Second, 3), time.Now()
	taken(l, 1, r, at, 3)
	l.GiveBack(1, r, at)
	if got := taken(l, 1, r, at, 3); got != 1 {
		t.Errorf("one was given back, and %d are there", got)
	}
	l.GiveBack(2, r, at) // of a key that is not known
	l.GiveBack(1, r, at.Add(time.Hour))
	if got := taken(l, 1, r, at.Add(time.Hour), 9); got != 3 {
		t.Errorf("a full bucket has %d", got)
	}
}

// Eight at a time take as many tokens as there are, from one key and from many.
func TestTokensAreTakenOnce(t *testing.T) {
	t.Parallel()
	l, r, at := New(Options{}), NewRate(1, time.Hour, 100), time.Now()
	var got [64]atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 64 * 20 {
				key := uint64(i % len(got))
				got[key].Add(int64(taken(l, key, r, at, 1)))
			}
		})
	}
	all.Wait()
	for key := range got {
		if n := got[key].Load(); n != 100 {
			t.Errorf("key %d: %d of 100 tokens", key, n)
		}
	}
}

// A flood of keys fills the room and no more. Who had something to pay back still has, whoever brings the keys.
func TestAttackAFloodOfKeysIsBoundedAndMakesNobodyForgotten(t *testing.T) {
	t.Parallel()
	const keys = 1024
	room := NewRoom("shop", keys)
	at := time.Now()
	l, other := New(Options{Room: room}), New(Options{Room: room})
	r := NewRate(10, time.Second, 20)
	limited := make([]uint64, 50)
	for i := range limited {
		limited[i] = 1<<40 + uint64(i)
		taken(l, limited[i], r, at, 20)
	}
	for i := range uint64(20_000) {
		l.Take(i, r, at)
		other.Take(i, r, at)
	}
	if n := l.Keys() + other.Keys(); n > keys+2*shardCount*firstBuckets {
		t.Errorf("there is memory for %d keys, want at most %d and a few", n, keys)
	}
	if room.PassedOn() == 0 {
		t.Error("no key took over the place of another: this test tries nothing")
	}
	for _, key := range limited {
		if l.Take(key, r, at) == 0 {
			t.Fatal("the flood has made the limiter forget who was over his limit")
		}
	}
	// Nor does it cost others more than what the flood itself has used, per place.
	neighbour := New(Options{Room: NewRoom("blog", keys)})
	if got := taken(neighbour, 1, r, at, 30); got != 20 {
		t.Errorf("a tenant beside it has %d of 20", got)
	}
	if got := taken(l, 1<<50, r, at.Add(2*time.Second), 30); got != 20 {
		t.Errorf("when all is paid back, a new key has %d of 20", got)
	}
	l.Close()
	l.Close()
	other.Close()
	if left := room.left.Load(); left != keys {
		t.Errorf("%d of %d places came back", left, keys)
	}
}

func TestKeysOfDifferentTextsDiffer(t *testing.T) {
	t.Parallel()
	seen := map[uint64]string{}
	for _, text := range []string{"", "a", "b", "ab", "a\x00b", "ip\x00192.0.2.1", "ip\x00192.0.2.11"} {
		key := KeyOf([]byte(text))
		if other, twice := seen[key]; twice {
			t.Errorf("%q and %q have one key", text, other)
		}
		seen[key] = text
	}
	if got := KeyOf([]byte("gatehouse")); got != 0xf46445640bd32084 {
		t.Errorf("%#x: nodes of other versions have another key for it", got)
	}
}

func TestDecisionDoesNotAllocate(t *testing.T) {
	l, r, at := New(Options{}), NewRate(1000, time.Second, 1000), time.Now()
	text := []byte("shop\x00ip\x00192.0.2.1")
	l.Take(KeyOf(text), r, at)
	if n := testing.AllocsPerRun(1000, func() { l.Take(KeyOf(text), r, at) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkTake(b *testing.B) {
	r := NewRate(1000, time.Second, 1000)
	for _, keys := range []uint64{1, 1000, 30_000, 1_000_000} {
		l, at, i := New(Options{}), time.Now(), uint64(0)
		b.Run(map[uint64]string{1: "one", 1000: "thousand", 30_000: "room", 1_000_000: "flood"}[keys], func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				i++
				l.Take(i%keys, r, at)
			}
		})
	}
}

func BenchmarkTakeAtOnce(b *testing.B) {
	for _, keys := range []uint64{1, 1000} {
		l, r, at := New(Options{}), NewRate(1000, time.Second, 1000), time.Now()
		b.Run(map[uint64]string{1: "one", 1000: "thousand"}[keys], func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for i := uint64(0); pb.Next(); i++ {
					l.Take(i%keys, r, at)
				}
			})
		})
	}
}

func BenchmarkKeyOf(b *testing.B) {
	text := binary.BigEndian.AppendUint64([]byte("12345678i"), 0x20010db800010002)
	b.ReportAllocs()
	for b.Loop() {
		KeyOf(text)
	}
}
