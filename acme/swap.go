package acme

import (
	"errors"
	"slices"
	"time"
)

// A swap is an order of a set, for want of a name, that gives up another one, which the certificate before has. Where nodes differ in the names of a set
// each of them would order what another has just replaced, without end: names that only join come to an end by themselves. So there are mostTries swaps
// within triesWindow.

var errSwaps = errors.New("acme: each of the last certificates has lacked a name of the one before: have all nodes the same names for the vhost?")

// isSwap reports whether an order for these names gives up one that the certificate has.
func (l *leaf) isSwap(names []string) bool {
	return slices.ContainsFunc(l.names, func(has string) bool {
		return !slices.ContainsFunc(names, func(name string) bool { return name == has || covers(name, has) })
	})
}

// swapWait is how long a swap has to wait; 0: not at all.
func (f *failure) swapWait(now time.Time) time.Duration {
	if len(f.Swaps) < mostTries {
		return 0
	}
	return max(f.Swaps[len(f.Swaps)-mostTries].Add(triesWindow).Sub(now), 0)
}

// swapped notes a swap.
func (f *failure) swapped(now time.Time) {
	f.Swaps = lastTries(append(slices.Clone(f.Swaps), now))
}

// afterSuccess is what is still to be known where a certificate was issued.
func (f *failure) afterSuccess(now time.Time) *failure {
	return &failure{Swaps: slices.DeleteFunc(slices.Clone(f.Swaps), func(at time.Time) bool { return now.Sub(at) > triesWindow })}
}
