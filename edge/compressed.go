package edge

import (
	"bytes"
	"sync/atomic"

	"gatehouse/edge/compress"
	"gatehouse/edge/overload"
	"gatehouse/edge/upstream"
)

// How many encoders are in use at a time, of all tenants and of one. Each holds one to two megabytes for as long as
// its body streams, which a reader who takes little can make long. Beyond it answers go out as they came.
const (
	mostEncoders       = 256
	mostEncodersTenant = mostEncoders / 2
)

// Why an answer that could have a coding has none, as counted.
const (
	uncodedBusy   = "busy"   // there are enough encoders in use
	uncodedMemory = "memory" // see Overload
	uncodedFault  = "fault"  // of an encoder
)

// compress gives answers a content coding that the client takes. It stands outside the cache, which keeps the form
// without one for all clients, and inside nothing that looks at bodies: the WAF has read what came.
func (s *Server) compress(next handler) handler {
	return func(r *request) error {
		if err := next(r); err != nil || !r.site.compress {
			return err
		}
		s.code(r)
		return nil
	}
}

// code gives the response the coding that it gets, if any.
func (s *Server) code(r *request) {
	p := &r.response
	switch {
	case p.upgraded != nil:
		return
	case p.status == 304:
		r.weaken()
		return
	case p.template != nil && p.stream == nil:
		s.codeHit(r)
		return
	case p.template != nil: // what another request brings is coded as it comes
		p.fields = append(append(p.template.fields(), fieldsOf(p.template.hsts)...), p.fields...)
		p.template = nil
	}
	h := compress.Head{Method: r.Method, Status: p.status, Length: p.length}
	for _, f := range p.fields {
		h.Add(f.Name, f.Value)
	}
	if !h.Eligible() {
		return
	}
	if !h.Varying() {
		p.set(compress.VaryName, compress.VaryValue)
	}
	if coding := r.accepts(); coding != compress.Identity && s.codeBody(r, coding) {
		p.codeHead(&h, coding)
	}
}

// accepts returns the coding that the client wants most. One that wants the answer untouched gets none (RFC 9111
// §5.2.1.6).
func (r *request) accepts() compress.Coding {
	var a compress.Accepts
	for _, f := range r.Fields {
		switch {
		case f.Is("accept-encoding"):
			a.Add(f.Value)
		case f.Is("cache-control") && listHas(string(f.Value), "no-transform"):
			return compress.Identity
		}
	}
	return a.Best()
}

// codeBody codes the response's body, at once if it is at hand, else as it comes. false: it stays as it is.
func (s *Server) codeBody(r *request, coding compress.Coding) bool {
	p := &r.response
	if r.bodyless() {
		p.length = -1 // what it would be is not known
		return true
	}
	if s.level() >= overload.NoKeepAlive {
		s.metrics.uncoded.WithLabelValues(uncodedMemory).Inc()
		return false
	}
	tenant := &r.site.meter.encoders
	if !s.encoders.take(tenant) {
		s.metrics.uncoded.WithLabelValues(uncodedBusy).Inc()
		return false
	}
	release := func() { s.encoders.release(tenant) }
	if p.stream != nil {
		p.stream, p.length = compress.NewReader(p.stream, coding, p.length, release), -1
		s.metrics.coded.WithLabelValues(coding.String()).Inc()
		return true
	}
	defer release()
	coded, err := coding.Append(nil, p.body)
	switch {
	case err != nil:
		s.log.Error("compression failed", "id", r.ID, "vhost", r.site.name, "err", err)
		s.metrics.uncoded.WithLabelValues(uncodedFault).Inc()
		return false
	case len(coded) >= len(p.body):
		return false // noise by the name of text
	}
	p.body, p.length = coded, int64(len(coded))
	s.metrics.coded.WithLabelValues(coding.String()).Inc()
	return true
}

// codeHead makes the head that of the coded form.
func (p *response) codeHead(h *compress.Head, coding compress.Coding) {
	kept := p.fields[:0]
	for _, f := range p.fields {
		if value, ok := h.Coded(nil, f.Name, f.Value); ok {
			kept = append(kept, upstream.Field{Name: f.Name, Value: value})
		}
	}
	p.fields = kept
	p.set(compress.ContentEncoding, coding.String())
}

// weaken gives an answer 304 the entity tag of the form that the client has, if that is the coded one: by a strong tag
// it would find no stored response to make fresh (RFC 9111 §4.3.4). Whoever asks by the weak form of the site's strong
// tag has it from us.
func (r *request) weaken() {
	p := &r.response
	varies, weakened := false, false
	for i, f := range p.fields {
		switch {
		case field(f).Is("etag"):
			if weak, ok := compress.Weak(nil, f.Value); ok && len(weak) > len(f.Value) && r.asksBy(weak) {
				p.fields[i].Value, weakened = weak, true
			}
		case field(f).Is("vary"):
			varies = varies || listHas(string(f.Value), compress.VaryValue) || listHas(string(f.Value), "*")
		}
	}
	if weakened && !varies { // what a 200 would have (RFC 9110 §15.4.5)
		p.set(compress.VaryName, compress.VaryValue)
	}
}

// asksBy reports whether If-None-Match has the tag. No other can contain it, since it has quotes.
func (r *request) asksBy(tag []byte) bool {
	for _, f := range r.Fields {
		if f.Is("if-none-match") && bytes.Contains(f.Value, tag) {
			return true
		}
	}
	return false
}

// encoders counts the encoders that are in use. The zero value counts none; it is safe for concurrent use.
type encoders struct{ all atomic.Int64 }

// take counts one more, of all and of a tenant, unless there are too many.
func (e *encoders) take(tenant *atomic.Int64) bool {
	if e.all.Add(1) <= mostEncoders {
		if tenant.Add(1) <= mostEncodersTenant {
			return true
		}
		tenant.Add(-1)
	}
	e.all.Add(-1)
	return false
}

// release counts one less.
func (e *encoders) release(tenant *atomic.Int64) {
	tenant.Add(-1)
	e.all.Add(-1)
}
