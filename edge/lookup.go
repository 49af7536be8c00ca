package edge

import "gatehouse/edge/upstream"

// What lookups of backends' names brought, as counted.
const (
	lookupSame    = "same" // as before, or for the first time
	lookupChanged = "changed"
	lookupFailed  = "failed"
)

// lookedUp counts and logs a lookup of a backend's name. A name that fails is told of once, and once again when nothing is known of
// it any more: a tenant who names many that do not exist must not fill the log.
func (s *Server) lookedUp(l upstream.Lookup) {
	result := lookupSame
	switch {
	case l.Err != nil:
		result = lookupFailed
		if !l.Again || l.Changed {
			s.log.Warn("backend name could not be looked up", "of", l.Owner, "name", l.Host, "err", l.Err, "known", len(l.Addresses))
		}
	case l.Changed:
		result = lookupChanged
		s.log.Info("backend name leads elsewhere", "of", l.Owner, "name", l.Host, "addresses", l.Addresses)
	}
	s.metrics.lookups.WithLabelValues(result).Inc()
}
