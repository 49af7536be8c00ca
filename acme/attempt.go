package acme

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	xacme "golang.org/x/crypto/acme"
)

const (
	// perIssuer is how many attempts in a row an issuer gets before the next one in the settings.
	perIssuer = 2
	// awayWait is how long a node leaves an issuer alone that it could not reach. That is no failure of the name.
	awayWait = 2 * time.Minute
)

// A try is one attempt to order what is wanted under a key.
type try struct {
	key   string
	order *order
	all   []string // the names that need a certificate
	names []string // those to order it for: all, but for such as have failed again and again
	force bool     // order though the certificate is not due, since it has to go
	hand  bool     // somebody wants it so: nothing is waited for, and no name is left out
	words int      // how often somebody had wanted it by then
}

// whole reports whether no name is left out.
func (t *try) whole() bool { return len(t.names) == len(t.all) }

// attempt orders a certificate, if no other node does, none has, and nothing says to wait.
func (i *issuer) attempt(ctx context.Context, t *try) {
	if i.vault.shared != nil && i.isAlone() && i.isTold(t) {
		if none := i.closed(ctx); none != nil {
			i.spared(t, none)
			return
		}
	}
	held, end, err := i.vault.lease(ctx, t.key, i.owner)
	switch {
	case err != nil: // what nodes share is away: without it nobody orders
		i.later(t, fmt.Errorf("acme: not ordered while other nodes cannot be asked: %w", err), blindWait)
		return
	case held == nil:
		i.plan.set(t.key, time.Now().Add(jitter(busyWait)))
		return
	}
	defer end()
	switch settled, err := i.settled(held, t); {
	case err != nil:
		i.later(t, fmt.Errorf("acme: not ordered while it is not known what other nodes have: %w", err), blindWait)
		return
	case settled:
		return
	}
	if err := i.hasKey(held); err != nil { // no word to the others: they may have it
		i.later(t, err, jitter(awayWait))
		return
	}
	var f failure
	if err := insist(held, func(ctx context.Context) (err error) { f, err = i.vault.failure(ctx, t.key); return err }); err != nil {
		i.later(t, fmt.Errorf("acme: not ordered while it is not known what other nodes have tried: %w", err), blindWait)
		return
	}
	if wait, why := i.choose(t, &f); wait > 0 {
		i.later(t, why, wait)
		return
	}
	i.mu.Lock()
	t.order.told = f.Told
	i.mu.Unlock()
	none := i.closed(held)
	if none != nil && i.vault.shared != nil && i.isTold(t) {
		i.spared(t, none)
		return
	}
	i.proceed(ctx, held, t, f, none == nil)
}

// proceed makes an attempt, and notes it, before and after. The lease is held, and nothing says to wait. open: an issuer takes orders.
func (i *issuer) proceed(ctx, held context.Context, t *try, f failure, open bool) {
	before, ari := i.heldAndARI(t.order)
	isRenewal := before != nil && (before.fitsAll(t.names) || due(before, nil, ari))
	isSwap := before != nil && !isRenewal && !t.force && before.isSwap(t.names)
	if wait := f.swapWait(time.Now()); isSwap && wait > 0 {
		i.later(t, errSwaps, wait)
		return
	}
	giveBack := func() {}
	if !isRenewal && !t.force && open { // renewals are never held up: what is there must not end
		one, wait := i.quota.take(held, i.tenant(t.key))
		if wait > 0 {
			i.later(t, errQuota, jitter(wait))
			return
		}
		giveBack = func() { i.giveBack(context.WithoutCancel(ctx), one) }
	}
	if err := i.noteTry(held, t.key, &f); err != nil {
		giveBack()
		i.later(t, fmt.Errorf("acme: not ordered while the attempt cannot be noted: %w", err), blindWait)
		return
	}
	i.setActive(t.order, true)
	l, err := i.issue(held, t, f.Count)
	i.setActive(t.order, false)
	if _, isNot := errors.AsType[*notTriedError](err); isNot {
		giveBack()
	}
	if ctx.Err() != nil && err != nil {
		return // the stop made it fail
	}
	if errors.Is(context.Cause(held), errLeaseLost) && err != nil {
		// Another node may have noted an attempt of its own since, and what has not failed yet here still may: what was noted beforehand stays.
		i.finish(t, fmt.Errorf("%w (%w)", errLeaseLost, err), i.waitAfter(t.key, f.Count, err))
		return
	}
	if err == nil && isSwap {
		f.swapped(time.Now())
	}
	if err != nil {
		f.Told = i.notices.failed(t.key, before, f.Told, err)
	} else if before != nil || !f.Told.IsZero() {
		i.notices.renewed(t.key, l)
	}
	i.conclude(context.WithoutCancel(ctx), t, l, f, err)
}

// giveBack is quota.giveBack for an order that came to nothing.
func (i *issuer) giveBack(ctx context.Context, one taken) {
	if err := i.quota.giveBack(ctx, one); err != nil {
		i.log.Debug("an order that was not made counts for the tenant", "tenant", one.tenant, "err", err)
	}
}

// later waits without an attempt. Only the reason is kept, for the list.
func (i *issuer) later(t *try, err error, wait time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	t.order.err, t.order.tried, t.order.asked = err, time.Now(), t.force
	if i.wanted[t.key] == t.order {
		i.plan.set(t.key, time.Now().Add(wait))
	}
}

// hasKey makes sure that this node has the key of any account.
func (i *issuer) hasKey(ctx context.Context) error {
	var problems []error
	for _, a := range i.accounts {
		if _, why := a.alone(); errors.Is(why, errNoAccountKey) {
			problems = append(problems, why)
			continue
		}
		err := a.hasKey(ctx)
		if err == nil {
			return nil
		}
		if problems = append(problems, err); ctx.Err() == nil {
			i.log.Error("this node cannot order certificates", "issuer", a.host(), "err", err)
			a.leave(err, awayWait)
		}
	}
	return errors.Join(problems...)
}

// issue orders a certificate, checks it, keeps it and puts it in place. Which issuer it is depends on how many attempts have failed;
// one that wants no orders is passed over.
func (i *issuer) issue(ctx context.Context, t *try, failed int) (*leaf, error) {
	var problems []error
	none := &notTriedError{}
	tried := false
	for n := range i.accounts {
		a := i.accounts[(failed/perIssuer+n)%len(i.accounts)]
		if until, own, why := a.closed(ctx); why != nil {
			problems = append(problems, why)
			none.passed(until, own)
			continue
		}
		r, err := i.orderAt(ctx, a, t)
		if err == nil {
			return i.keep(ctx, t, r)
		}
		if len(i.accounts) > 1 {
			err = fmt.Errorf("%s: %w", a.host(), err)
		}
		problems = append(problems, err)
		wait, whole := rateLimit(err)
		switch limited := min(wait, 24*time.Hour); {
		case ctx.Err() != nil && errors.Is(err, errIssuerAway): // that was us
			none.passed(time.Now().Add(awayWait), true)
			continue
		case errors.Is(err, errIssuerAway), errors.Is(err, errNoAccountKey):
			none.passed(a.leave(err, max(limited, awayWait)), true)
			continue
		case whole:
			none.passed(a.rest(ctx, limited), false)
			continue
		}
		if tried = true; wait == 0 {
			break // the next attempt is for the next one, if it comes to that
		}
	}
	if !tried {
		none.error = errors.Join(problems...)
		return nil, none
	}
	return nil, errors.Join(problems...)
}

// orderAt orders a certificate at one issuer, by one type of challenge.
func (i *issuer) orderAt(ctx context.Context, a *account, t *try) (*record, error) {
	switch err := a.prepare(ctx); {
	case errors.Is(err, errNoAccountKey):
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("%w: %w", errIssuerAway, err)
	}
	w := wantedCert{names: compact(t.names), challenge: a.conf.Challenge}
	i.mu.Lock()
	w.rsa = t.order.rsa
	i.mu.Unlock()
	if exact := slices.IndexFunc(w.names, isExact); w.challenge == "" && exact >= 0 { // all of a set lead to the same place
		w.challenge = i.check.choose(ctx, w.names[exact])
	}
	p := permit{profile: a.conf.Profile}
	old := i.held(t.key)
	if old != nil && old.directory == a.conf.Directory && !old.replacedBy.Load() && a.offersARI() {
		p.replaces = certID(old)
	}
	text, placed, err := i.orderBy(ctx, a, t, w, p)
	if p.replaces != "" && !placed && isRefusal(err) { // it knows better, or does not know it: a certificate is wanted all the same
		i.log.Info("the issuer takes no order that replaces the certificate: ordered without", "name", t.key, "err", err)
		already := isAlreadyReplaced(err) // by an order whose certificate never came here
		p.replaces = ""
		if text, placed, err = i.orderBy(ctx, a, t, w, p); placed || already {
			old.replacedBy.Store(true)
		}
	}
	switch {
	case err == nil:
	case !placed && isOutage(err):
		return nil, fmt.Errorf("%w: %w", errIssuerAway, err)
	default:
		return nil, err
	}
	r := &record{Directory: a.conf.Directory, PEM: string(text)}
	if len(w.names) > 1 || w.names[0] != t.key {
		r.Names = w.names
	}
	if old != nil {
		r.Generation = old.generation
		i.mu.Lock()
		if t.order.force || !old.fitsAll(t.names) { // it has to go before its time
			r.Generation++
		}
		i.mu.Unlock()
	}
	return r, nil
}

// keep checks an issued certificate, keeps it and puts it in place.
func (i *issuer) keep(ctx context.Context, t *try, r *record) (*leaf, error) {
	key, ctx := t.key, context.WithoutCancel(ctx)
	l, err := r.leaf(SourceACME, key)
	if err != nil {
		return nil, fmt.Errorf("check certificate of %s: %w", key, err)
	}
	if l, err = i.putWinning(ctx, t, r, l); err != nil {
		return nil, err
	}
	i.vault.dropPending(ctx, key)
	i.mu.Lock() // held over both, or a removal in between would leave the certificate behind
	defer i.mu.Unlock()
	if o := i.wanted[key]; o != nil {
		i.serve(o, l)
	}
	return l, nil
}

// putWinning keeps l so that it wins over what is there, also one that is valid for longer: that is due. It returns what counts then: another node's, if
// one was faster in spite of the lease.
func (i *issuer) putWinning(ctx context.Context, t *try, r *record, l *leaf) (*leaf, error) {
	for range 2 {
		if i.vault.shared != nil {
			r.Generation = i.vault.outrank(ctx, t.key, r.Generation, l.notAfter, i.held(t.key))
			l.generation = r.Generation
		}
		stale, err := i.vault.put(ctx, t.key, r, l.notAfter)
		if err != nil {
			// It is served all the same; after a restart it would be ordered again.
			i.log.Error("issued certificate not kept", "name", t.key, "err", err)
		}
		if !stale {
			return l, nil
		}
		found, err := i.vault.fetch(ctx, i.held, t.key)
		if err == nil && found[0] != nil && (found[0].digest == l.digest || !due(found[0], t.names, time.Time{})) {
			return found[0], nil
		}
	}
	return nil, fmt.Errorf("the certificate of %s that was issued gives way to one of another node that is due", t.key)
}

// isRefusal reports whether the issuer has answered an order by a problem, and none that is of the names or the time.
func isRefusal(err error) bool {
	var problem *xacme.Error
	if !errors.As(err, &problem) || failedNames(err) != nil || strings.HasSuffix(problem.ProblemType, ":rejectedIdentifier") {
		return false
	}
	_, limited := xacme.RateLimit(problem)
	return !limited
}

// isOutage reports whether an order failed since the issuer could not be reached, or has a fault of its own.
func isOutage(err error) bool {
	var problem *xacme.Error
	if errors.As(err, &problem) {
		_, limited := xacme.RateLimit(problem)
		return problem.StatusCode >= http.StatusInternalServerError && !limited
	}
	var failed *url.Error
	return errors.As(err, &failed) && !errors.Is(err, errNoPermit)
}

// isAlreadyReplaced reports whether the issuer has an order already that replaces the same certificate (RFC 9773 section 5).
func isAlreadyReplaced(err error) bool {
	var problem *xacme.Error
	return errors.As(err, &problem) && strings.HasSuffix(problem.ProblemType, ":alreadyReplaced")
}
