package edge

import (
	"strings"
	"time"

	"gatehouse/edge/waf/events"
)

// WAFEvents keeps what the WAF found. Record owns the event from then on; it is called
// while the request waits, from many goroutines, and must wait for nothing.
type WAFEvents interface {
	Record(e *events.Event)
}

// keepEvent makes an event of what the WAF found in a phase, if it found anything. It
// copies what lives only as long as the request.
func (s *Server) keepEvent(r *request, phase string) {
	w := &r.record.WAF
	if s.opts.Events == nil || len(r.found) == 0 && w.Verdict != verdictBlock && w.Verdict != verdictDetect {
		return
	}
	e := &events.Event{
		Time: time.Now(), ID: r.ID, Tenant: r.site.tenant, Vhost: r.site.name, Client: r.Client.Addr(),
		Method: strings.Clone(r.Method), Path: strings.Clone(r.path()), Phase: phase,
		Mode: w.Mode, Verdict: events.Pass, Score: w.Score, Threshold: r.site.settings.WAF.InboundThreshold,
		Rules: make([]events.Rule, 0, len(r.found)),
	}
	if w.Verdict == verdictBlock || w.Verdict == verdictDetect {
		e.Verdict = w.Verdict
	}
	if phase == events.Response {
		e.Score, e.Threshold = r.waf.OutboundScore(), r.site.settings.WAF.OutboundThreshold
	}
	by := r.waf.RefusedBy()
	for _, m := range r.found {
		if m.ID == by { // bookkeeping, which adds the score up, is not among them
			e.RefusedBy = by
		}
		e.Rules = append(e.Rules, events.Rule{
			ID: m.ID, Message: m.Message, Severity: m.Severity, Tags: m.Tags, Target: m.Target, Data: m.Data, Score: m.Score, Partial: m.Partial,
		})
	}
	s.opts.Events.Record(e)
}
