package edge

import (
	"sync"

	"gatehouse/edge/waf"
	"gatehouse/routes"
)

// Exclusions translates those of documents for the WAF.
func Exclusions(list []routes.Exclusion) []waf.Exclusion {
	if len(list) == 0 {
		return nil
	}
	out := make([]waf.Exclusion, len(list))
	for i := range list {
		x := &list[i]
		out[i] = waf.Exclusion{
			Rules: make([][2]int32, len(x.Rules)), Tags: x.Tags, Target: x.Target, Paths: x.Paths, Methods: x.Methods,
		}
		if end := x.Until.Time(); !end.IsZero() {
			out[i].Until = end.Unix()
		}
		for k, r := range x.Rules {
			out[i].Rules[k] = [2]int32{int32(r.First), int32(r.Last)} // at most nine digits each
		}
	}
	return out
}

// tellIgnored logs what of a site's exclusions has no effect with the rules in use. The
// site serves all the same, with those rules on.
func (s *Server) tellIgnored(st *site, route *routes.Route) {
	if s.opts.WAF == nil || len(st.profile.Exclusions) == 0 {
		return
	}
	own := 0
	if w := route.Vhost.WAF; w != nil {
		own = len(w.Exclusions)
	}
	for _, x := range s.opts.WAF.Ignored(st.profile.Exclusions) {
		// The tenant's come first, and its other vhosts would say the same.
		document := "vhost " + route.Name
		if x.Index < len(st.profile.Exclusions)-own {
			document = "tenant " + st.tenant
		}
		id := st.settings.WAF.Exclusions[x.Index].Key()
		if s.ignored.first(ignoredIn{document, id, x.Field, x.Reason}) {
			s.log.Warn("waf exclusion without effect", "document", document, "tenant", st.tenant,
				"exclusion", id, "field", x.Field, "reason", x.Reason)
		}
	}
}

// ignoredOnce remembers what was logged. The zero value is ready.
type ignoredOnce struct {
	mu   sync.Mutex
	seen map[ignoredIn]struct{}
}

type ignoredIn struct{ document, exclusion, field, reason string }

// maxIgnored bounds the memory; beyond it, lines may come again.
const maxIgnored = 10_000

// first reports whether a line was not logged yet.
func (o *ignoredOnce) first(key ignoredIn) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, seen := o.seen[key]; seen {
		return false
	}
	if o.seen == nil || len(o.seen) >= maxIgnored {
		o.seen = map[ignoredIn]struct{}{}
	}
	o.seen[key] = struct{}{}
	return true
}
