package health

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"time"
)

const (
	// leaseLife is how long nobody checks after the node that does has died; leaseBeat is how often that says that it lives.
	leaseLife = 5 * time.Second
	leaseBeat = time.Second
)

// lead has one of the nodes that share a Redis, and have the same targets, check for all, until ctx ends. A node that does not
// reach Redis for longer than a lease lives checks by itself. Alone it always does.
func (r *Register) lead(ctx context.Context) {
	p := r.opts.Prober
	if r.opts.Shared == nil {
		p.Lead(true)
		return
	}
	var nonce [6]byte
	_, _ = rand.Read(nonce[:]) // never fails (crypto/rand)
	owner := r.opts.Node + "/" + hex.EncodeToString(nonce[:])
	ticker := time.NewTicker(leaseBeat)
	defer ticker.Stop()
	for held, heard := "", time.Now(); ; {
		digest := p.Digest()
		if held != "" && held != digest {
			r.release(ctx, held, owner)
			held = ""
		}
		leads, err := r.lease(ctx, digest, owner)
		switch {
		case err == nil:
			heard = time.Now()
			p.Lead(leads)
			if held = ""; leads {
				held = digest
			}
		case time.Since(heard) > leaseLife:
			p.Lead(digest != "")
		}
		r.tellFindings(ctx)
		select {
		case <-ctx.Done():
			if held != "" {
				r.release(context.WithoutCancel(ctx), held, owner)
			}
			return
		case <-ticker.C:
		}
	}
}

func (r *Register) lease(ctx context.Context, digest, owner string) (leads bool, err error) {
	if digest == "" {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, leaseBeat)
	defer cancel()
	return r.opts.Shared.Lease(ctx, digest, owner, leaseLife)
}

func (r *Register) release(ctx context.Context, digest, owner string) {
	ctx, cancel := context.WithTimeout(ctx, leaseBeat)
	defer cancel()
	if err := r.opts.Shared.Release(ctx, digest, owner); err != nil {
		r.log.Debug("lease not given back: it ends by itself", "err", err)
	}
}

// tellFindings tells the other nodes what was found here. What they cannot be told now they are told later.
func (r *Register) tellFindings(ctx context.Context) {
	untold := r.opts.Prober.Untold()
	if len(untold) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	if err := r.opts.Shared.Tell(ctx, untold); err != nil {
		r.log.Debug("findings not told to other nodes", "err", err)
		r.opts.Prober.Tell(untold)
	}
}
