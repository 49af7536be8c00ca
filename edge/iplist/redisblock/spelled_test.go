package redisblock

import (
	"net/netip"
	"testing"
	"time"

	"gatehouse/edge/iplist"
	"gatehouse/internal/edgetest"
)

// Who writes by hand spells a network in his own way: that is the block which verbs name in theirs, to remove or to replace it.
func TestABlockByHandIsFoundHoweverItIsSpelled(t *testing.T) {
	t.Parallel()
	redis := edgetest.Redis(t)
	n := open(t, redis.URL(), "")
	for _, spelled := range []string{"192.0.2.1", "192.0.2.1/32", "::ffff:192.0.2.1", "::FFFF:c000:201/128", "2001:DB8::1", "2001:db8:0::/32"} {
		block := iplist.BlockRecord{Network: spelled}
		b, err := block.Block()
		if err != nil {
			t.Fatal(err)
		}
		redis.CLI("HSET", "block:{shop}", spelled, "")
		redis.CLI("SADD", scopesKey, "shop")
		if err := n.full(); err != nil || !n.has(b.Network.Addr().String(), "shop") {
			t.Error(spelled, "does not act", err)
		}
		if was, err := n.Remove(t.Context(), b.Network, "shop"); !was || err != nil {
			t.Error(spelled, "is not found as", b.Network, err)
		}
		if err := n.full(); err != nil || n.blocks.Len() != 0 {
			t.Error(spelled, "comes back", err)
		}

		redis.CLI("HSET", "block:{shop}", spelled, "")
		if err := n.full(); err != nil {
			t.Fatal(err)
		}
		n.add(t, b.Network.String(), "shop", time.Hour)
		if err := n.full(); err != nil || redis.CLI("HLEN", "block:{shop}") != "1" || n.blocks.List()[0].Until.IsZero() {
			t.Error(spelled, "is not replaced", err, n.blocks.List())
		}
		redis.CLI("DEL", "block:{shop}")
	}
	redis.CLI("HSET", "block:{shop}", "192.0.2.1", "") // nobody has read it yet
	if was, err := n.Remove(t.Context(), netip.MustParsePrefix("192.0.2.1/32"), "shop"); !was || err != nil {
		t.Error("an address that was not read yet", was, err)
	}
}
