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

// isOpen reports whether any issuer takes orders at present.
func (i *issuer) isOpen(ctx context.Context) bool {
	return slices.ContainsFunc(i.accounts, func(a *account) bool {
		_, why := a.alone()
		return why == nil && a.resting(ctx).IsZero()
	})
}
