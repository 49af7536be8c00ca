package health

import (
	"context"
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
	ticker := time.NewTicker(leaseBeat)
	defer ticker.Stop()
	var turn turn
	for held, heard := "", time.Now(); ; {
		digest := p.Digest()
		if held != "" && held != digest {
			r.tellFindings(ctx) // that what was removed is not down: another may check from now on, or nobody
			r.release(ctx, held)
			held = ""
		}
		leads, err := r.lease(ctx, &turn, turn.mayAsk(digest, p.Leading()))
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
				r.release(context.WithoutCancel(ctx), held)
			}
			return
		case <-ticker.C:
		}
	}
}

// A turn is whose it is to ask for the lease of targets that have changed. Whoever has checked does so at once. Were the others as quick, each change
// might make another node begin to check, which has counted nothing: changes of one tenant would have nobody's checks come to a result.
type turn struct {
	digest string
	since  time.Time // it is that
	led    time.Time // when somebody was last seen to check for all; zero: nobody was
}

// mayAsk reports whether a node may ask that has the targets of that digest now, and checks or not: it does, they have not changed for
// a lease's life, or nobody was seen to check for as long.
func (t *turn) mayAsk(digest string, leads bool) bool {
	if digest != t.digest {
		t.digest, t.since = digest, time.Now()
	}
	return leads || time.Since(t.since) >= leaseLife || time.Since(t.led) >= leaseLife
}

// lease asks for the lease of the present targets, or looks whether somebody has it.
func (r *Register) lease(ctx context.Context, turn *turn, ask bool) (leads bool, err error) {
	if turn.digest == "" {
		turn.led = time.Time{}
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, leaseBeat)
	defer cancel()
	led := ask
	if ask {
		leads, err = r.opts.Shared.Lease(ctx, turn.digest, r.process, leaseLife)
	} else {
		led, err = r.opts.Shared.Leased(ctx, turn.digest)
	}
	if led && err == nil {
		turn.led = time.Now()
	}
	return leads, err
}

func (r *Register) release(ctx context.Context, digest string) {
	ctx, cancel := context.WithTimeout(ctx, leaseBeat)
	defer cancel()
	if err := r.opts.Shared.Release(ctx, digest, r.process); err != nil {
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
