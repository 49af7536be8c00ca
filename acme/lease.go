package acme

import (
	"context"
	"errors"
	"time"
)

const (
	// leaseLife is how long a name stays with a node that is not heard of any more; leaseBeat is how often it says that it is there.
	leaseLife = 30 * time.Second
	leaseBeat = leaseLife / 3
)

var errLeaseLost = errors.New("acme: another node may be ordering it: the lease was lost")

// lease takes the lease of a name and holds it until end is called. held is ended, with errLeaseLost, when it could not be kept for so long
// that another node may have it. A nil held means that another node has it.
func (v *vault) lease(ctx context.Context, name, owner string) (held context.Context, end func(), err error) {
	if v.shared == nil {
		held, cancel := context.WithCancel(ctx)
		return held, cancel, nil
	}
	limited, stop := context.WithTimeout(ctx, sharedWait)
	ok, err := v.shared.Lease(limited, lockKey(name), owner, leaseLife)
	stop()
	if err != nil || !ok {
		return nil, nil, err
	}
	held, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		v.keepLease(held, cancel, lockKey(name), owner)
	}()
	return held, func() {
		cancel(nil)
		<-done
		ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), sharedWait)
		defer stop()
		if err := v.shared.Release(ctx, lockKey(name), owner); err != nil {
			v.log.Debug("lease not given back: it ends by itself", "name", name, "err", err)
		}
	}, nil
}

func (v *vault) keepLease(ctx context.Context, lose context.CancelCauseFunc, key, owner string) {
	ticker := time.NewTicker(leaseBeat)
	defer ticker.Stop()
	for sure := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		begin := time.Now()
		limited, stop := context.WithTimeout(ctx, sharedWait)
		ok, err := v.shared.Lease(limited, key, owner, leaseLife)
		stop()
		switch {
		case err == nil && ok:
			sure = begin
		case err == nil, time.Since(sure) > leaseLife-leaseBeat: // another has it, or may have soon
			lose(errLeaseLost)
			return
		}
	}
}
