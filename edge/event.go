package edge

import (
	"strings"
	"time"

	"gatehouse/edge/waf"
	"gatehouse/edge/waf/events"
)

// WAFEvents keeps what the WAF found. Record owns the event from then on; it is called
// while the request waits, from many goroutines, and must wait for nothing.
type WAFEvents interface {
	Record(e *events.Event)
}

// keepEvent makes an event of what the WAF found in the request, if it found anything.
func (s *Server) keepEvent(r *request) {
	w := &r.record.WAF
	verdict := events.Pass
	if w.Verdict == verdictBlock || w.Verdict == verdictDetect {
		verdict = w.Verdict
	}
	if len(r.found) == 0 && verdict == events.Pass {
		return
	}
	s.keep(r, &events.Event{
		Phase: events.Request, Verdict: verdict, Score: w.Score, Threshold: r.site.settings.WAF.InboundThreshold,
	}, r.found)
}

// keepResponseEvent makes one of what it found in the answer alone: matches of the request have
// their own, and their own score.
func (s *Server) keepResponseEvent(r *request, found []waf.Match, refused bool) {
	verdict, score, threshold := events.Pass, r.waf.OutboundScore(), r.site.settings.WAF.OutboundThreshold
	switch {
	case refused:
		verdict = events.Block
	case score >= threshold:
		verdict = events.Detect
	case len(found) == 0:
		return
	}
	s.keep(r, &events.Event{Phase: events.Response, Verdict: verdict, Score: score, Threshold: threshold}, found)
}

// keep fills an event in and records it. It copies what lives only as long as the request.
func (s *Server) keep(r *request, e *events.Event, found []waf.Match) {
	if s.opts.Events == nil {
		return
	}
	e.Time, e.ID, e.Tenant, e.Vhost, e.Client = time.Now(), r.ID, r.site.tenant, r.site.name, r.Client.Addr()
	e.Method, e.Path, e.Mode = strings.Clone(r.Method), strings.Clone(r.path()), r.record.WAF.Mode
	e.Rules = make([]events.Rule, 0, len(found))
	by := r.waf.RefusedBy()
	for _, m := range found {
		if m.ID == by { // bookkeeping, which adds the score up, is not among them
			e.RefusedBy = by
		}
		e.Rules = append(e.Rules, events.Rule{
			ID: m.ID, Message: m.Message, Severity: m.Severity, Tags: m.Tags, Target: m.Target, Data: m.Data, Score: m.Score, Partial: m.Partial,
		})
	}
	s.opts.Events.Record(e)
}
