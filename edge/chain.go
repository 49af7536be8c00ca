package edge

import "slices"

// A handler answers a request: nil means that r.response is set, an error that
// nothing has been answered yet.
type handler func(r *request) error

// A middleware makes a link of the chain before next.
type middleware func(next handler) handler

// A link is a middleware with the name under which the chain's test and the
// documents know it.
type link struct {
	name string
	wrap middleware
}

// links is the order of the chain, outermost first. It is a security property:
// limits before work, the WAF before the cache, and whatever answers, observe
// sees it and errorPages draws its errors.
func (s *Server) links() []link {
	return []link{
		{"observe", s.observe},
		{"finishBody", s.finishBody},
		{"errorPages", s.errorPages},
		{"selectVhost", s.selectVhost},
		{"allowAddress", s.allowAddress},
		{"limitRate", s.limitRate},
		{"shedLoad", s.shedLoad},
		{"inspectRequest", s.inspectRequest},
		{"compress", s.compress},
		{"serveCached", s.serveCached},
		{"inspectResponse", s.inspectResponse},
	}
}

// chain returns the links around last.
func chain(links []link, last handler) handler {
	for _, l := range slices.Backward(links) {
		last = l.wrap(last)
	}
	return last
}
