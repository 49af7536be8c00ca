package redisblock

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/edge/iplist"
	"gatehouse/internal/edgetest"
)

// oneNodeCluster is a Cluster of one server, which has all slots.
func oneNodeCluster(t *testing.T) *edgetest.RedisServer {
	t.Helper()
	redis := edgetest.Redis(t, "--cluster-enabled", "yes", "--cluster-require-full-coverage", "no")
	redis.CLI("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
	edgetest.WaitFor(t, "the cluster", func() bool { return strings.Contains(redis.CLI("CLUSTER", "INFO"), "cluster_state:ok") })
	return redis
}

// some are blocks of a tenant, without end.
func some(tenant string, count int) []iplist.Block {
	out := make([]iplist.Block, count)
	for i := range out {
		out[i] = iplist.Block{Network: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32), Tenant: tenant}
	}
	return out
}

// write writes blocks as tools do: without a look at what there is.
func write(redis *edgetest.RedisServer, blocks ...iplist.Block) {
	var commands strings.Builder
	for _, b := range blocks {
		fmt.Fprintf(&commands, "HSET block:{%s} %s \"\"\n", scopeOf(b.Tenant), b.Network)
	}
	for _, b := range blocks {
		fmt.Fprintf(&commands, "SADD %s %s\n", scopesKey, scopeOf(b.Tenant))
	}
	redis.CLIInput(commands.String())
}

// Redis is emptied, and the nodes that write back are interrupted behind two of three tenants: until it is done, no node, and no Redis, takes a
// part for all there is.
func TestAnInterruptedWriteBackLosesNoBlock(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		start  func(*testing.T) *edgetest.RedisServer
		scheme string
	}{
		"alone":   {func(t *testing.T) *edgetest.RedisServer { return edgetest.Redis(t) }, "redis://"},
		"cluster": {oneNodeCluster, "redis+cluster://"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redis := test.start(t)
			redis.CLI("ACL", "SETUSER", "node", "on", ">secret", "~*", "+@all")
			all := slices.Concat(some("", 100), some("a", 100), some("b", 100), some("c", 100))
			write(redis, all...)
			url := test.scheme + "node:secret@" + redis.Addr()
			nodes := []*node{start(t, url, ""), start(t, url, "")}
			for _, n := range nodes {
				n.wait(t, "the blocks", func() bool { return n.blocks.Len() == len(all) })
			}
			redis.CLI("ACL", "SETUSER", "node", "resetkeys", "%R~*", "~block:{[*]}", "~block:{a}", "~block:{b}", "~"+scopesKey)
			redis.CLI("FLUSHALL")
			for _, n := range nodes {
				n.wait(t, "the write-back to be interrupted", func() bool { return strings.Contains(n.log.String(), "NOPERM") })
			}
			if third := open(t, url, ""); third.full() != nil || third.blocks.Len() > 300 {
				t.Error("a node that reads what is half done", third.blocks.Len())
			}
			redis.CLI("ACL", "SETUSER", "node", "~*")
			nodes[0].wait(t, "all to be back", func() bool { return redis.CLI("HLEN", "block:{c}") == "100" })
			for _, n := range append(nodes, start(t, url, "")) {
				n.wait(t, "all the blocks", func() bool { return n.Followed() && n.blocks.Len() == len(all) })
			}
		})
	}
}

// full reads Redis once.
func (n *node) full() error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	f := follower{store: n.Store}
	var err error
	if f.session, err = n.client.Session(ctx); err != nil {
		return err
	}
	return errors.Join(f.full(ctx), f.session.Close())
}

// Whoever adds or removes a block before it was noticed that Redis was emptied does not hide it.
func TestAChangeInAnEmptiedRedisLosesNoBlock(t *testing.T) {
	t.Parallel()
	redis := edgetest.Redis(t)
	one, two := open(t, redis.URL(), ""), open(t, redis.URL(), "")
	write(redis, slices.Concat(some("", 3), some("a", 3))...)
	for _, n := range []*node{one, two} {
		if err := n.full(); err != nil {
			t.Fatal(err)
		}
	}
	redis.CLI("FLUSHALL")
	one.add(t, "192.0.2.0/24", "b", 0)
	if err := two.full(); err != nil || two.blocks.Len() != 7 {
		t.Error(two.blocks.List(), err)
	}
	redis.CLI("FLUSHALL")
	if was, err := one.Remove(t.Context(), netip.MustParsePrefix("192.0.2.0/24"), "b"); !was || err != nil {
		t.Error(was, err)
	}
	if err := two.full(); err != nil || two.blocks.Len() != 6 {
		t.Error(two.blocks.List(), err)
	}
	redis.CLI("DEL", scopesKey) // alone: nothing else is lost
	if err := errors.Join(two.full(), one.full()); err != nil || one.blocks.Len() != 6 || redis.CLI("SCARD", scopesKey) != "2" {
		t.Error(one.blocks.List(), err)
	}
}

// The limit is of all scopes: who comes after it is refused, and of what others have written all nodes leave out the same.
func TestTheLimitOfBlocksIsOfAllScopes(t *testing.T) {
	t.Parallel()
	redis := edgetest.Redis(t)
	write(redis, slices.Concat(some("", 4000), some("a", iplist.MaxBlocks-4000))...)
	one, two := open(t, redis.URL(), ""), open(t, redis.URL(), "")
	if err := one.full(); err != nil || one.blocks.Len() != iplist.MaxBlocks {
		t.Fatal(one.blocks.Len(), err)
	}
	b := iplist.Block{Network: netip.MustParsePrefix("192.0.2.0/24"), Tenant: "b"}
	if err := one.Add(t.Context(), b); !errors.Is(err, iplist.ErrTooMany) || redis.CLI("EXISTS", "block:{b}") != "0" {
		t.Error("one more is taken", err)
	}
	if err := one.Add(t.Context(), some("a", 1)[0]); err != nil {
		t.Error("one that is there is refused", err)
	}
	write(redis, some("b", 100)...)
	for range 5 {
		for _, n := range []*node{one, two} {
			if err := n.full(); err != nil {
				t.Fatal(err)
			}
			if list := n.blocks.List(); len(list) != iplist.MaxBlocks || list[len(list)-1].Tenant != "a" {
				t.Fatal("other blocks than the first act", len(list), list[len(list)-1])
			}
		}
	}
	for _, n := range []*node{one, two} {
		if strings.Count(n.log.String(), "too many blocks") != 1 || !strings.Contains(n.log.String(), "left=100") {
			t.Error("not said once:", n.log)
		}
	}
}

// A scope of too many fields, and one of another type, are said once and hold up nobody else: of more than a million the reply could not be read over.
func TestAKeyThatCannotBeReadHoldsUpNobody(t *testing.T) {
	t.Parallel()
	redis := edgetest.Redis(t)
	n := start(t, redis.URL(), "")
	n.add(t, "192.0.2.0/24", "shop", 0)
	n.wait(t, "it to follow", n.Followed)
	write(redis, some("huge", iplist.MaxBlocks+1)...)
	redis.CLI("DEL", "block:{shop}")
	redis.CLI("SET", "block:{shop}", "x")
	for i := range 3 {
		network := fmt.Sprintf("198.51.100.%d/32", i)
		n.wait(t, "it to follow", n.Followed)
		write(redis, iplist.Block{Network: netip.MustParsePrefix(network)})
		n.wait(t, "a block beside them", func() bool { return n.has(network[:len(network)-3], "") })
		redis.CLI("SADD", scopesKey, "s"+strconv.Itoa(i)) // all is read again
	}
	if log := n.log.String(); strings.Count(log, "block:{huge}") != 1 || strings.Count(log, "block:{shop}") != 1 || strings.Contains(log, "not followed") {
		t.Error(log)
	}
}

// As above, where all is read twice a second.
func TestAKeyThatCannotBeReadIsSaidOnceInACluster(t *testing.T) {
	t.Parallel()
	redis := oneNodeCluster(t)
	write(redis, some("huge", iplist.MaxBlocks+1)...)
	redis.CLI("SADD", scopesKey, "shop")
	redis.CLI("SET", "block:{shop}", "x")
	n := open(t, "redis+cluster://"+redis.Addr(), "")
	for range 3 {
		if err := n.full(); err != nil {
			t.Fatal(err)
		}
	}
	if log := n.log.String(); strings.Count(log, "block:{huge}") != 1 || strings.Count(log, "block:{shop}") != 1 || n.blocks.Len() != 0 {
		t.Error(log, n.blocks.Len())
	}
}

var calls = regexp.MustCompile(`cmdstat_(?:eval|evalsha|hdel):calls=(\d+)`)

// What is over leaves Redis behind what comes into force, by a few commands.
func TestWhatIsOverHoldsUpNoBlock(t *testing.T) {
	t.Parallel()
	redis := edgetest.Redis(t)
	var commands strings.Builder
	for i, b := range some("", 2*dropMost) {
		fmt.Fprintf(&commands, "HSET block:{*} %s '{\"until\": \"2020-01-01T00:00:00Z\", \"note\": \"%d\"}'\n", b.Network, i)
	}
	commands.WriteString("HSET block:{*} 192.0.2.0/24 \"\"\n")
	redis.CLIInput(commands.String())
	n := start(t, redis.URL(), "")
	n.wait(t, "them to leave Redis", func() bool { return redis.CLI("HLEN", "block:{*}") == "1" })
	if !n.has("192.0.2.1", "") {
		t.Error("what is not over does not act")
	}
	sent := 0
	for _, m := range calls.FindAllStringSubmatch(redis.CLI("INFO", "commandstats"), -1) {
		if count, _ := strconv.Atoi(m[1]); !strings.Contains(m[0], "hdel") { // within a script
			sent += count
		}
	}
	if sent > 10 {
		t.Errorf("%d commands for %d blocks", sent, 2*dropMost)
	}
}

// What was read before a block was added, or removed, is not applied after it.
func TestABlockIsNotUndoneByWhatWasReadBefore(t *testing.T) {
	t.Parallel()
	redis := edgetest.Redis(t)
	n := open(t, redis.URL(), "")
	n.add(t, "198.51.100.0/24", "", 0)
	f := follower{store: n.Store}
	err := f.alone(t.Context(), func(context.Context) error {
		f.known = state{"": {{network: "198.51.100.0/24"}}}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if err := n.Add(ctx, iplist.Block{Network: netip.MustParsePrefix("192.0.2.0/24")}); !errors.Is(err, context.DeadlineExceeded) {
			t.Error("a block is added meanwhile", err)
		}
		if _, err := n.Remove(ctx, netip.MustParsePrefix("198.51.100.0/24"), ""); !errors.Is(err, context.DeadlineExceeded) {
			t.Error("a block is removed meanwhile", err)
		}
		return nil
	})
	if err != nil || !n.has("198.51.100.1", "") || redis.CLI("HLEN", "block:{*}") != "1" {
		t.Error(err, n.blocks.List())
	}
}

// Nobody follows here, who would bring back what is lost.
func TestBlocksThatAreAddedAtATimeAllAct(t *testing.T) {
	t.Parallel()
	redis := edgetest.Redis(t)
	n := open(t, redis.URL(), "")
	many := some("", 50)
	var all sync.WaitGroup
	for _, b := range many {
		all.Go(func() {
			if err := n.Add(t.Context(), b); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n.blocks.Len() != len(many) {
		t.Errorf("%d blocks of %d act", n.blocks.Len(), len(many))
	}
}

// Who writes by hand knows of no set of scopes: his are heard of also where that changes, or all is flushed, in the same moment.
func TestAScopeByHandIsHeardOfBesideOtherChanges(t *testing.T) {
	t.Parallel()
	redis := edgetest.Redis(t)
	n := start(t, redis.URL(), "")
	n.wait(t, "it to follow", n.Followed)
	for i, other := range []string{"SADD " + scopesKey + " other", "FLUSHALL"} {
		redis.CLIInput(fmt.Sprintf("MULTI\n%s\nHSET block:{s%d} 192.0.2.0/24 \"\"\nEXEC\n", other, i))
		n.wait(t, "the block beside "+other, func() bool { return n.has("192.0.2.1", fmt.Sprint("s", i)) })
	}
}

// The Sentinels name another master, and the old one, cut off from them, goes on as if nothing were.
func TestBlocksAreThoseOfTheSentinelsMaster(t *testing.T) {
	t.Parallel()
	was, is := edgetest.Redis(t), edgetest.Redis(t)
	_, port, _ := net.SplitHostPort(was.Addr())
	sentinel := edgetest.Sentinel(t, port)
	n := open(t, "redis+sentinel://"+sentinel.Addr()+"/main", "")
	n.pingEvery = 50 * time.Millisecond
	write(is, iplist.Block{Network: netip.MustParsePrefix("192.0.2.0/24")})
	edgetest.WaitFor(t, "the Sentinel", func() bool { return strings.Contains(sentinel.CLI("PING"), "PONG") })
	n.run(t)
	n.wait(t, "it to follow", n.Followed)
	sentinel.CLI("SENTINEL", "REMOVE", "main")
	_, port, _ = net.SplitHostPort(is.Addr())
	sentinel.CLI("SENTINEL", "MONITOR", "main", "127.0.0.1", port, "1")
	n.wait(t, "the new master's block", func() bool { return n.has("192.0.2.1", "") })
}
