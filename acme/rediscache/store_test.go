package rediscache

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gatehouse/acme"
	"gatehouse/internal/edgetest"
	"gatehouse/internal/redisconn"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, redis *edgetest.RedisServer) *Store {
	t.Helper()
	o, err := redisconn.Parse(redis.URL() + "#edge:")
	if err != nil {
		t.Fatal(err)
	}
	client, err := redisconn.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return New(client)
}

func TestValues(t *testing.T) {
	redis := edgetest.Redis(t)
	s, ctx := open(t, redis), t.Context()
	if err := s.Write(ctx, "a", []byte("\x00\xff"), time.Minute); err != nil {
		t.Fatal(err)
	}
	for _, try := range []string{"first", "second"} {
		if got, err := s.Create(ctx, "b", []byte(try), time.Minute); err != nil || string(got) != "first" {
			t.Errorf("Create: %q %v", got, err)
		}
	}
	got, err := s.Read(ctx, "a", "none", "b")
	if err != nil || len(got) != 3 || string(got[0]) != "\x00\xff" || got[1] != nil || string(got[2]) != "first" {
		t.Errorf("Read: %q %v", got, err)
	}
	if ttl := redis.CLI("PTTL", "edge:a"); ttl == "-1" || len(ttl) > 5 {
		t.Errorf("life %s", ttl)
	}
	keys := make([]string, 2*batch+1)
	for i := range keys {
		keys[i] = fmt.Sprint("many", i)
	}
	if err := s.Write(ctx, keys[2*batch], []byte("last"), time.Minute); err != nil {
		t.Fatal(err)
	}
	if got, err = s.Read(ctx, keys...); err != nil || len(got) != len(keys) || string(got[2*batch]) != "last" {
		t.Errorf("%d keys: %d values, %v", len(keys), len(got), err)
	}
	if err := s.Remove(ctx, "a", "b"); err != nil {
		t.Fatal(err)
	}
	if got, err = s.Read(ctx, "a", "b"); err != nil || got[0] != nil || got[1] != nil {
		t.Errorf("removed: %q %v", got, err)
	}
}

// Whoever comes last: the highest rank stays, beyond the digits that Lua's numbers have, too.
func TestHighestRankWins(t *testing.T) {
	redis := edgetest.Redis(t)
	s, ctx := open(t, redis), t.Context()
	const big = 1<<52 + 1
	for i, w := range []struct {
		rank    uint64
		written bool
	}{{5, true}, {5, false}, {4, false}, {6, true}, {big, true}, {big - 1, false}, {big + 1, true}, {7, false}} {
		written, err := s.WriteRanked(ctx, "cert:{a.test}", acme.Ranked{Value: fmt.Append(nil, w.rank), Rank: w.rank}, time.Hour)
		if err != nil || written != w.written {
			t.Errorf("%d, rank %d: %v %v", i, w.rank, written, err)
		}
	}
	got, err := s.ReadRanked(ctx, "cert:{a.test}", "cert:{b.test}")
	if err != nil || len(got) != 2 || got[0].Rank != big+1 || string(got[0].Value) != fmt.Sprint(big+1) || got[1].Value != nil {
		t.Errorf("%+v %v", got, err)
	}
	if written, err := s.WriteRanked(ctx, "c", acme.Ranked{Value: []byte("x"), Rank: 1}, -time.Second); written || err != nil {
		t.Errorf("of the past: %v %v", written, err)
	}
	redis.CLI("HSET", "edge:cert:{odd}", "value", "x", "rank", "soon")
	if written, err := s.WriteRanked(ctx, "cert:{odd}", acme.Ranked{Value: []byte("y"), Rank: 1}, time.Hour); !written || err != nil {
		t.Errorf("what is no rank: %v %v", written, err)
	}
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			_, _ = s.WriteRanked(ctx, "raced", acme.Ranked{Value: fmt.Append(nil, i), Rank: uint64(i)}, time.Hour) // read below
		})
	}
	all.Wait()
	if got, err := s.ReadRanked(ctx, "raced"); err != nil || string(got[0].Value) != "49" {
		t.Errorf("raced: %+v %v", got, err)
	}
}

func TestLeases(t *testing.T) {
	redis := edgetest.Redis(t)
	s, ctx := open(t, redis), t.Context()
	has := func(owner string) bool {
		t.Helper()
		ok, err := s.Lease(ctx, "lock", owner, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if !has("a") || has("b") || !has("a") {
		t.Error("a lease is not one owner's")
	}
	if err := s.Release(ctx, "lock", "b"); err != nil || has("b") {
		t.Errorf("another's was given back: %v", err)
	}
	if err := s.Release(ctx, "lock", "a"); err != nil || !has("b") {
		t.Errorf("it was not given back: %v", err)
	}
	redis.CLI("PEXPIRE", "edge:lock", "1")
	edgetest.WaitFor(t, "the lease to end", func() bool { return has("c") })
	var won atomic.Int32
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			if ok, err := s.Lease(ctx, "raced", fmt.Sprint(i), time.Minute); ok && err == nil {
				won.Add(1)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 {
		t.Errorf("%d have it", won.Load())
	}
}

func TestTakeCountsWithinAWindow(t *testing.T) {
	redis := edgetest.Redis(t)
	s, ctx := open(t, redis), t.Context()
	for i := range 5 {
		wait, err := s.Take(ctx, "quota", 3, time.Hour)
		if err != nil || (wait == 0) != (i < 3) || wait > time.Hour {
			t.Errorf("%d: %v %v", i, wait, err)
		}
	}
	redis.CLI("PEXPIRE", "edge:quota", "1")
	edgetest.WaitFor(t, "the window to end", func() bool { wait, err := s.Take(ctx, "quota", 3, time.Hour); return wait == 0 && err == nil })
	redis.CLI("SET", "edge:for-ever", "9")
	if wait, err := s.Take(ctx, "for-ever", 3, time.Hour); wait <= 0 || err != nil {
		t.Errorf("one without a life: %v %v", wait, err)
	}
}

// An order that was not made is given back; of what is no count, or has ended, there is nothing to give.
func TestGiveBackTakesOneOfTheCount(t *testing.T) {
	redis := edgetest.Redis(t)
	s, ctx := open(t, redis), t.Context()
	redis.CLI("SET", "edge:junk", "x")
	redis.CLI("RPUSH", "edge:list", "x")
	for _, key := range []string{"quota", "junk", "list"} {
		if err := s.GiveBack(ctx, key); err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
	if there := redis.CLI("EXISTS", "edge:quota"); there != "0" {
		t.Errorf("a count that was not there is %s", redis.CLI("GET", "edge:quota"))
	}
	taken := func() (n int) {
		t.Helper()
		for {
			switch wait, err := s.Take(ctx, "quota", 2, time.Hour); {
			case err != nil:
				t.Fatal(err)
			case wait > 0:
				return n
			}
			n++
		}
	}
	if n := taken(); n != 2 {
		t.Fatalf("%d are free, want 2", n)
	}
	if err := s.GiveBack(ctx, "quota"); err != nil {
		t.Fatal(err)
	}
	if n := taken(); n != 1 {
		t.Errorf("%d are free, want the one that was given back", n)
	}
	if ttl := redis.CLI("PTTL", "edge:quota"); len(ttl) != len("3600000") {
		t.Errorf("the window ends in %s ms", ttl)
	}
}

// What somebody else wrote at one key is no reason to read none of the others, and gives way to what is written: values of another type, ranks beyond all
// ranks, leases and counts without an end.
func TestBadValueHoldsUpNothing(t *testing.T) {
	redis := edgetest.Redis(t)
	s, ctx := open(t, redis), t.Context()
	redis.CLI("RPUSH", "edge:list", "x")
	if err := s.Write(ctx, "good", []byte("1"), time.Minute); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Read(ctx, "list", "good", "none"); err != nil || got[0] == nil || len(got[0]) > 0 || string(got[1]) != "1" || got[2] != nil {
		t.Errorf("values: %q %v", got, err)
	}
	if got, err := s.Create(ctx, "list", []byte("1"), time.Minute); err != nil || got == nil || len(got) > 0 {
		t.Errorf("create: %q %v", got, err)
	}
	redis.CLI("SET", "edge:cert:{text}", "x")
	for name, rank := range map[string]string{"huge": "99999999999999999999", "letters": "zzzzzzzzzzzzzzzzzzzz", "negative": "-0000000000000000001"} {
		redis.CLI("HSET", "edge:cert:{"+name+"}", "value", "x", "rank", rank)
	}
	good := acme.Ranked{Value: []byte("y"), Rank: 5}
	if written, err := s.WriteRanked(ctx, "cert:{good}", good, time.Hour); !written || err != nil {
		t.Fatal(written, err)
	}
	got, err := s.ReadRanked(ctx, "cert:{text}", "cert:{huge}", "cert:{good}", "cert:{none}")
	if err != nil || got[0].Value == nil || len(got[0].Value) > 0 || got[1].Rank != 0 || got[2].Rank != 5 || got[3].Value != nil {
		t.Errorf("ranked: %+v %v", got, err)
	}
	for _, name := range []string{"text", "huge", "letters", "negative"} {
		key := "cert:{" + name + "}"
		if written, err := s.WriteRanked(ctx, key, good, time.Hour); !written || err != nil {
			t.Errorf("%s: %v %v", name, written, err)
		}
		if got, err := s.ReadRanked(ctx, key); err != nil || string(got[0].Value) != "y" || got[0].Rank != 5 {
			t.Errorf("%s: %+v %v", name, got, err)
		}
	}
	redis.CLI("RPUSH", "edge:lock1", "x")
	if ok, err := s.Lease(ctx, "lock1", "me", time.Minute); !ok || err != nil {
		t.Errorf("a lease of another type: %v %v", ok, err)
	}
	redis.CLI("SET", "edge:lock2", "nobody")
	if ok, err := s.Lease(ctx, "lock2", "me", 50*time.Millisecond); ok || err != nil {
		t.Errorf("another's lease: %v %v", ok, err)
	}
	edgetest.WaitFor(t, "a lease without an end to end", func() bool { ok, err := s.Lease(ctx, "lock2", "me", time.Minute); return ok && err == nil })
	redis.CLI("SET", "edge:quota", "9")
	if wait, err := s.Take(ctx, "quota", 3, 50*time.Millisecond); wait < 10*time.Millisecond || err != nil {
		t.Errorf("a count without an end: %v %v", wait, err)
	}
	edgetest.WaitFor(t, "a count without an end to end", func() bool { wait, err := s.Take(ctx, "quota", 3, time.Hour); return wait == 0 && err == nil })
	redis.CLI("SET", "edge:years", "9", "EX", "100000000")
	if wait, err := s.Take(ctx, "years", 3, time.Hour); wait > time.Hour || err != nil {
		t.Errorf("a count of years: %v %v", wait, err)
	}
	if ttl := redis.CLI("PTTL", "edge:years"); len(ttl) > len("3600000") {
		t.Errorf("it ends in %s ms", ttl)
	}
}

// Only what was read is replaced.
func TestReplaceIsOfWhatWasRead(t *testing.T) {
	redis := edgetest.Redis(t)
	s, ctx := open(t, redis), t.Context()
	if _, err := s.WriteRanked(ctx, "c", acme.Ranked{Value: []byte("a"), Rank: 9}, time.Hour); err != nil {
		t.Fatal(err)
	}
	for i, there := range []string{"b", "a", "a"} {
		if written, err := s.Replace(ctx, "c", []byte(there), acme.Ranked{Value: []byte("c"), Rank: 4}, time.Hour); written != (i == 1) || err != nil {
			t.Errorf("%d: %v %v", i, written, err)
		}
	}
	if got, err := s.ReadRanked(ctx, "c"); err != nil || string(got[0].Value) != "c" || got[0].Rank != 4 {
		t.Errorf("%+v %v", got, err)
	}
	if written, err := s.Replace(ctx, "none", nil, acme.Ranked{Value: []byte("c"), Rank: 4}, time.Hour); written || err != nil {
		t.Errorf("what is not there: %v %v", written, err)
	}
}

// listener gathers what Follow tells.
type listener struct {
	mu     sync.Mutex
	events []string
	missed int
}

func (l *listener) follow(t testing.TB, s *Store) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- s.Follow(ctx, func(event string) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.events = append(l.events, event)
		}, func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.missed++
		})
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func (l *listener) has(event string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Contains(l.events, event)
}

func (l *listener) misses() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.missed
}

func TestEventsReachEveryNodeOnceAndInOrder(t *testing.T) {
	redis := edgetest.Redis(t)
	a, b := open(t, redis), open(t, redis)
	if err := a.Announce(t.Context(), "before"); err != nil {
		t.Fatal(err)
	}
	var here, there listener
	here.follow(t, a)
	there.follow(t, b)
	edgetest.WaitFor(t, "both to follow", func() bool { return here.misses() == 1 && there.misses() == 1 })
	for i := range 20 {
		if err := []*Store{a, b}[i%2].Announce(t.Context(), fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	for _, l := range []*listener{&here, &there} {
		edgetest.WaitFor(t, "the last event", func() bool { return l.has("19") })
		l.mu.Lock()
		if got := strings.Join(l.events, " "); got != "0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19" {
			t.Errorf("events %s", got)
		}
		l.mu.Unlock()
	}
	redis.Restart(true)
	edgetest.WaitFor(t, "both to know that they may have missed some", func() bool { return here.misses() > 1 && there.misses() > 1 })
	edgetest.WaitFor(t, "redis to take another", func() bool { return a.Announce(t.Context(), "after") == nil })
	edgetest.WaitFor(t, "it to come", func() bool { return there.has("after") })
}

// A Redis that is emptied on a live connection has lost more than events: whoever follows them knows, whether there is another event meanwhile or not.
func TestFollowerOfAnEmptiedRedisKnows(t *testing.T) {
	for name, meanwhile := range map[string]string{"nothing since": "", "an event since": "after"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redis := edgetest.Redis(t)
			s := open(t, redis)
			var l listener
			l.follow(t, s)
			edgetest.WaitFor(t, "it to follow", func() bool { return l.misses() == 1 })
			if err := s.Announce(t.Context(), "before"); err != nil {
				t.Fatal(err)
			}
			edgetest.WaitFor(t, "the event", func() bool { return l.has("before") })
			for n := 2; n <= 3; n++ { // the second time, nothing was ever announced
				redis.CLI("FLUSHALL")
				if meanwhile != "" {
					if err := s.Announce(t.Context(), meanwhile); err != nil {
						t.Fatal(err)
					}
				}
				edgetest.WaitFor(t, "it to know", func() bool { return l.misses() == n })
			}
		})
	}
}

// Whoever cannot keep up with the stream's length is told so.
func TestFollowerThatIsTooSlowMissesAndKnows(t *testing.T) {
	redis := edgetest.Redis(t)
	s := open(t, redis)
	block, first := make(chan struct{}), make(chan struct{})
	var missed atomic.Int32
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		once := sync.OnceFunc(func() { close(first); <-block })
		done <- s.Follow(ctx, func(string) { once() }, func() { missed.Add(1) })
	}()
	edgetest.WaitFor(t, "it to follow", func() bool { return missed.Load() == 1 })
	must := func(event string) {
		if err := s.Announce(t.Context(), event); err != nil {
			t.Fatal(err)
		}
	}
	must("first")
	<-first
	for i := range 2 * eventsKept {
		must(fmt.Sprint(i))
	}
	close(block)
	edgetest.WaitFor(t, "it to know", func() bool { return missed.Load() > 1 })
	cancel()
	<-done
}

func TestRedisThatHangsCostsNobodyMuch(t *testing.T) {
	redis := edgetest.Redis(t)
	s := open(t, redis)
	redis.Suspend()
	defer redis.Resume()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := s.ReadRanked(ctx, "cert:{a.test}"); err == nil {
		t.Error("an answer of a hung server")
	}
}
