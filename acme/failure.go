package acme

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"gatehouse/routes"
)

// A failure is what is known of the orders of a name or set that failed, one after the other, on whatever node.
type failure struct {
	Count  int       `json:"count"`
	Next   time.Time `json:"next"`
	Err    string    `json:"err"`
	Told   time.Time `json:"told,omitzero"`    // when somebody was told of it last, see Notice
	Failed []string  `json:"failed,omitempty"` // the names of a set that it failed for
	Rest   bool      `json:"rest,omitempty"`   // the others have got their certificate, and Next is for all together
	// Tries are when the last attempts began, mostTries at most, oldest first; those of which nobody knows how they ended are among them.
	Tries []time.Time `json:"tries,omitempty"`
	// Blamed are likewise those that failed for the sake of names in Failed: they cost the others nothing.
	Blamed []time.Time `json:"blamed,omitempty"`
	// Swaps are likewise when certificates of a set were issued that lack a name of the one before. A success leaves them.
	Swaps []time.Time `json:"swaps,omitempty"`
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

// choose says by what has failed before which names are ordered now, or how long they have to wait, and why; 0: they do not.
func (i *issuer) choose(t *try, f *failure) (wait time.Duration, why error) {
	if f.isOver(t.all) {
		f.Count, f.Next, f.Failed, f.Rest, f.Blamed = 0, time.Time{}, nil, false, nil
	}
	if t.hand {
		return 0, nil
	}
	l, ari := i.lasting(t)
	rest, next := f.rest(l, t.all, ari), f.Next
	if rest != nil {
		t.names = rest
	}
	switch {
	case rest != nil && f.Rest: // what waits are the names that are left out
		next = time.Time{}
	case f.Rest && l != nil:
		next = earlier(next, renewal(l, ari))
	}
	return f.wait(time.Now(), next, rest != nil)
}

// wait is how long until next, and until an attempt is none too many, and why; 0: not at all. An attempt without the names that have failed counts those
// that may have cost the others something.
func (f *failure) wait(now, next time.Time, without bool) (wait time.Duration, why error) {
	wait = max(next.Sub(now), 0)
	tries := f.Tries
	if !without {
		tries = slices.SortedFunc(slices.Values(slices.Concat(f.Tries, f.Blamed)), time.Time.Compare)
	}
	if len(tries) >= mostTries {
		if window := tries[len(tries)-mostTries].Add(triesWindow).Sub(now); window > wait {
			return window, errTries
		}
	}
	return wait, errors.New(f.Err)
}

// noteTry notes an attempt before it is made: should this node end before it can tell how that went, the others know of it all the same.
func (i *issuer) noteTry(ctx context.Context, key string, f *failure) error {
	f.Tries = lastTries(append(slices.Clone(f.Tries), time.Now()))
	return insist(ctx, func(ctx context.Context) error { return i.vault.writeFailure(ctx, key, f) })
}

func lastTries(tries []time.Time) []time.Time { return tries[max(len(tries)-mostTries, 0):] }

// forgetTry takes back the attempt that was noted last: it has cost nothing.
func (f *failure) forgetTry() { f.Tries = f.Tries[:len(f.Tries)-1] }

// blame notes the names that the attempt that was noted last has failed for; none: it may have been for any.
func (f *failure) blame(names []string) {
	if names == nil {
		return
	}
	f.Blamed = lastTries(append(slices.Clone(f.Blamed), f.Tries[len(f.Tries)-1]))
	f.forgetTry()
	for _, name := range names {
		if !slices.Contains(f.Failed, name) {
			f.Failed = append(slices.Clone(f.Failed), name)
		}
	}
}

// failure reads what is known of failed orders; zero if nothing is, or nothing that could be true.
func (v *vault) failure(ctx context.Context, name string) (f failure, err error) {
	var text []byte
	if v.shared != nil {
		found, err := v.shared.Read(ctx, failKey(name))
		if err != nil {
			return f, err
		}
		text = found[0]
	} else if text, err = routes.ReadFile(v.failFile(name), maxPairBytes); err != nil {
		return f, ignoreAbsent(err)
	}
	if text == nil {
		return f, nil
	}
	err = json.Unmarshal(text, &f)
	if err == nil {
		err = f.check(time.Now())
	}
	if v.isNews(failKey(name), err) {
		v.log.Warn("what is known of failed orders cannot be true, and is forgotten", "key", failKey(name), "err", err)
	}
	if err != nil {
		return failure{}, nil // or who writes once would hold the name up for good
	}
	return f, nil
}

const (
	// mostFailWait is longer than any wait after a failure, and mostFailCount more than there are within failureLife.
	mostFailWait  = 30 * time.Hour
	mostFailCount = 10_000
)

// check says what no node has written. Clocks may be a little apart.
func (f *failure) check(now time.Time) error {
	if f.Count < 0 || f.Count > mostFailCount {
		return fmt.Errorf("it counts %d", f.Count)
	}
	if f.Next.Sub(now) > mostFailWait {
		return fmt.Errorf("next try at %v", f.Next)
	}
	if f.Told.Sub(now) > triesWindow {
		return fmt.Errorf("somebody was told at %v, which is to come", f.Told)
	}
	for _, at := range slices.Concat(f.Tries, f.Blamed, f.Swaps) {
		if at.Sub(now) > triesWindow {
			return fmt.Errorf("a try at %v, which is to come", at)
		}
	}
	return nil
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
