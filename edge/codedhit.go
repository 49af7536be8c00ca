package edge

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"gatehouse/cache"
	"gatehouse/edge/compress"
	"gatehouse/edge/overload"
)

// mostForming is how many coded forms of stored answers are made at a time: each is work for a processor, and requests come first.
var mostForming = int64(max(1, runtime.GOMAXPROCS(0)/2))

// codeHit answers with the coded form of what is stored. There is one for each coding, made once, behind the first hit that
// wants it; until then hits leave as they are stored. Parts are parts of the form without a coding.
func (s *Server) codeHit(r *request) {
	p := &r.response
	e := r.cached.lookup.Entry
	if !p.template.codes || len(e.Body) < compress.MinLength {
		return
	}
	coding := r.accepts()
	if coding == compress.Identity || p.status != e.Status {
		r.varies()
		return
	}
	form := s.opts.Cache.Form(e, uint8(coding))
	if form == nil {
		r.varies()
		if r.Method == "GET" { // HEAD costs a client nothing
			s.makeForm(r, e, coding)
		}
		return
	}
	p.template, p.body, p.length = form.Template.(*storedHead), form.Body, int64(len(form.Body))
	s.metrics.coded.WithLabelValues(coding.String()).Inc()
}

// varies says that the answer has other forms.
func (r *request) varies() {
	if !r.response.template.varying {
		r.response.set(compress.VaryName, compress.VaryValue)
	}
}

// makeForm makes the coded form of a stored answer, beside the request.
func (s *Server) makeForm(r *request, e *cache.Entry, coding compress.Coding) {
	if s.level() >= overload.NoKeepAlive || !s.opts.Cache.WantsForm(e, uint8(coding)) {
		return
	}
	if s.forming.Add(1) > mostForming { // a later hit asks again
		s.forming.Add(-1)
		return
	}
	tenant := &r.site.meter.encoders
	if !s.encoders.take(tenant) {
		s.forming.Add(-1)
		s.metrics.uncoded.WithLabelValues(uncodedBusy).Inc()
		return
	}
	s.refreshing.Add(1)
	go func() {
		defer s.forming.Add(-1)
		defer s.refreshing.Add(-1)
		defer s.encoders.release(tenant)
		defer func() {
			if v := recover(); v != nil {
				s.log.Error("panic while compressing a stored answer", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			}
		}()
		coded, err := coding.Append(make([]byte, 0, len(e.Body)/2), e.Body)
		if err != nil {
			s.log.Error("compression failed", "err", err)
			s.metrics.uncoded.WithLabelValues(uncodedFault).Inc()
			return
		}
		if len(coded) >= len(e.Body) { // noise by the name of text
			return
		}
		template := e.Template.(*storedHead).coded(coding)
		// That there is no room for it is counted there; hits go on without.
		_ = s.opts.Cache.PutForm(e, uint8(coding), template, template.size(), append(make([]byte, 0, len(coded)), coded...))
	}()
}
