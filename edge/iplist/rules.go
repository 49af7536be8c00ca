package iplist

import (
	"fmt"
	"net/netip"
	"strings"

	"gatehouse/routes"
)

// A Verdict is what a set of rules says of an address.
type Verdict uint8

// The verdicts.
const (
	Unlisted Verdict = iota // it stands in neither list
	Allowed
	Denied
)

// Rules are the addresses of one document. The nil Rules know no address. They are safe for concurrent use.
type Rules struct {
	allow, deny side
	lists       []*list

	of    *routes.Addresses
	owner string // guarded by Lists.mu, as is users
	users int
}

// A side is what is allowed, or what is denied.
type side struct {
	all   bool
	fixed *Networks // those in the document
	lists []*list
}

// Judge says what becomes of an address: who is allowed is not denied, whatever else there is. It takes no lock and allocates
// nothing.
func (r *Rules) Judge(a netip.Addr) Verdict {
	switch {
	case r == nil:
		return Unlisted
	case r.allow.has(a):
		return Allowed
	case r.deny.has(a):
		return Denied
	}
	return Unlisted
}

func (s *side) has(a netip.Addr) bool {
	if s.all || s.fixed.Has(a) {
		return true
	}
	for _, l := range s.lists {
		if l.networks.Load().Has(a) {
			return true
		}
	}
	return false
}

// Problems returns what is wrong with the lists of the document now, each list's by itself. It does not block.
func (r *Rules) Problems() (all []error) {
	if r == nil {
		return nil
	}
	for _, l := range r.lists {
		err := l.err.Load()
		switch {
		case err == nil:
		case l.networks.Load() == nil:
			all = append(all, fmt.Errorf("%s is not in force, and counts as empty: %w", l.name, *err))
		default:
			all = append(all, fmt.Errorf("%s: the last good one is in force: %w", l.name, *err))
		}
	}
	return all
}

// sideOf sorts entries that routes has checked; listOf returns a list by its name.
func sideOf(entries []string, listOf func(entry string) *list) (s side) {
	var fixed []netip.Prefix
	for _, entry := range entries {
		switch {
		case entry == routes.AllAddresses:
			s.all = true
		case routes.IsAddressList(entry):
			s.lists = append(s.lists, listOf(entry))
		default:
			if p, err := routes.ParseNetwork(entry); err == nil { // it was checked
				fixed = append(fixed, p)
			}
		}
	}
	if len(fixed) > 0 {
		s.fixed = NewNetworks(fixed)
	}
	return s
}

// nameOf is how messages call a list: a query of a URL may be a secret.
func nameOf(entry string) string {
	if before, _, cut := strings.Cut(entry, "?"); cut && strings.Contains(entry, "://") {
		return before + "?…"
	}
	return strings.TrimPrefix(entry, "file:")
}
