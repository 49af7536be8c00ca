package redishealth

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gatehouse/edge/health"
	"gatehouse/internal/edgetest"
	"gatehouse/internal/redisconn"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A node is a register that follows a Redis.
type node struct {
	*health.Register
	file   string
	log    edgetest.Output
	shared *Store

	mu      sync.Mutex
	drained []string
	key     health.Key
}

func (n *node) keys() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.drained
}

func (n *node) sticky() health.Key {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.key
}

func store(t *testing.T, redis *edgetest.RedisServer) *Store {
	t.Helper()
	o, err := redisconn.Parse("redis://" + redis.Addr() + "#edge:")
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

// join starts a node until the test ends or stop is called.
func join(t *testing.T, redis *edgetest.RedisServer, name, file string) (n *node, stop func()) {
	t.Helper()
	n = &node{file: file, shared: store(t, redis)}
	n.Register, stop = joinWith(t, redis, health.Options{
		File: file, Node: name, Logger: slog.New(slog.NewTextHandler(&n.log, nil)),
		Apply: func(drains []health.Drain) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.drained = nil
			for _, d := range drains {
				n.drained = append(n.drained, d.Key())
			}
		},
		UseKey: func(k health.Key) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.key = k
		},
		InFlight: func(d health.Drain) int64 { return int64(len(d.URL)) },
	})
	return n, stop
}

func joinWith(t *testing.T, redis *edgetest.RedisServer, o health.Options) (r *health.Register, stop func()) {
	t.Helper()
	o.Shared = store(t, redis)
	r = health.Open(o)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", o.Node, err)
		}
	})
	t.Cleanup(stop)
	return r, stop
}

func (n *node) await(t *testing.T, want ...string) {
	t.Helper()
	edgetest.WaitFor(t, "the node's drains", func() bool { return slices.Equal(n.keys(), want) })
}

func TestADrainActsOnAllNodes(t *testing.T) {
	t.Parallel()
	redis := edgetest.Redis(t)
	dir := t.TempDir()
	a, _ := join(t, redis, "a", filepath.Join(dir, "a.json"))
	b, stopB := join(t, redis, "b", filepath.Join(dir, "b.json"))
	edgetest.WaitFor(t, "one key for both", func() bool { return a.sticky() == b.sticky() })

	begin := time.Now()
	if err := a.Set(t.Context(), health.Drain{URL: "http://x", Since: begin}, true); err != nil {
		t.Fatal(err)
	}
	if behind, err := a.Await(t.Context()); err != nil || len(behind) > 0 {
		t.Errorf("behind %v, %v", behind, err)
	}
	t.Logf("on both nodes after %v", time.Since(begin).Round(time.Millisecond))
	b.await(t, "http://x")
	s, err := a.Standing(t.Context())
	if err != nil || len(s.Reports) != 2 || s.InFlight(&health.Drain{URL: "http://x"})["b"] != int64(len("http://x")) {
		t.Errorf("standing %+v, %v", s, err)
	}

	// What is done elsewhere while a node is away it learns when it is back; before it reaches Redis it acts by its file.
	stopB()
	if err := a.Set(t.Context(), health.Drain{URL: "http://x"}, false); err != nil {
		t.Fatal(err)
	}
	if err := a.Set(t.Context(), health.Drain{URL: "http://y", Tenant: "shop"}, true); err != nil {
		t.Fatal(err)
	}
	redis.Stop()
	again, _ := join(t, redis, "b", b.file)
	again.await(t, "http://x")
	if err := again.Set(t.Context(), health.Drain{URL: "http://z"}, true); err == nil || slices.Contains(again.keys(), "http://z") {
		t.Errorf("drained without Redis: %v, %v", again.keys(), err)
	}
	redis.Restart(false)
	again.await(t, "shop http://y")
}

// An emptied Redis must not send requests to what is being repaired; nor need a word of redis-cli be told of.
func TestWhatRedisLosesNodesBringBack(t *testing.T) {
	t.Parallel()
	redis := edgetest.Redis(t)
	a, _ := join(t, redis, "a", "")
	if err := a.Set(t.Context(), health.Drain{URL: "http://x"}, true); err != nil {
		t.Fatal(err)
	}
	redis.CLI("FLUSHALL")
	s := store(t, redis)
	edgetest.WaitFor(t, "the drain to be in Redis again", func() bool {
		snapshot, err := s.Read(t.Context(), "")
		return err == nil && len(snapshot.Drains) == 1 && snapshot.Version != ""
	})
	a.await(t, "http://x")
	redis.CLI("HDEL", "edge:gatehouse:{backends}:drains", "http://x")
	redis.CLI("SET", "edge:gatehouse:{backends}:version", "by hand")
	a.await(t)
}

func TestNodesThatAreGoneAreForgotten(t *testing.T) {
	t.Parallel()
	redis := edgetest.Redis(t)
	s := store(t, redis)
	for _, name := range []string{"a", "b"} {
		if err := s.Report(t.Context(), name, health.Report{Version: "1"}); err != nil {
			t.Fatal(err)
		}
	}
	redis.CLI("DEL", "edge:gatehouse:{backends}:node:b")
	if reports, _, err := s.Reports(t.Context()); err != nil || len(reports) != 1 || reports["a"].Version != "1" {
		t.Errorf("%v %v", reports, err)
	}
	if got := redis.CLI("SMEMBERS", "edge:gatehouse:{backends}:nodes"); got != "a" {
		t.Errorf("nodes %q", got)
	}
}

// A node that ends in order is not waited for.
func TestANodeThatEndsIsForgottenAtOnce(t *testing.T) {
	t.Parallel()
	redis := edgetest.Redis(t)
	a, _ := join(t, redis, "a", "")
	_, stopB := join(t, redis, "b", "")
	reported := func() int {
		reports, _, err := a.shared.Reports(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return len(reports)
	}
	edgetest.WaitFor(t, "both to report", func() bool { return reported() == 2 })
	stopB()
	if n := reported(); n != 1 {
		t.Errorf("%d nodes after one has ended", n)
	}
}

// A node that is cut off from Redis may go on sending requests to what is drained: it counts.
func TestANodeThatIsNotHeardOfDoesNotActByADrain(t *testing.T) {
	t.Parallel()
	redis := edgetest.Redis(t)
	a, _ := join(t, redis, "a", "")
	if err := store(t, redis).Report(t.Context(), "b/0", health.Report{Version: "before"}); err != nil {
		t.Fatal(err)
	}
	for key := range strings.FieldsSeq(redis.CLI("KEYS", "edge:gatehouse:{backends}:node:*")) {
		if life := redis.CLI("TTL", key); life != "120" && life != "119" {
			t.Errorf("%s has %s seconds", key, life)
		}
	}
	if err := a.Set(t.Context(), health.Drain{URL: "http://x"}, true); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if behind, err := a.Await(ctx); err != nil || !slices.Equal(behind, []string{"b"}) {
		t.Errorf("behind %v, %v", behind, err)
	}
}

// Two nodes may have one name, and a node has two processes after an upgrade: what is under way in each counts.
func TestProcessesOfOneNameAreCountedEach(t *testing.T) {
	t.Parallel()
	redis := edgetest.Redis(t)
	a, _ := join(t, redis, "host", "")
	join(t, redis, "host", "")
	d := health.Drain{URL: "http://x"}
	if err := a.Set(t.Context(), d, true); err != nil {
		t.Fatal(err)
	}
	edgetest.WaitFor(t, "both to be counted", func() bool {
		s, err := a.Standing(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		under := s.InFlight(&d)
		return len(under) == 1 && under["host"] == 2*int64(len(d.URL))
	})
}

// What somebody has written where nodes say how they stand keeps nobody waiting.
func TestReportsThatCannotBeReadAreLeftOut(t *testing.T) {
	t.Parallel()
	redis := edgetest.Redis(t)
	a, _ := join(t, redis, "a", "")
	redis.CLI("SADD", "edge:gatehouse:{backends}:nodes", "junk")
	redis.CLI("SET", "edge:gatehouse:{backends}:node:junk", "junk")
	if err := a.Set(t.Context(), health.Drain{URL: "http://x"}, true); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if behind, err := a.Await(t.Context()); err != nil || len(behind) > 0 {
			t.Fatalf("behind %v, %v", behind, err)
		}
	}
	if n := strings.Count(a.log.String(), "node:junk"); n != 1 {
		t.Errorf("told %d times:\n%s", n, a.log.String())
	}
}

// prober is one whose backends are all sick.
func prober() *health.Prober {
	p := health.NewProber(health.ProberOptions{
		Probe: func(context.Context, health.Target) error { return errors.New("sick") },
		Found: func(health.Target, *health.Finding) {},
	})
	p.Add(health.Target{Vhost: "a.test", URL: "http://a", Path: "/", Interval: 50 * time.Millisecond, Timeout: time.Second, Rise: 1, Fall: 1})
	return p
}

// One node checks for all; when it dies another does, and when Redis does, each for itself.
func TestOneNodeChecksForAll(t *testing.T) {
	t.Parallel()
	redis := edgetest.Redis(t)
	probers := []*health.Prober{prober(), prober()}
	for i, p := range probers {
		joinWith(t, redis, health.Options{Node: string(rune('a' + i)), Prober: p})
	}
	leading := func() (n int) {
		for _, p := range probers {
			if p.Leading() {
				n++
			}
		}
		return n
	}
	edgetest.WaitFor(t, "both to know what one has found", func() bool {
		return leading() == 1 && probers[0].Down() == 1 && probers[1].Down() == 1
	})
	lease := "edge:gatehouse:{backends}:prober:" + probers[0].Digest()
	redis.CLI("SET", lease, "one that has died", "PX", "1500")
	edgetest.WaitFor(t, "nobody to check", func() bool { return leading() == 0 })
	edgetest.WaitFor(t, "one to check", func() bool { return leading() == 1 })
	redis.CLI("DEL", "edge:gatehouse:{backends}:down", "edge:gatehouse:{backends}:version")
	edgetest.WaitFor(t, "what was lost to be told anew", func() bool {
		return redis.CLI("HLEN", "edge:gatehouse:{backends}:down") == "1"
	})
	redis.Stop()
	edgetest.WaitFor(t, "each to check for itself", func() bool { return leading() == 2 })
	redis.Restart(false)
	edgetest.WaitFor(t, "one to check for both", func() bool { return leading() == 1 })
}

// Who must not ask for the lease yet sees whether somebody has it.
func TestALeaseIsSeenByOthers(t *testing.T) {
	t.Parallel()
	s := store(t, edgetest.Redis(t))
	for _, want := range []bool{false, true} {
		if leased, err := s.Leased(t.Context(), "digest"); leased != want || err != nil {
			t.Errorf("leased: %v, %v, want %v", leased, err, want)
		}
		if held, err := s.Lease(t.Context(), "digest", "a", time.Minute); !held || err != nil {
			t.Errorf("held: %v, %v", held, err)
		}
	}
}
