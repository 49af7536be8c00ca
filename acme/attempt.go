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

// attempt orders a name, if no other node does, none has, and nothing says to wait.
func (i *issuer) attempt(ctx context.Context, name string, o *order, force bool) {
	held, end, err := i.vault.lease(ctx, name, i.owner)
	switch {
	case err != nil: // what nodes share is away: without it nobody orders
		i.later(name, o, fmt.Errorf("acme: not ordered while other nodes cannot be asked: %w", err), blindWait)
		return
	case held == nil:
		i.plan.set(name, time.Now().Add(jitter(busyWait)))
		return
	}
	defer end()
	switch settled, err := i.settled(held, name, o, force); {
	case err != nil:
		i.later(name, o, fmt.Errorf("acme: not ordered while it is not known what other nodes have: %w", err), blindWait)
		return
	case settled:
		return
	}
	f, err := i.vault.failure(held, name)
	if err != nil {
		i.later(name, o, fmt.Errorf("acme: not ordered while it is not known what other nodes have tried: %w", err), blindWait)
		return
	}
	if wait := time.Until(f.Next); wait > 0 && !force {
		i.later(name, o, errors.New(f.Err), wait)
		return
	}
	before := i.store.issued(name)
	if before == nil && !force && i.isOpen(held) { // renewals are never held up: what is there must not end
		if wait := i.quota.take(held, i.tenant(name)); wait > 0 {
			i.later(name, o, errQuota, jitter(wait))
			return
		}
	}
	i.setActive(o, true)
	l, err := i.issue(held, name, o, f.Count)
	i.setActive(o, false)
	if ctx.Err() != nil && err != nil {
		return // the stop made it fail
	}
	if err != nil {
		f.Told = i.notices.failed(name, before, f.Told, err)
	} else if before != nil || !f.Told.IsZero() {
		i.notices.renewed(name, l)
	}
	i.conclude(context.WithoutCancel(ctx), name, o, l, f, err)
}

// later waits without an attempt. Only the reason is kept, for the list.
func (i *issuer) later(name string, o *order, err error, wait time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	o.err, o.tried = err, time.Now()
	if i.wanted[name] == o {
		i.plan.set(name, time.Now().Add(wait))
	}
}

// settled reports whether another node, or another process of this folder, has issued a certificate meanwhile that is not due.
func (i *issuer) settled(ctx context.Context, name string, o *order, force bool) (bool, error) {
	if force {
		return false, nil
	}
	var l *leaf
	if i.vault.shared != nil {
		found, err := i.vault.fetch(ctx, i.store.issued, name)
		if err != nil {
			return false, err
		}
		l = found[0]
	} else {
		l, _ = i.vault.local(name) // absent or bad: in need of a new one anyway
	}
	if l == nil {
		return false, nil
	}
	var ari time.Time
	i.mu.Lock()
	if old := i.store.issued(name); old != nil && old.digest == l.digest { // the issuer's word was about this one
		ari = o.ari
	}
	mismatched := o.mismatched(l)
	i.mu.Unlock()
	if mismatched || !time.Now().Before(renewal(l, ari)) {
		return false, nil
	}
	i.take(name, l)
	return true, nil
}

// isOpen reports whether any issuer takes orders at present.
func (i *issuer) isOpen(ctx context.Context) bool {
	return slices.ContainsFunc(i.accounts, func(a *account) bool { return a.resting(ctx).IsZero() })
}

// issue orders a certificate, checks it, keeps it and puts it in place. Which issuer it is depends on how many attempts have failed;
// one that wants no orders is passed over.
func (i *issuer) issue(ctx context.Context, name string, o *order, failed int) (*leaf, error) {
	var problems []error
	tried := false
	for n := range i.accounts {
		a := i.accounts[(failed/perIssuer+n)%len(i.accounts)]
		if until := a.resting(ctx); !until.IsZero() {
			problems = append(problems, &restingError{a.host(), until})
			continue
		}
		r, err := i.orderAt(ctx, a, name, o)
		if err == nil {
			return i.keep(ctx, name, r)
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

// orderAt orders a name at one issuer, by one type of challenge.
func (i *issuer) orderAt(ctx context.Context, a *account, name string, o *order) (*record, error) {
	if err := a.prepare(ctx); err != nil {
		return nil, fmt.Errorf("%w: %w", errIssuerAway, err)
	}
	w := wantedCert{names: []string{name}, challenge: a.conf.Challenge}
	i.mu.Lock()
	w.rsa = o.rsa
	i.mu.Unlock()
	switch {
	case strings.HasPrefix(name, "*."):
		w.challenge = challengeDNS
	case w.challenge == "":
		w.challenge = i.check.choose(ctx, name)
	}
	p := permit{profile: a.conf.Profile}
	old := i.store.issued(name)
	if old != nil && old.directory == a.conf.Directory && !old.replacedBy.Load() && a.offersARI() {
		p.replaces = certID(old)
	}
	defer a.gate.allow(w.names, p)()
	var text []byte
	var err error
	if old == nil && w.challenge == challengeALPN && !w.rsa {
		text, err = a.orderFirst(ctx, name, i.solver, i.known)
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
	if old != nil {
		r.Generation = old.generation
		i.mu.Lock()
		if o.force || o.mismatched(old) {
			r.Generation++
		}
		i.mu.Unlock()
	}
	return r, nil
}

// keep checks an issued certificate, keeps it and puts it in place.
func (i *issuer) keep(ctx context.Context, name string, r *record) (*leaf, error) {
	l, err := r.leaf(SourceACME, name)
	if err != nil {
		return nil, fmt.Errorf("check certificate of %s: %w", name, err)
	}
	stale, err := i.vault.put(context.WithoutCancel(ctx), name, r, l.notAfter)
	if err != nil {
		// It is served all the same; after a restart it would be ordered again.
		i.log.Error("issued certificate not kept", "name", name, "err", err)
	}
	if stale { // somebody was faster, in spite of the lease
		found, err := i.vault.fetch(context.WithoutCancel(ctx), i.store.issued, name)
		if err == nil && found[0] != nil {
			l = found[0]
		}
	}
	i.mu.Lock() // held over both, or a removal in between would leave the certificate behind
	defer i.mu.Unlock()
	if _, wanted := i.wanted[name]; wanted {
		i.replaced(i.store.putIssued(name, l), l)
	}
	return l, nil
}

// conclude notes how an attempt ended, for all nodes, and plans the next look. The note comes first: whoever sees how it ended may have it
// tried again at once, and that attempt reads the note.
func (i *issuer) conclude(ctx context.Context, name string, o *order, l *leaf, f failure, err error) {
	if err == nil {
		if f != (failure{}) {
			i.note(ctx, name, nil)
		}
		i.mu.Lock()
		o.ari = time.Time{}
		i.mu.Unlock()
		i.finish(name, o, nil, max(time.Until(renewal(l, time.Time{})), minRenewWait))
		i.ari.watch(name)
		return
	}
	wait := i.waitAfter(name, f.Count, err)
	next := failure{Count: f.Count, Next: time.Now().Add(wait), Err: err.Error(), Told: f.Told}
	if _, not := errors.AsType[*notTriedError](err); !not {
		next.Count++
	}
	i.note(ctx, name, &next)
	i.finish(name, o, err, wait)
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
	if held := i.store.issued(name); held != nil && time.Until(held.notAfter) < held.life()/6 {
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
