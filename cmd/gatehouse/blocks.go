package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"gatehouse/admin"
	"gatehouse/edge/iplist"
	"gatehouse/edge/iplist/redisblock"
)

// blockStore adds and removes blocks: those of this node alone, or those that it shares.
type blockStore interface {
	Add(ctx context.Context, b iplist.Block) error
	Remove(ctx context.Context, network netip.Prefix, tenant string) (was bool, err error)
}

// openBlocks brings the blocks back that the node knew last. What cannot be read is said, and keeps nobody from being served.
func (n *node) openBlocks() (err error) {
	n.blocks, err = iplist.OpenBlocks(iplist.BlocksOptions{Path: n.cfg.dataFile("blocks.json"), Registerer: n.metrics, Logger: n.log})
	if err != nil {
		n.log.Error("blocked networks lost: nobody is blocked until they are added again, or Redis is followed", "err", err)
	}
	if n.shared != nil {
		n.sharedBlocks, err = redisblock.New(redisblock.Options{Client: n.shared, Blocks: n.blocks, Registerer: n.metrics, Logger: n.log})
		return err
	}
	return nil
}

// followBlocks ends blocks whose time is over, and follows those of other nodes.
func (n *node) followBlocks(w *work) {
	w.begin(w.all, "end of blocks", func() error { return n.blocks.Run(w.all) })
	if n.sharedBlocks != nil {
		w.begin(w.all, "blocks", func() error { return n.sharedBlocks.Run(w.all) })
	}
}

// adminBlocks shows blocks to the admin API.
type adminBlocks struct{ n *node }

func (b adminBlocks) store() blockStore {
	if b.n.sharedBlocks != nil {
		return b.n.sharedBlocks
	}
	return b.n.blocks
}

func (b adminBlocks) Add(ctx context.Context, one admin.Block) error {
	return unsavedBlock(b.store().Add(ctx, iplist.Block(one)))
}

func (b adminBlocks) Remove(ctx context.Context, network netip.Prefix, tenant string) (bool, error) {
	was, err := b.store().Remove(ctx, network, tenant)
	return was, unsavedBlock(err)
}

// unsavedBlock has the API know an error after which the change acts all the same.
func unsavedBlock(err error) error {
	if errors.Is(err, iplist.ErrUnsaved) {
		return fmt.Errorf("%w: %w", admin.ErrUnsaved, err)
	}
	return err
}

func (b adminBlocks) List() []admin.Block {
	list := b.n.blocks.List()
	out := make([]admin.Block, len(list))
	for i, one := range list {
		out[i] = admin.Block(one)
	}
	return out
}

func (b adminBlocks) Faults() []admin.BlockFault {
	if b.n.sharedBlocks == nil {
		return nil
	}
	faults := b.n.sharedBlocks.Faults()
	out := make([]admin.BlockFault, len(faults))
	for i, f := range faults {
		out[i] = admin.BlockFault{Key: f.Key, Tenant: f.Tenant, Field: f.Field, Reason: f.Err.Error()}
	}
	return out
}

// shownFaults is how many faults of blocks health names.
const shownFaults = 3

// warnings are those of blocks in Redis that do not act.
func (b adminBlocks) warnings() (out []string) {
	faults := b.Faults()
	for i := range faults[:min(len(faults), shownFaults)] {
		out = append(out, "blocks in redis: "+faults[i].String())
	}
	if more := len(faults) - shownFaults; more > 0 {
		out = append(out, fmt.Sprintf("blocks in redis: %d more do not act, see gatehouse block list", more))
	}
	return out
}

var errNotFollowed = errors.New("redis does not answer: what other nodes block is not heard of")

func (b adminBlocks) Problem() error {
	if b.n.sharedBlocks != nil && !b.n.sharedBlocks.Followed() {
		return errNotFollowed
	}
	return nil
}
