package acme

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"time"

	xacme "golang.org/x/crypto/acme"
)

// backoffs are the waits after the first, second, … failed order of a name or set, each
// ±20 %, whichever node made it. An attempt has one failed validation of a name at most.
var backoffs = []time.Duration{10 * time.Minute, 30 * time.Minute, 2 * time.Hour, 6 * time.Hour, 24 * time.Hour}

// urgentWait is the longest wait between attempts where little of a certificate's life is left.
const urgentWait = 2 * time.Hour

// conclude notes how an attempt ended, for all nodes, and plans the next look. The note comes first: whoever sees how it ended may have it
// tried again at once, and that attempt reads the note.
func (i *issuer) conclude(ctx context.Context, t *try, l *leaf, f failure, err error) {
	if err == nil {
		i.succeed(ctx, t, l, f)
		return
	}
	wait := i.waitAfter(t.key, f.Count, err)
	not, isNot := errors.AsType[*notTriedError](err)
	if isNot {
		f.forgetTry()
	}
	if isNot && not.own && i.vault.shared != nil { // others may be better off: they are neither held up nor called
		i.quietly(ctx, t.key, &f)
		i.finish(t, err, wait)
		return
	}
	f.Err, f.Rest = err.Error(), f.Rest && t.whole()
	if !isNot {
		f.Count++
		f.blame(failedNames(err))
		l, ari := i.lasting(t)
		if rest := f.rest(l, t.all, ari); !f.Rest && rest != nil && len(rest) < len(t.names) {
			wait = min(wait, jitter(minRenewWait)) // the others have not failed
		}
	}
	f.Next = time.Now().Add(wait)
	i.note(ctx, t.key, &f)
	i.finish(t, err, wait)
}

// succeed is conclude for a certificate that was issued. Those that it was not ordered for, since they have failed, are tried again with all others
// as if this had failed, too.
func (i *issuer) succeed(ctx context.Context, t *try, l *leaf, f failure) {
	wait := max(time.Until(renewal(l, time.Time{})), minRenewWait)
	if t.whole() && !l.fitsAll(t.all) { // another node was faster, and did not know all of them yet
		wait = minRenewWait
	}
	var left error
	if t.whole() {
		i.quietly(ctx, t.key, f.afterSuccess(time.Now()))
	} else {
		left = errors.New(f.Err)
		again := i.waitAfter(t.key, f.Count-1, left)
		f.Rest, f.Next = true, time.Now().Add(again)
		f.forgetTry()
		i.note(ctx, t.key, &f)
		wait = min(wait, again)
	}
	i.mu.Lock()
	t.order.ari = time.Time{}
	i.mu.Unlock()
	i.finish(t, nil, wait)
	if left != nil {
		i.mu.Lock()
		t.order.err = left
		i.mu.Unlock()
	}
	i.ari.watch(t.key)
}

// note is putFailure, for a while at most.
func (i *issuer) note(ctx context.Context, name string, f *failure) {
	if err := insist(ctx, func(ctx context.Context) error { return i.vault.putFailure(ctx, name, f) }); err != nil {
		i.log.Warn("other nodes do not know how an order ended", "name", name, "err", err)
	}
}

// quietly puts what is to be known after an attempt, if anything is, in the place of noteTry's, and tells nobody.
func (i *issuer) quietly(ctx context.Context, name string, f *failure) {
	err := insist(ctx, func(ctx context.Context) error {
		if f.Count == 0 && f.Err == "" && f.Told.IsZero() && len(f.Tries) == 0 && len(f.Swaps) == 0 {
			return i.vault.putFailure(ctx, name, nil)
		}
		return i.vault.writeFailure(ctx, name, f)
	})
	if err != nil {
		i.log.Warn("other nodes take an attempt for one that nobody knows the end of", "name", name, "err", err)
	}
}

// waitAfter is how long a name waits after a failed attempt.
func (i *issuer) waitAfter(name string, failed int, err error) time.Duration {
	if not, ok := errors.AsType[*notTriedError](err); ok {
		return max(jitter(awayWait), min(time.Until(not.again), 24*time.Hour))
	}
	wait := jitter(backoffs[min(failed, len(backoffs)-1)])
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
	return wait, isWholeLimit(problem)
}

// linked finds URLs, whose words say nothing: Let's Encrypt's limit of one host leads to …#authorization-failures-per-hostname-per-account.
var linked = regexp.MustCompile(`https?://\S+`)

var quotedName = regexp.MustCompile("[\"'`“](?:\\*\\.)?[a-z0-9-]+(?:\\.[a-z0-9-]+)+")

// isWholeLimit reports whether a rate limit is that of all orders of the account, and surely not of some names.
func isWholeLimit(problem *xacme.Error) bool {
	detail := strings.ToLower(linked.ReplaceAllString(problem.Detail, ""))
	if problem.Subproblems != nil || quotedName.MatchString(detail) {
		return false
	}
	for _, all := range []string{"new orders", "too many requests", "service busy"} {
		if strings.Contains(detail, all) {
			return true
		}
	}
	return false
}
