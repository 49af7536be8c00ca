package redisblock

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// A Fault is something among the blocks in Redis that does not act as it stands there.
type Fault struct {
	Key    string // empty: they are too many together
	Tenant string // whose key it is; empty: everybody's
	Field  string // the network, as somebody wrote it; empty: all of the key
	Err    error
}

// Error says where, and what.
func (f Fault) Error() string {
	switch {
	case f.Key == "":
		return f.Err.Error()
	case f.Field == "":
		return f.Key + ": " + f.Err.Error()
	}
	return fmt.Sprintf("%s: field %q: %v", f.Key, f.Field, f.Err)
}

// Unwrap gives the cause.
func (f Fault) Unwrap() error { return f.Err }

// maxFaults bounds how many are told: there may be as many as fields.
const maxFaults = 100

// Faults are those that the last reading met, whole keys first, and no more than 100. The slice must not be changed.
func (s *Store) Faults() []Fault {
	if faults := s.faults.Load(); faults != nil {
		return *faults
	}
	return nil
}

func (s *Store) setFaults(faults []Fault) {
	slices.SortFunc(faults, func(a, b Fault) int {
		return cmp.Or(strings.Compare(a.Field, b.Field), strings.Compare(a.Key, b.Key))
	})
	faults = slices.Clip(faults[:min(len(faults), maxFaults)])
	s.faults.Store(&faults)
}
