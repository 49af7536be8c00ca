package acme

import (
	"slices"
	"strings"
)

// The names of the table stand in the store's shards, so that a handshake learns
// with one look-up which certificates a name has and whether it is an entry itself.

// tell enters a canonical pattern: an exact name, "*.x" or "*", which no host is called.
func (s *store) tell(pattern string) { s.change(pattern, func(e *entry) { e.told = true }) }

// untell takes a pattern out.
func (s *store) untell(pattern string) { s.change(pattern, func(e *entry) { e.told = false }) }

// isTold reports whether the table has this very pattern.
func (s *store) isTold(pattern string) bool { return s.get(pattern).told }

// patterns returns all patterns of the table in no particular order.
func (s *store) patterns() []string { return s.all(func(e entry) bool { return e.told }) }

// looked returns the patterns whose certificates are compared with those that are shared: those of the table, and others that something was imported
// for, which has to stay there until there is a vhost.
func (s *store) looked() []string {
	return s.all(func(e entry) bool { return e.told || e.imported != nil })
}

// hasStrays reports whether something was imported for a pattern that the table has not.
func (s *store) hasStrays() bool {
	return len(s.all(func(e entry) bool { return !e.told && e.imported != nil })) > 0
}

// all returns the patterns whose entry is of a kind.
func (s *store) all(of func(entry) bool) []string {
	var all []string
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.RLock()
		for name, e := range sh.exact {
			if of(e) {
				all = append(all, name)
			}
		}
		for name, e := range sh.wild {
			if of(e) {
				all = append(all, "*."+name)
			}
		}
		sh.mu.RUnlock()
	}
	return all
}

// belowWildcard reports whether a wildcard of the table, of any depth, covers name.
func (s *store) belowWildcard(name string) bool {
	for up := parent(name); up != ""; up = parent(up) {
		sh := s.shard(up)
		sh.mu.RLock()
		found := sh.wild[up].told
		sh.mu.RUnlock()
		if found {
			return true
		}
	}
	return false
}

// hasNamesBelow reports whether pattern is a wildcard, and the table has a name that its certificates serve: one label below. It looks at all names.
func (s *store) hasNamesBelow(pattern string) bool {
	up, wild := strings.CutPrefix(pattern, "*.")
	return wild && slices.ContainsFunc(s.patterns(), func(name string) bool { return isExact(name) && parent(name) == up })
}
