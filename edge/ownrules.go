package edge

import "gatehouse/edge/waf"

// compileOwn gives a site the own rules of its tenant and its vhost. Documents are checked before
// they come here; what cannot be compiled all the same leaves the rules that were in force.
func (s *Server) compileOwn(st, old *site) {
	if s.opts.WAF == nil {
		return
	}
	var own []*waf.OwnRules
	for _, text := range st.settings.Rules {
		rules, err := waf.CompileOwn(text)
		if err != nil {
			s.log.Error("own rules cannot be used, those before stay in force", "vhost", st.name, "tenant", st.tenant, "err", err)
			if own = nil; old != nil {
				own = old.profile.Own
			}
			break
		}
		if rules != nil {
			own = append(own, rules)
		}
	}
	st.profile.Own = own
}

// ownHeavy reports whether the site's own rules or exclusions may take long on the head and that
// many bytes of the body; exclusions look at names alone.
func (r *request) ownHeavy(body int) bool {
	size := len(r.Target) + body
	names := size
	for _, f := range r.Fields {
		size += len(f.Name) + len(f.Value)
		names += len(f.Name)
		if f.Is("cookie") {
			names += len(f.Value)
		}
	}
	return r.site.profile.Heavy(size, names)
}

// turn waits until the head, or the head with that beginning of the body, may be inspected: at once, or when
// one of the tenant's turns has come if it may take long. In block mode it is an error that none came; in
// detect mode the request goes on unseen.
func (s *Server) turn(r *request, body []byte) (release func(), err error) {
	weight, heavy := r.heavy(body)
	if !heavy {
		light := r.lightWeight(body)
		if light == 0 {
			return func() {}, nil
		}
		if leave, ok := s.turns.enter(r.site.owner, light); ok {
			return leave, nil
		}
	}
	return s.takeTurn(r, weight)
}

// takeTurn waits for a turn of the site's owner, see turn.
func (s *Server) takeTurn(r *request, weight int) (release func(), err error) {
	release, ok := s.turns.take(r.site.owner, weight)
	switch {
	case ok:
		return release, nil
	case r.site.profile.Mode == waf.Block:
		return nil, fail(503, "the site is busy", errNoTurn)
	}
	r.unseen = true
	s.log.Warn("request not inspected", "id", r.ID, "tenant", r.site.tenant, "vhost", r.site.name, "err", errNoTurn)
	return func() {}, nil
}
