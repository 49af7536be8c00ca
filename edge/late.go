package edge

import (
	"sync"
	"time"

	"gatehouse/edge/waf"
)

// streams reports whether the request's body must not be held back for its inspection: its length is not
// known, so it may be a conversation, and whatever is found, the mode lets it pass.
func (r *request) streams() bool {
	return !r.probe && !r.body.none() && r.body.length < 0 && r.site.profile.Mode == waf.Detect
}

// inspectLater has the beginning of a body copied as it passes, for inspectLate.
func (r *request) inspectLater(most int64) {
	r.late = true
	r.body.passing.begin(most)
}

// inspectLate runs phase 2 on what has passed of a body that was not held back: before
// phase 3 where the tenant wants that, else when the request is over.
func (s *Server) inspectLate(r *request) {
	if !r.late {
		return
	}
	r.late = false
	beginning, cut := r.body.passing.end()
	if _, err := s.judgeBody(r, r.waf, beginning, cut || !r.body.whole.Load()); err != nil {
		s.log.Error("waf failed", "id", r.ID, "vhost", r.site.name, "err", err)
	}
	r.record.Inspected = time.Now()
	r.recordWAF(nil)
	s.logWAF(r)
	s.keepEvent(r)
	_ = s.engineFailure(r, r.waf) // which logs it; the request has passed
}

// passing is a copy of a body's beginning, made as the body is read. A sender of package upstream may
// read while another goroutine ends the copy. The zero value copies nothing.
type passing struct {
	on   bool // set before anybody reads
	mu   sync.Mutex
	most int64
	data []byte
	cut  bool // more has passed
}

// begin has the first n bytes copied that are read from now on.
func (p *passing) begin(n int64) { p.on, p.most = true, n }

// add copies what was read.
func (p *passing) add(b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	room := p.most - int64(len(p.data))
	if int64(len(b)) > room {
		b, p.cut = b[:room], true
	}
	p.data = append(p.data, b...)
}

// end returns what was copied, and whether more has passed. Nothing is added to it.
func (p *passing) end() (beginning []byte, cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	beginning, cut = p.data, p.cut
	p.data, p.most = nil, 0
	return beginning, cut
}
