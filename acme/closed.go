package acme

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// errIssuerAway marks what failed before the issuer had a say.
var errIssuerAway = errors.New("the issuer cannot be reached")

// A notTriedError is an attempt that did not come as far as the name: it says nothing about that.
type notTriedError struct {
	error
	again time.Time // when the first of the issuers is asked again
	own   bool      // not all of them have said so: another node may have better luck
}

func (e *notTriedError) Unwrap() error { return e.error }

// passed notes that an issuer was passed over until then.
func (e *notTriedError) passed(until time.Time, own bool) {
	if e.again.IsZero() || until.Before(e.again) {
		e.again = until
	}
	e.own = e.own || own
}

// A restingError is an issuer that has said when it wants the next order.
type restingError struct {
	host  string
	until time.Time
}

func (e *restingError) Error() string {
	return fmt.Sprintf("%s wants no orders before %s", e.host, e.until.UTC().Format(time.RFC3339))
}

// closed returns why the issuer is passed over at present, and until when; nil: it is not. own: that is for this node alone to know.
func (a *account) closed(ctx context.Context) (until time.Time, own bool, why error) {
	if until, why = a.alone(); why != nil {
		return until, true, why
	}
	if until = a.resting(ctx); !until.IsZero() {
		return until, false, &restingError{a.host(), until}
	}
	return time.Time{}, false, nil
}

// closed is what an attempt would end with, since no issuer takes orders at present; nil: one does.
func (i *issuer) closed(ctx context.Context) *notTriedError {
	var problems []error
	none := &notTriedError{}
	for _, a := range i.accounts {
		until, own, why := a.closed(ctx)
		if why == nil {
			return nil
		}
		problems = append(problems, why)
		none.passed(until, own)
	}
	none.error = errors.Join(problems...)
	return none
}

// isAlone reports whether this node leaves all issuers alone, which it knows without asking anybody.
func (i *issuer) isAlone() bool {
	return !slices.ContainsFunc(i.accounts, func(a *account) bool { _, why := a.alone(); return why == nil })
}

// spared ends what would be no more than an attempt that is not tried, and notes nothing: other nodes know as much, or are better off.
func (i *issuer) spared(t *try, none *notTriedError) {
	wait := i.waitAfter(t.key, 0, none)
	if errors.Is(none, errNoAccountKey) {
		i.later(t, none, wait)
		return
	}
	i.finish(t, none, wait)
}

// isTold reports whether operators need not be told that an order fails: they were within a day, as far as this node knows.
func (i *issuer) isTold(t *try) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.notices.isTold(t.order.told)
}
