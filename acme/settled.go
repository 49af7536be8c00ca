package acme

import (
	"context"
	"time"
)

// settled reports whether another node, or another process of this folder, has issued a certificate meanwhile that is not due.
func (i *issuer) settled(ctx context.Context, t *try) (bool, error) {
	if t.hand {
		return false, nil
	}
	if is, err := i.isImported(ctx, t); is || err != nil {
		return is, err
	}
	var l *leaf
	if i.vault.shared != nil {
		var found []*leaf
		err := insist(ctx, func(ctx context.Context) (err error) { found, err = i.vault.fetch(ctx, i.held, t.key); return err })
		if err != nil {
			return false, err
		}
		l = found[0]
	} else {
		l, _ = i.vault.local(t.key) // absent or bad: in need of a new one anyway
	}
	if l == nil {
		return false, nil
	}
	old, ari := i.heldAndARI(t.order)
	switch {
	case old == nil || old.digest != l.digest: // the issuer's word was about another one
		ari = time.Time{}
	case t.force: // this one is to go
		return false, nil
	}
	if due(l, t.all, ari) {
		i.place(t.key, l) // the next one is to take its place
		return false, nil
	}
	i.take(t.key, l)
	return true, nil
}

// isImported reports whether something was imported for a name before this node had it, which it learns only now: then all is looked at again.
func (i *issuer) isImported(ctx context.Context, t *try) (bool, error) {
	if i.fleet == nil {
		return false, nil
	}
	if err := insist(ctx, func(ctx context.Context) error { return i.fleet.learn(ctx, t.all...) }); err != nil {
		return false, err
	}
	need, _ := i.needed(t.all, t.force)
	if len(need) == len(t.all) {
		return false, nil
	}
	i.plan.set(t.key, time.Now())
	return true, nil
}

// heldAndARI are the certificate of an order and when the issuer wants it renewed.
func (i *issuer) heldAndARI(o *order) (*leaf, time.Time) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return o.leaf, o.ari
}

// lasting is heldAndARI without a certificate that has to go whatever its age.
func (i *issuer) lasting(t *try) (*leaf, time.Time) {
	if t.force {
		return nil, time.Time{}
	}
	return i.heldAndARI(t.order)
}
