package edge

import (
	"runtime"
	"sync"
	"weak"

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

// An exclusionSets gives the vhosts of a tenant one set of exclusions, which the WAF compiles
// once: what their documents add up to is one list in memory, unless a vhost has
// exclusions of its own. The zero value is ready.
type exclusionSets struct {
	mu    sync.Mutex
	bySrc map[*routes.Exclusion]weak.Pointer[waf.Exclusions] // by the first of a list
}

// of returns the set of a document's list, and whether it had to be made. It is
// forgotten with the last site that has it.
func (s *exclusionSets) of(list []routes.Exclusion) (set *waf.Exclusions, fresh bool) {
	if len(list) == 0 {
		return nil, false
	}
	src := &list[0]
	s.mu.Lock()
	defer s.mu.Unlock()
	if set = s.bySrc[src].Value(); set != nil && len(set.All()) == len(list) {
		return set, false
	}
	set = waf.NewExclusions(Exclusions(list))
	if s.bySrc == nil {
		s.bySrc = map[*routes.Exclusion]weak.Pointer[waf.Exclusions]{}
	}
	s.bySrc[src] = weak.Make(set)
	runtime.AddCleanup(set, s.forget, src)
	return set, true
}

func (s *exclusionSets) forget(src *routes.Exclusion) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bySrc[src].Value() == nil {
		delete(s.bySrc, src)
	}
}

// exclude gives a site its exclusions, and logs what of them has no effect with the
// rules in use: the site serves all the same, with those rules on.
func (s *Server) exclude(st *site, route *routes.Route) {
	set, fresh := s.exclusions.of(st.settings.WAF.Exclusions)
	st.profile.Exclusions = set
	if s.opts.WAF == nil || !fresh {
		return
	}
	s.tellIgnored(st, route)
}

// tellIgnored logs what of a site's exclusions has no effect.
func (s *Server) tellIgnored(st *site, route *routes.Route) {
	set := st.profile.Exclusions
	own := 0
	if w := route.Vhost.WAF; w != nil {
		own = len(w.Exclusions)
	}
	for _, x := range s.opts.WAF.Ignored(set.All()) {
		// The tenant's come first, and its other vhosts would say the same.
		document := "vhost " + route.Name
		if x.Index < len(set.All())-own {
			document = "tenant " + st.tenant
		}
		id := st.settings.WAF.Exclusions[x.Index].Key()
		if s.ignored.first(ignoredIn{document, id, x.Field, x.Reason}) {
			s.log.Warn("waf exclusion without effect", "document", document, "tenant", st.tenant,
				"exclusion", id, "field", x.Field, "reason", x.Reason)
		}
	}
}

// RulesReplaced is to be called when the WAF's rules have changed: exclusions that name what the new ones
// have not are logged, once more if they were before. Sites that are made later are compared then.
func (s *Server) RulesReplaced() {
	table := s.table.Load()
	if table == nil {
		return
	}
	s.ignored.forget()
	told := map[*waf.Exclusions]bool{}
	for route := range table.Vhosts() {
		st, ok := route.Compiled().(*site)
		if !ok || st.profile.Exclusions == nil || told[st.profile.Exclusions] {
			continue
		}
		told[st.profile.Exclusions] = true
		s.tellIgnored(st, route)
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

// forget makes every line one that was not logged.
func (o *ignoredOnce) forget() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seen = nil
}
