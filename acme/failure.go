package acme

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// A failure is what is known of the orders of a name that failed, one after the other, on whatever node.
type failure struct {
	Count int       `json:"count"`
	Next  time.Time `json:"next"`
	Err   string    `json:"err"`
	Told  time.Time `json:"told,omitzero"` // when somebody was told of it last, see Notice
	// Tries are when the last attempts began, mostTries at most, oldest first; those of which nobody knows how they ended are among them.
	Tries []time.Time `json:"tries,omitempty"`
}

const (
	// failureLife is how long a failure is remembered.
	failureLife = 7 * 24 * time.Hour
	// mostTries is how many attempts a name has within triesWindow whatever happens to nodes meanwhile: Let's Encrypt allows five failed validations
	// of a name within an hour. The window is longer, since a validation may fail long after its attempt began.
	mostTries   = 3
	triesWindow = time.Hour + orderTime
)

var errTries = errors.New("acme: as many attempts as a name has within an hour have ended without anybody knowing how: is a node restarted again and again?")

// wait is how long a name waits before the next attempt, and why; 0: it does not.
func (f *failure) wait(now time.Time) (wait time.Duration, why error) {
	wait, why = f.Next.Sub(now), errors.New(f.Err)
	if len(f.Tries) < mostTries {
		return wait, why
	}
	if window := f.Tries[len(f.Tries)-mostTries].Add(triesWindow).Sub(now); window > max(wait, 0) {
		return window, errTries
	}
	return wait, why
}

// begin notes an attempt before it is made: should this node end before it can tell how that went, the others know of it all the same.
func (i *issuer) begin(ctx context.Context, name string, f *failure) error {
	f.Tries = append(f.Tries[max(len(f.Tries)-mostTries+1, 0):], time.Now())
	ctx, cancel := context.WithTimeout(ctx, sharedWait)
	defer cancel()
	return i.vault.writeFailure(ctx, name, f)
}

// failure reads what is known of failed orders; zero if nothing is.
func (v *vault) failure(ctx context.Context, name string) (f failure, err error) {
	var text []byte
	if v.shared != nil {
		found, err := v.shared.Read(ctx, failKey(name))
		if err != nil {
			return f, err
		}
		text = found[0]
	} else if text, err = readCapped(v.failFile(name), maxPairBytes); err != nil {
		return f, ignoreAbsent(err)
	}
	if text == nil {
		return f, nil
	}
	if err := json.Unmarshal(text, &f); err != nil {
		return failure{}, fmt.Errorf("%s: %w", failKey(name), err)
	}
	return f, nil
}

func (v *vault) failFile(name string) string { return filepath.Join(v.dir, name+".failed") }

// putFailure notes a failed order and tells the others; nil: the last one did not fail.
func (v *vault) putFailure(ctx context.Context, name string, f *failure) error {
	switch {
	case f != nil:
		err := v.writeFailure(ctx, name, f)
		if err == nil && v.shared != nil {
			err = v.shared.Announce(ctx, eventFail+name)
		}
		return err
	case v.shared != nil:
		return v.shared.Remove(ctx, failKey(name))
	}
	return ignoreAbsent(os.Remove(v.failFile(name)))
}

// writeFailure notes what is known of an order.
func (v *vault) writeFailure(ctx context.Context, name string, f *failure) error {
	text, err := json.Marshal(f)
	if err != nil {
		return err
	}
	if v.shared != nil {
		return v.shared.Write(ctx, failKey(name), text, failureLife)
	}
	return writeFile(v.failFile(name), text, 0o600)
}
