package redisblock

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gatehouse/edge/iplist"
	"gatehouse/internal/edgetest"
	"gatehouse/internal/redisconn"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A node is one that shares the Redis.
type node struct {
	*Store
	blocks *iplist.Blocks
	log    *edgetest.Output
	stop   func()
}

func start(t *testing.T, url, file string) *node {
	t.Helper()
	n := open(t, url, file)
	n.run(t)
	return n
}

// open is start for a node that does not follow yet.
func open(t *testing.T, url, file string) *node {
	t.Helper()
	o, err := redisconn.Parse(url)
	if err != nil {
		t.Fatal(err)
	}
	client, err := redisconn.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	n := &node{log: &edgetest.Output{}}
	logger := slog.New(slog.NewTextHandler(n.log, nil))
	if n.blocks, err = iplist.OpenBlocks(iplist.BlocksOptions{Path: file, Logger: logger}); err != nil {
		t.Fatal(err)
	}
	if n.Store, err = New(Options{Client: client, Blocks: n.blocks, Logger: logger}); err != nil {
		t.Fatal(err)
	}
	n.stop = sync.OnceFunc(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { n.stop() })
	return n
}

// run follows until stop is called, or the test ends.
func (n *node) run(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	closed := n.stop
	n.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		closed()
	})
}

func (n *node) has(client, tenant string) bool {
	return n.blocks.Blocked(netip.MustParseAddr(client), tenant)
}

func (n *node) wait(t *testing.T, what string, condition func() bool) {
	t.Helper()
	edgetest.WaitFor(t, what, condition)
}

func (n *node) add(t *testing.T, network, tenant string, life time.Duration) {
	t.Helper()
	b := iplist.Block{Network: netip.MustParsePrefix(network), Tenant: tenant, Note: "n", Added: time.Now()}
	if life > 0 {
		b.Until = time.Now().Add(life)
	}
	if err := n.Add(t.Context(), b); err != nil {
		t.Fatal(err)
	}
}

func TestABlockActsOnAllNodesAndOutlivesRedis(t *testing.T) {
	t.Parallel()
	redis := edgetest.Redis(t)
	url := redis.URL() + "#edge:"
	file := filepath.Join(t.TempDir(), "blocks.json")
	one, two := start(t, url, ""), start(t, url, file)
	one.wait(t, "both to follow", func() bool { return one.Followed() && two.Followed() })

	one.add(t, "192.0.2.0/24", "", time.Hour)
	one.add(t, "2001:db8::/32", "shop", 0)
	if !one.has("192.0.2.1", "") || !one.has("2001:db8::1", "shop") {
		t.Error("it does not act here at once")
	}
	two.wait(t, "the other node", func() bool { return two.has("192.0.2.1", "blog") && two.has("2001:db8::1", "shop") })
	if two.has("2001:db8::1", "blog") {
		t.Error("a tenant's block acts for another")
	}
	if got := redis.CLI("--no-raw", "HKEYS", "edge:block:{*}"); !strings.Contains(got, "192.0.2.0/24") {
		t.Error(got)
	}
	if was, err := two.Remove(t.Context(), netip.MustParsePrefix("192.0.2.0/24"), ""); err != nil || !was || two.has("192.0.2.1", "") {
		t.Error(was, err)
	}
	one.wait(t, "the other node", func() bool { return !one.has("192.0.2.1", "") })
	if was, err := two.Remove(t.Context(), netip.MustParsePrefix("192.0.2.0/24"), ""); err != nil || was {
		t.Error(was, err)
	}

	redis.Stop()
	two.wait(t, "the loss to be noticed", func() bool { return !two.Followed() })
	if err := two.Add(t.Context(), iplist.Block{Network: netip.MustParsePrefix("10.0.0.0/8")}); err == nil || two.has("10.0.0.1", "") {
		t.Error("a block that no other node hears of", err)
	}
	if !one.has("2001:db8::1", "shop") {
		t.Error("lost with Redis")
	}
	two.stop()
	two = start(t, url, file)
	if !two.has("2001:db8::1", "shop") {
		t.Error("lost over a restart without Redis")
	}

	// An empty Redis gets them back; one that was emptied of blocks by removing them stays so.
	redis.Restart(true)
	two.wait(t, "both to follow", func() bool { return one.Followed() && two.Followed() })
	if !one.has("2001:db8::1", "shop") || !two.has("2001:db8::1", "shop") {
		t.Error("lost with the data of Redis")
	}
	two.wait(t, "Redis to have it", func() bool { return redis.CLI("HLEN", "edge:block:{shop}") == "1" })
	if _, err := one.Remove(t.Context(), netip.MustParsePrefix("2001:db8::/32"), "shop"); err != nil {
		t.Fatal(err)
	}
	two.wait(t, "the removal", func() bool { return !two.has("2001:db8::1", "shop") })
	redis.Restart(false)
	two.wait(t, "the restart", func() bool { return redis.CLI("PING") == "PONG" && one.Followed() && two.Followed() })
	if one.blocks.Len()+two.blocks.Len() != 0 || redis.CLI("EXISTS", "edge:block:{shop}") != "0" {
		t.Error("it came back")
	}
}

func TestBlocksByHand(t *testing.T) {
	t.Parallel()
	redis := edgetest.Redis(t)
	n := start(t, redis.URL(), "")
	n.wait(t, "it to follow", n.Followed)
	redis.CLI("HSET", "block:{*}", "192.0.2.0/24", "", "10.1.2.3/8", "", "198.51.100.0/24", "not JSON", "203.0.113.7", `{"until": "`+time.Now().Add(time.Hour).Format(time.RFC3339)+`"}`)
	redis.CLI("HSET", "block:{shop}", "2001:db8::/32", `{"note": "by hand"}`)
	redis.CLI("HSET", "block:{no tenant}", "2001:db9::/32", ``)
	n.wait(t, "the blocks", func() bool { return n.has("192.0.2.1", "") && n.has("203.0.113.7", "") && n.has("2001:db8::1", "shop") })
	if n.has("10.1.2.3", "") || n.has("198.51.100.1", "") || n.has("2001:db9::1", "") {
		t.Error("what cannot be read acts")
	}
	n.wait(t, "the log", func() bool { return strings.Count(n.log.String(), "block in redis not usable") == 2 })

	again := start(t, redis.URL(), "") // finds the scope of a tenant, which no tool of ours wrote
	n.wait(t, "another node", func() bool { return again.has("2001:db8::1", "shop") })

	redis.CLI("DEL", "block:{shop}")
	redis.CLI("SET", "block:{shop}", "x") // another type
	redis.CLI("HSET", "block:{*}", "10.0.0.0/8", "")
	n.wait(t, "a scope beside a bad one", func() bool { return n.has("10.1.2.3", "") && again.has("10.1.2.3", "") })
}

// What is over leaves Redis, too, unless it was renewed meanwhile.
func TestWhatIsOverLeavesRedis(t *testing.T) {
	t.Parallel()
	redis := edgetest.Redis(t)
	long := time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)
	redis.CLI("HSET", "block:{*}", "192.0.2.0/24", `{"until": "`+long+`"}`, "198.51.100.0/24", "")
	n := start(t, redis.URL(), "")
	n.wait(t, "it to be removed", func() bool { return redis.CLI("HKEYS", "block:{*}") == "198.51.100.0/24" })
	if n.has("192.0.2.1", "") {
		t.Error("it acts")
	}
	redis.CLI("HSET", "block:{*}", "192.0.2.0/24", "")
	if left, err := dropSame.Run(t.Context(), n.client, []string{"block:{*}"}, "192.0.2.0/24", `{"until": "`+long+`"}`).Int(); err != nil || left != 0 {
		t.Error("a block that was renewed is removed", left, err)
	}
	n.add(t, "10.0.0.0/8", "", 200*time.Millisecond)
	go func() { _ = n.blocks.Run(t.Context()) }()
	n.wait(t, "it to end", func() bool { return !n.has("10.0.0.1", "") })
}

func TestTooManyBlocksAreRefused(t *testing.T) {
	t.Parallel()
	redis := edgetest.Redis(t)
	n := start(t, redis.URL(), "")
	var commands strings.Builder
	for i := range 10 {
		commands.WriteString("HSET block:{*}")
		for j := range 1000 {
			fmt.Fprintf(&commands, ` 10.%d.%d.%d ""`, i, j>>8, j&255)
		}
		commands.WriteString("\n")
	}
	redis.CLIInput(commands.String())
	if err := n.Add(t.Context(), iplist.Block{Network: netip.MustParsePrefix("192.0.2.0/24")}); !errors.Is(err, iplist.ErrTooMany) {
		t.Error(err)
	}
	n.wait(t, "them to act", func() bool { return n.has("10.9.3.231", "") })
}

// A Cluster tells of no changes: it is asked.
func TestBlocksInACluster(t *testing.T) {
	t.Parallel()
	redis := edgetest.Redis(t, "--cluster-enabled", "yes", "--cluster-require-full-coverage", "no")
	redis.CLI("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
	edgetest.WaitFor(t, "the cluster", func() bool { return strings.Contains(redis.CLI("CLUSTER", "INFO"), "cluster_state:ok") })
	url := "redis+cluster://" + redis.Addr()
	one, two := start(t, url, ""), start(t, url, "")
	one.add(t, "192.0.2.0/24", "", 0)
	one.add(t, "2001:db8::/32", "shop", 0)
	two.wait(t, "the other node", func() bool { return two.has("192.0.2.1", "") && two.has("2001:db8::1", "shop") })
	if _, err := two.Remove(t.Context(), netip.MustParsePrefix("2001:db8::/32"), "shop"); err != nil {
		t.Fatal(err)
	}
	one.wait(t, "the removal", func() bool { return !one.has("2001:db8::1", "shop") })
}

// A server that tells of no changes, or a user who may not ask to be told, is asked.
func TestBlocksWhereTrackingIsRefused(t *testing.T) {
	t.Parallel()
	redis := edgetest.Redis(t)
	redis.CLI("ACL", "SETUSER", "polls", "on", ">secret", "~*", "+@all", "-client|tracking")
	url := "redis://polls:secret@" + redis.Addr()
	one, two := start(t, url, ""), start(t, url, "")
	one.add(t, "192.0.2.0/24", "", 0)
	two.wait(t, "the other node", func() bool { return two.has("192.0.2.1", "") })
}
