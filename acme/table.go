package acme

import "strings"

// The names of the table stand in the store's shards, so that a handshake learns
// with one look-up which certificates a name has and whether it is an entry itself.

// tell enters a canonical pattern: an exact name, "*.x" or "*".
func (s *store) tell(pattern string) {
	sh, names, key := s.entry(pattern)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	names[key] = struct{}{}
}

// untell takes a pattern out.
func (s *store) untell(pattern string) {
	sh, names, key := s.entry(pattern)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	delete(names, key)
}

// isTold reports whether the table has this very pattern.
func (s *store) isTold(pattern string) bool {
	sh, names, key := s.entry(pattern)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	_, told := names[key]
	return told
}

// entry returns the shard of a pattern, and in it the set and the key for it; the
// set is guarded by the shard's mutex.
func (s *store) entry(pattern string) (sh *shard, names map[string]struct{}, key string) {
	if key, wild := strings.CutPrefix(pattern, "*."); wild {
		sh = s.shard(key)
		return sh, sh.above, key
	}
	sh = s.shard(pattern) // "*" too, which no host is called
	return sh, sh.told, pattern
}

// patterns returns all patterns of the table in no particular order.
func (s *store) patterns() []string {
	var all []string
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.RLock()
		for name := range sh.told {
			all = append(all, name)
		}
		for name := range sh.above {
			all = append(all, "*."+name)
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
		_, found := sh.above[up]
		sh.mu.RUnlock()
		if found {
			return true
		}
	}
	return false
}
