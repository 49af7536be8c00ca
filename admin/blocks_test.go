package admin_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"gatehouse/admin"
	"gatehouse/admin/admintest"
)

// blocks are Blocks that a test can break.
type blocks struct {
	list   []admin.Block
	faults []admin.BlockFault
	err    error
}

func (b *blocks) Add(_ context.Context, one admin.Block) error {
	if b.err == nil {
		b.list = append(b.list, one)
	}
	return b.err
}

func (b *blocks) Remove(context.Context, netip.Prefix, string) (bool, error) {
	was := len(b.list) > 0
	b.list = nil
	return was, b.err
}

func (b *blocks) List() []admin.Block { return b.list }

func (b *blocks) Problem() error { return b.err }

func (b *blocks) Faults() []admin.BlockFault { return b.faults }

func TestBlocksThatRedisDoesNotTakeAreSaidNotToAct(t *testing.T) {
	b := &blocks{}
	n := admintest.Start(t, twoTenants, admin.Options{Node: "n1", Blocks: b})
	c := onSocket(t, n)
	var out admin.BlockResult
	var text string
	want(t, "add", c.call("POST", "/blocks", `{"network": "192.0.2.1", "tenant": "shop", "for": "90s", "by": "ops", "note": "why"}`, &out), 200)
	want(t, "network", out.Block.Network.String()+" "+out.Block.Tenant+" "+out.Block.By+" "+out.Block.Note, "192.0.2.1/32 shop ops why")
	for body, says := range map[string]string{
		`{"network": "192.0.2.1", "for": "-1s"}`:   "must not be negative",
		`{"network": "192.0.2.1", "for": "9000h"}`: "bad time",
		`{"network": "x"}`:                         "bad network",
		`{"netwrk": "x"}`:                          "unknown field",
	} {
		want(t, body, c.call("POST", "/blocks", body, &text), 400)
		contains(t, body, text, says)
	}
	want(t, "confirm", c.call("POST", "/blocks", `{"network": "192.0.2.0/24", "callers": ["::ffff:192.0.2.9"]}`, &text), 409)
	contains(t, "confirm", text, "from which you come")
	want(t, "confirmed", c.call("POST", "/blocks", `{"network": "192.0.2.0/24", "callers": ["192.0.2.9"], "confirmed": true}`, &out), 200)

	b.err = errors.New("redis does not answer")
	want(t, "away", c.call("POST", "/blocks", `{"network": "192.0.2.1"}`, &text), 503)
	contains(t, "away", text, "192.0.2.1/32 is not blocked: redis does not answer")
	want(t, "away", c.call("POST", "/blocks/remove", `{"network": "192.0.2.1"}`, &text), 503)
	contains(t, "away", text, "blocked as before")
	var list admin.BlockList
	b.faults = []admin.BlockFault{{Key: "block:{*}", Field: "x"}, {Key: "block:{shop}", Tenant: "shop"}, {Reason: "too many"}}
	want(t, "list", c.call("GET", "/blocks?tenant=shop", "", &list), 200)
	want(t, "problem", list.Problem, "redis does not answer")
	want(t, "faults of the tenant and of all", len(list.Faults) == 2 && list.Faults[0].Key == "block:{shop}" && list.Faults[1].Reason == "too many", true)
	b.err = nil
	want(t, "absent", c.call("POST", "/blocks/remove", `{"network": "192.0.2.1"}`, &text), 404)

	none := onSocket(t, admintest.Start(t, twoTenants, admin.Options{}))
	for method, path := range map[string]string{"GET": "/blocks", "POST": "/blocks"} {
		want(t, "without", none.call(method, path, `{}`, &text), 501)
	}
	want(t, "on the operations listener", onTCP(t, n.Public).call("POST", "/blocks", `{}`, &text), 404)
}

// A block that acts though this node's file lacks it is not said not to act, and not passed over in silence.
func TestABlockThatIsNotInTheFileIsSaid(t *testing.T) {
	t.Parallel()
	b := &blocks{err: fmt.Errorf("%w: no space left", admin.ErrUnsaved), list: []admin.Block{{Network: netip.MustParsePrefix("192.0.2.1/32")}}}
	c := onSocket(t, admintest.Start(t, twoTenants, admin.Options{Blocks: b}))
	var text string
	want(t, "add", c.call("POST", "/blocks", `{"network": "192.0.2.1"}`, &text), 503)
	contains(t, "add", text, "192.0.2.1/32 is blocked: this node's file lacks it: no space left")
	want(t, "remove", c.call("POST", "/blocks/remove", `{"network": "192.0.2.1"}`, &text), 503)
	contains(t, "remove", text, "192.0.2.1/32 is not blocked any more: this node's file lacks it: no space left")
}
