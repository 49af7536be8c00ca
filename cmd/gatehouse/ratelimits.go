package main

import (
	"cmp"
	"context"

	"gatehouse/edge/ratelimit"
	"gatehouse/edge/ratelimit/redislimit"
)

// openRateLimits makes what has rate limits count together with the nodes that share a Redis, if this one has one.
func (n *node) openRateLimits() {
	if n.shared == nil {
		return
	}
	n.ledger = redislimit.New(n.shared, cmp.Or(n.cfg.Node, "gatehouse"))
	n.rates = ratelimit.NewSharing(ratelimit.SharingOptions{Ledger: n.ledger, Logger: n.log})
}

// shareRateLimits runs until ctx ends, and then has the other nodes divide by one less.
func (n *node) shareRateLimits(ctx context.Context) error {
	err := n.rates.Run(ctx)
	if n.rates.Shared() {
		if left := n.ledger.Leave(context.WithoutCancel(ctx)); left != nil {
			n.log.Debug("other nodes count this one for some seconds more", "err", left)
		}
	}
	return err
}
