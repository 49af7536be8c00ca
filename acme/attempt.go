package acme

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	xacme "golang.org/x/crypto/acme"
)

// backoffs are the waits after the first, second, … failed order of a name, each
// ±20 %, whichever node made it. Let's Encrypt allows five failed validations per name and hour; an attempt has one at most.
var backoffs = []time.Duration{10 * time.Minute, 30 * time.Minute, 2 * time.Hour, 6 * time.Hour, 24 * time.Hour}

const (
	// perIssuer is how many attempts in a row an issuer gets before the next one in the settings.
	perIssuer = 2
	// urgentWait is the longest wait between attempts where little of a certificate's life is left.
	urgentWait = 2 * time.Hour
	// awayWait is how long an issuer is left alone that could not be reached. That is no failure of the name.
	awayWait = 2 * time.Minute
)

// A try is one attempt to order what is wanted under a key.
type try struct {
	key   string
	order *order
	all   []string // the names that need a certificate
	names []string // those to order it for: all, but for such as have failed again and again
	force bool
}

// whole reports whether no name is left out.
func (t *try) whole() bool { return len(t.names) == len(t.all) }

// attempt orders a certificate, if no other node does, none has, and nothing says to wait.
func (i *issuer) attempt(ctx context.Context, t *try) {
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
	f, err := i.vault.failure(held, t.key)
	if err != nil {
		i.later(t, fmt.Errorf("acme: not ordered while it is not known what other nodes have tried: %w", err), blindWait)
		return
	}
	if wait := i.choose(t, &f); wait > 0 {
		i.later(t, errors.New(f.Err), wait)
		return
	}
	before, ari := i.heldAndARI(t.order)
	isRenewal := before != nil && (before.fitsAll(t.names) || due(before, nil, ari))
	if !isRenewal && !t.force && i.isOpen(held) { // renewals are never held up: what is there must not end
		if wait := i.quota.take(held, i.tenant(t.key)); wait > 0 {
			i.later(t, errQuota, jitter(wait))
			return
		}
	}
	i.setActive(t.order, true)
	l, err := i.issue(held, t, f.Count)
	i.setActive(t.order, false)
	if ctx.Err() != nil && err != nil {
		return // the stop made it fail
	}
	if err != nil {
		f.Told = i.notices.failed(t.key, before, f.Told, err)
	} else if before != nil || !f.Told.IsZero() {
		i.notices.renewed(t.key, l)
	}
	i.conclude(context.WithoutCancel(ctx), t, l, f, err)
}

// choose says by what has failed before which names are ordered now, or how long all of them have to wait.
func (i *issuer) choose(t *try, f *failure) (wait time.Duration) {
	l, ari := i.heldAndARI(t.order)
	if f.isOver(t.all) {
		f.Count, f.Next, f.Failed, f.Rest = 0, time.Time{}, nil, false
	}
	var rest []string
	if !t.force {
		rest = f.rest(l, t.all, ari)
	}
	if rest != nil {
		t.names = rest
	}
	wait = time.Until(f.Next)
	switch {
	case t.force, rest != nil && f.Rest: // what waits are the names that are left out
		return 0
	case f.Rest && l != nil:
		return min(wait, time.Until(renewal(l, ari)))
	}
	return wait
}

// later waits without an attempt. Only the reason is kept, for the list.
func (i *issuer) later(t *try, err error, wait time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	t.order.err, t.order.tried = err, time.Now()
	if i.wanted[t.key] == t.order {
		i.plan.set(t.key, time.Now().Add(wait))
	}
}

// settled reports whether another node, or another process of this folder, has issued a certificate meanwhile that is not due.
func (i *issuer) settled(ctx context.Context, t *try) (bool, error) {
	if t.force {
		return false, nil
	}
	var l *leaf
	if i.vault.shared != nil {
		found, err := i.vault.fetch(ctx, i.held, t.key)
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
	if old == nil || old.digest != l.digest { // the issuer's word was about another one
		ari = time.Time{}
	}
	if due(l, t.all, ari) {
		i.place(t.key, l) // the next one is to take its place
		return false, nil
	}
	i.take(t.key, l)
	return true, nil
}

// heldAndARI are the certificate of an order and when the issuer wants it renewed.
func (i *issuer) heldAndARI(o *order) (*leaf, time.Time) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return o.leaf, o.ari
}

// isOpen reports whether any issuer takes orders at present.
func (i *issuer) isOpen(ctx context.Context) bool {
	return slices.ContainsFunc(i.accounts, func(a *account) bool { return a.resting(ctx).IsZero() })
}

// issue orders a certificate, checks it, keeps it and puts it in place. Which issuer it is depends on how many attempts have failed;
// one that wants no orders is passed over.
func (i *issuer) issue(ctx context.Context, t *try, failed int) (*leaf, error) {
	var problems []error
	tried := false
	for n := range i.accounts {
		a := i.accounts[(failed/perIssuer+n)%len(i.accounts)]
		if until := a.resting(ctx); !until.IsZero() {
			problems = append(problems, &restingError{a.host(), until})
			continue
		}
		r, err := i.orderAt(ctx, a, t)
		if err == nil {
			return i.keep(ctx, t.key, r)
		}
		if len(i.accounts) > 1 {
			err = fmt.Errorf("%s: %w", a.host(), err)
		}
		problems = append(problems, err)
		wait, whole := rateLimit(err)
		switch away := errors.Is(err, errIssuerAway); {
		case away:
			a.rest(ctx, awayWait)
			continue
		case whole:
			a.rest(ctx, min(wait, 24*time.Hour))
			continue
		}
		if tried = true; wait == 0 {
			break // the next attempt is for the next one, if it comes to that
		}
	}
	if !tried {
		return nil, &notTriedError{errors.Join(problems...)}
	}
	return nil, errors.Join(problems...)
}

// errIssuerAway marks what failed before the issuer had a say.
var errIssuerAway = errors.New("the issuer cannot be reached")

// A notTriedError is an attempt that did not come as far as the name: it says nothing about that.
type notTriedError struct{ error }

func (e *notTriedError) Unwrap() error { return e.error }

// A restingError is an issuer that has said when it wants the next order.
type restingError struct {
	host  string
	until time.Time
}

func (e *restingError) Error() string {
	return fmt.Sprintf("%s wants no orders before %s", e.host, e.until.UTC().Format(time.RFC3339))
}

// orderAt orders a certificate at one issuer, by one type of challenge.
func (i *issuer) orderAt(ctx context.Context, a *account, t *try) (*record, error) {
	if err := a.prepare(ctx); err != nil {
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
	defer a.gate.allow(w.names, p)()
	var text []byte
	var err error
	if old == nil && w.challenge == challengeALPN && !w.rsa && len(w.names) == 1 {
		text, err = a.orderFirst(ctx, w.names[0], i.solver, i.known)
	} else {
		text, err = a.order(ctx, w, i.solver)
	}
	if err != nil {
		if p.replaces != "" && isAlreadyReplaced(err) { // by an order whose certificate never came here
			old.replacedBy.Store(true)
		}
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
func (i *issuer) keep(ctx context.Context, key string, r *record) (*leaf, error) {
	l, err := r.leaf(SourceACME, key)
	if err != nil {
		return nil, fmt.Errorf("check certificate of %s: %w", key, err)
	}
	stale, err := i.vault.put(context.WithoutCancel(ctx), key, r, l.notAfter)
	if err != nil {
		// It is served all the same; after a restart it would be ordered again.
		i.log.Error("issued certificate not kept", "name", key, "err", err)
	}
	if stale { // somebody was faster, in spite of the lease
		found, err := i.vault.fetch(context.WithoutCancel(ctx), i.held, key)
		if err == nil && found[0] != nil {
			l = found[0]
		}
	}
	i.mu.Lock() // held over both, or a removal in between would leave the certificate behind
	defer i.mu.Unlock()
	if o := i.wanted[key]; o != nil {
		i.serve(o, l)
	}
	return l, nil
}

// conclude notes how an attempt ended, for all nodes, and plans the next look. The note comes first: whoever sees how it ended may have it
// tried again at once, and that attempt reads the note.
func (i *issuer) conclude(ctx context.Context, t *try, l *leaf, f failure, err error) {
	if err == nil {
		i.succeed(ctx, t, l, f)
		return
	}
	wait := i.waitAfter(t.key, f.Count, err)
	next := failure{Count: f.Count, Err: err.Error(), Told: f.Told, Failed: f.Failed, Rest: f.Rest && t.whole()}
	if _, not := errors.AsType[*notTriedError](err); !not {
		next.Count++
		next.add(failedNames(err))
		held, ari := i.heldAndARI(t.order)
		if rest := next.rest(held, t.all, ari); !next.Rest && rest != nil && len(rest) < len(t.names) {
			wait = min(wait, jitter(minRenewWait)) // the others have not failed
		}
	}
	next.Next = time.Now().Add(wait)
	i.note(ctx, t.key, &next)
	i.finish(t.key, t.order, err, wait)
}

// succeed is conclude for a certificate that was issued. Those that it was not ordered for, since they have failed, are tried again with all others
// as if this had failed, too.
func (i *issuer) succeed(ctx context.Context, t *try, l *leaf, f failure) {
	wait := max(time.Until(renewal(l, time.Time{})), minRenewWait)
	if t.whole() && !l.fitsAll(t.all) { // another node was faster, and did not know all of them yet
		wait = minRenewWait
	}
	var left error
	switch {
	case !t.whole():
		left = errors.New(f.Err)
		again := i.waitAfter(t.key, f.Count-1, left)
		f.Rest, f.Next = true, time.Now().Add(again)
		i.note(ctx, t.key, &f)
		wait = min(wait, again)
	case f.Err != "":
		i.note(ctx, t.key, nil)
	}
	i.mu.Lock()
	t.order.ari = time.Time{}
	i.mu.Unlock()
	i.finish(t.key, t.order, nil, wait)
	if left != nil {
		i.mu.Lock()
		t.order.err = left
		i.mu.Unlock()
	}
	i.ari.watch(t.key)
}

// note is putFailure, for a while at most.
func (i *issuer) note(ctx context.Context, name string, f *failure) {
	ctx, cancel := context.WithTimeout(ctx, sharedWait)
	defer cancel()
	if err := i.vault.putFailure(ctx, name, f); err != nil {
		i.log.Warn("other nodes do not know how an order ended", "name", name, "err", err)
	}
}

// waitAfter is how long a name waits after a failed attempt.
func (i *issuer) waitAfter(name string, failed int, err error) time.Duration {
	wait := jitter(backoffs[min(failed, len(backoffs)-1)])
	if _, not := errors.AsType[*notTriedError](err); not {
		wait = jitter(awayWait)
	}
	if held := i.held(name); held != nil && time.Until(held.notAfter) < held.life()/6 {
		wait = min(wait, jitter(urgentWait))
	}
	limited, _ := rateLimit(err)
	var resting *restingError
	if errors.As(err, &resting) {
		limited = max(limited, time.Until(resting.until))
	}
	return max(wait, min(limited, 24*time.Hour))
}

// rateLimit returns how long the issuer asks to wait, zero if it does not, and whether that is for all orders of the account and not for
// this name.
func rateLimit(err error) (wait time.Duration, whole bool) {
	var problem *xacme.Error
	if !errors.As(err, &problem) {
		return 0, false
	}
	wait, limited := xacme.RateLimit(problem)
	if !limited {
		return 0, false
	}
	if wait == 0 {
		wait = backoffs[0]
	}
	detail := strings.ToLower(problem.Detail)
	return wait, strings.Contains(detail, "new orders") || strings.Contains(detail, "account")
}

// isAlreadyReplaced reports whether the issuer has an order already that replaces the same certificate (RFC 9773 section 5).
func isAlreadyReplaced(err error) bool {
	var problem *xacme.Error
	return errors.As(err, &problem) && strings.HasSuffix(problem.ProblemType, ":alreadyReplaced")
}
