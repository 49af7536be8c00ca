package redisblock

import (
	"net/netip"
	"strings"
	"testing"

	"gatehouse/internal/edgetest"
)

// Whoever puts something else in the place of a scope's blocks, and takes it away again, has removed none: nodes write them there anew.
func TestAWrongTypeInThePlaceOfBlocksRemovesNone(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		start  func(*testing.T) *edgetest.RedisServer
		scheme string
	}{
		"alone":   {func(t *testing.T) *edgetest.RedisServer { return edgetest.Redis(t) }, "redis://"},
		"cluster": {oneNodeCluster, "redis+cluster://"},
	} {
		for _, tenant := range []string{"", "shop"} {
			t.Run(name+" "+scopeOf(tenant), func(t *testing.T) {
				t.Parallel()
				redis := test.start(t)
				url := test.scheme + redis.Addr()
				nodes := []*node{start(t, url, ""), start(t, url, "")}
				key := "block:{" + scopeOf(tenant) + "}"
				for _, n := range nodes {
					n.wait(t, "it to follow", n.Followed)
				}
				nodes[0].add(t, "192.0.2.0/24", tenant, 0)
				nodes[0].add(t, "198.51.100.0/24", "other", 0)
				for _, n := range nodes {
					n.wait(t, "the blocks", func() bool { return n.blocks.Len() == 2 })
				}
				redis.CLI("SET", key, "x")
				for _, n := range nodes {
					n.wait(t, "it to be known", func() bool {
						return len(n.Faults()) == 1 && strings.HasPrefix(n.Faults()[0].Error(), key+": WRONGTYPE") &&
							redis.CLI("SISMEMBER", scopesKey, scopeOf(tenant)) == "0"
					})
				}
				_, err := nodes[0].Remove(t.Context(), netip.MustParsePrefix("192.0.2.0/24"), tenant)
				if err == nil || !strings.Contains(err.Error(), key+": WRONGTYPE") || !strings.Contains(err.Error(), "delete it, and nodes write their blocks there anew") {
					t.Errorf("remove: %v", err)
				}
				if was, err := nodes[0].Remove(t.Context(), netip.MustParsePrefix("198.51.100.0/24"), "other"); !was || err != nil {
					t.Errorf("another's: %v, %v", was, err)
				}
				third := start(t, url, "")
				third.wait(t, "it to be known to a new node", func() bool { return len(third.Faults()) == 1 || tenant != "" && third.Followed() })
				redis.CLI("DEL", key)
				for _, n := range append(nodes, third) {
					n.wait(t, "the block to be in Redis, and in force, again", func() bool {
						return redis.CLI("HKEYS", key) == "192.0.2.0/24" && redis.CLI("SISMEMBER", scopesKey, scopeOf(tenant)) == "1" &&
							len(n.Faults()) == 0 && n.has("192.0.2.1", tenant) && n.blocks.Len() == 1
					})
				}
				redis.CLI("DEL", key) // which held blocks: that they are gone is meant
				for _, n := range append(nodes, third) {
					n.wait(t, "it to be gone", func() bool { return n.blocks.Len() == 0 })
				}
			})
		}
	}
}

// A block that is added where all are to be written back does not pass for all.
func TestABlockBehindASpoiltKeyHidesNone(t *testing.T) {
	t.Parallel()
	redis := edgetest.Redis(t)
	one, two := open(t, redis.URL(), ""), open(t, redis.URL(), "")
	write(redis, some("", 3)...)
	for _, n := range []*node{one, two} {
		if err := n.full(); err != nil {
			t.Fatal(err)
		}
	}
	redis.CLI("SET", "block:{*}", "x")
	if err := one.full(); err != nil {
		t.Fatal(err)
	}
	redis.CLI("DEL", "block:{*}")
	one.add(t, "192.0.2.0/24", "", 0)
	if err := two.full(); err != nil || two.blocks.Len() != 4 {
		t.Error(two.blocks.List(), err)
	}
}

// What somebody has written by hand and does not act is told.
func TestFieldsThatDoNotActAreTold(t *testing.T) {
	t.Parallel()
	redis := edgetest.Redis(t)
	n := start(t, redis.URL(), "")
	n.wait(t, "it to follow", n.Followed)
	redis.CLI("HSET", "block:{*}", "10.0.0.1/8", "", "192.0.2.0/24", "{", "198.51.100.0/24", "")
	n.wait(t, "the good one", func() bool { return n.has("198.51.100.1", "") })
	faults := n.Faults()
	if len(faults) != 2 || !strings.Contains(faults[0].Error(), `block:{*}: field "10.0.0.1/8": `) || !strings.Contains(faults[0].Error(), "bits beyond its prefix") ||
		!strings.Contains(faults[1].Error(), `field "192.0.2.0/24": want JSON`) {
		t.Error(faults)
	}
	redis.CLI("HDEL", "block:{*}", "10.0.0.1/8", "192.0.2.0/24")
	n.wait(t, "them to be gone", func() bool { return len(n.Faults()) == 0 })
}
