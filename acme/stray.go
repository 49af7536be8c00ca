package acme

import (
	"encoding/hex"
	"time"
)

// strays describes what was imported for patterns that the table does not have. told are those that it has.
func (m *Manager) strays(told []string) (list []Status) {
	patterns := m.store.all(func(e entry) bool { return !e.told && e.imported != nil })
	if len(patterns) == 0 {
		return nil
	}
	above := make(map[string]bool, len(patterns))
	for _, pattern := range patterns {
		above[pattern] = false
	}
	for _, name := range told { // once, however many strays there are
		if up := "*." + parent(name); isExact(name) {
			if _, stray := above[up]; stray {
				above[up] = true
			}
		}
	}
	for _, pattern := range patterns {
		if l := m.store.imported(pattern); l != nil { // else it was removed meanwhile
			list = append(list, m.stray(pattern, l, above[pattern] || m.known(knownAs(pattern))))
		}
	}
	return list
}

// stray describes what was imported for a pattern that the table does not have. answered: there is a vhost for names that it covers.
func (m *Manager) stray(pattern string, l *leaf, answered bool) Status {
	st := Status{
		Name: pattern, Source: l.source, Stray: true, Issuer: l.issuer, KeyType: l.keyType, NotBefore: l.notBefore, NotAfter: l.notAfter,
		Fingerprint: hex.EncodeToString(l.digest[:]), Warning: l.oddities(pattern, time.Now()),
	}
	var stapleErr error
	if st.Staple, st.StapleUntil, stapleErr = m.stapler.status(l); stapleErr != nil {
		st.LastError = stapleErr.Error()
	}
	if st.Problem = st.problem(nil, nil, stapleErr); !answered {
		st.Problem = "no vhost answers for it: add one, or take it away with gatehouse cert remove " + pattern
	}
	return st
}
