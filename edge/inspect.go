package edge

import (
	"errors"
	"io"
	"slices"
	"time"

	"gatehouse/edge/waf"
)

// What the WAF said, as the record and metrics have it.
const (
	verdictPass   = "pass"
	verdictDetect = "detect" // would have been blocked
	verdictBlock  = "block"
	verdictUnseen = "unseen" // in detect mode: the body's turn did not come
)

// errInspection is why a request is refused whose inspection failed, where the
// tenant wants that (`on_error: block`).
var errInspection = errors.New("inspection failed")

// inspectRequest runs the WAF's phases 1 and 2: before the cache, so that an
// attack is never answered from it, and before any backend.
func (s *Server) inspectRequest(next handler) handler {
	return func(r *request) error {
		err := s.judgeRequest(r)
		if !r.late {
			s.logWAF(r)
			s.keepEvent(r)
		}
		if err != nil {
			return err
		}
		return next(r)
	}
}

// judgeRequest returns the error that refuses the request, if any.
func (s *Server) judgeRequest(r *request) error {
	profile := &r.site.profile
	r.record.WAF.Mode = profile.Mode.String()
	if s.opts.WAF == nil || profile.Mode == waf.Off {
		return nil
	}
	tx := s.opts.WAF.Begin(profile, r.ID)
	r.waf = tx
	verdict, err := s.phaseHeaders(r, tx)
	if err != nil {
		return err
	}
	if verdict == nil && !r.unseen {
		if r.streams() {
			r.inspectLater(r.site.inspected())
			return nil
		}
		if verdict, err = s.phaseBody(r, tx); err != nil {
			return err
		}
	}
	r.record.Inspected = time.Now()
	r.recordWAF(verdict)
	if verdict != nil {
		return refuse(verdict.Status, refusal(verdict.Status))
	}
	return s.engineFailure(r, tx)
}

// refusal is what a visitor is told.
func refusal(status int) string {
	if status == 413 {
		return "the request's body is longer than this site's firewall inspects"
	}
	return "the request was refused by this site's firewall"
}

// engineFailure applies the tenant's choice when the engine itself failed. Detect mode refuses
// nothing, whatever the choice.
func (s *Server) engineFailure(r *request, tx *waf.Transaction) error {
	err := tx.Err()
	if err == nil {
		return nil
	}
	attrs := []any{"id", r.ID, "vhost", r.site.name, "err", err}
	if panicked, ok := errors.AsType[*waf.PanicError](err); ok {
		attrs = append(attrs, "stack", string(panicked.Stack))
	}
	s.log.Error("waf failed", attrs...)
	if r.site.profile.OnError == waf.Refuse && r.site.profile.Mode == waf.Block {
		return fail(503, "the request could not be inspected", errors.Join(errInspection, err))
	}
	return nil
}

func (s *Server) phaseHeaders(r *request, tx *waf.Transaction) (*waf.Verdict, error) {
	release, err := s.turn(r, nil)
	if err != nil || r.unseen {
		return nil, err
	}
	defer release()
	tx.Connection(r.Client, r.Server)
	tx.Request(r.Method, r.Target, r.Proto, r.Host)
	for _, f := range r.Fields {
		if f.Is("expect") {
			continue // ours to answer, and not forwarded: rules against it would refuse every large upload of curl
		}
		value := string(f.Value)
		if f.Is("host") {
			value = r.Host // the one that routing, the cache and the backend see
		}
		tx.RequestHeader(string(f.Name), value)
	}
	tx.RequestLength(r.body.length)
	return tx.RequestHeaders(), nil
}

// phaseBody shows the WAF the beginning of the body and puts it back for the
// backend.
func (s *Server) phaseBody(r *request, tx *waf.Transaction) (*waf.Verdict, error) {
	var ahead []byte
	cut := false
	if !r.body.none() && tx.WantsBody() {
		var err error
		ahead, cut, err = r.body.peek(r.site.inspected())
		if errors.Is(err, errBodyTooLarge) {
			return nil, err
		}
		if err != nil {
			return nil, bodyFault(err)
		}
	}
	return s.judgeBody(r, tx, ahead, cut)
}

// judgeBody runs phase 2 on the beginning of the body.
func (s *Server) judgeBody(r *request, tx *waf.Transaction, ahead []byte, cut bool) (*waf.Verdict, error) {
	release, err := s.turn(r, ahead)
	if err != nil || r.unseen {
		return nil, err
	}
	defer release()
	tx.WriteRequestBody(ahead)
	return tx.RequestBody(cut), nil
}

// recordWAF writes the decision down.
func (r *request) recordWAF(verdict *waf.Verdict) {
	w := &r.record.WAF
	w.Verdict, w.Score = verdictPass, r.waf.Score()
	w.Rules = w.Rules[:0]
	r.found = r.waf.Matches()
	for _, m := range r.found {
		if !slices.Contains(w.Rules, m.ID) { // a rule may match several targets
			w.Rules = append(w.Rules, m.ID)
		}
	}
	switch {
	case verdict != nil:
		w.Verdict = verdictBlock
	case r.waf.WouldBlock():
		w.Verdict = verdictDetect
	case r.unseen:
		w.Verdict = verdictUnseen
	}
}

// logWAF logs what was blocked, or would have been in block mode.
func (s *Server) logWAF(r *request) {
	w := &r.record.WAF
	if w.Verdict != verdictBlock && w.Verdict != verdictDetect {
		return
	}
	var worst waf.Match
	refused := r.waf.Verdict()
	for _, m := range r.found {
		if refused != nil && m.ID == refused.RuleID { // a rule that refuses on its own
			worst = m
			break
		}
		if m.Score > worst.Score || worst.ID == 0 {
			worst = m
		}
	}
	s.log.Info("waf event",
		"action", w.Verdict, "id", r.ID, "tenant", r.site.tenant, "vhost", r.site.name,
		"client", r.ClientText, "method", r.Method, "path", r.path(), "score", w.Score,
		"rules", w.Rules, "message", worst.Message, "target", worst.Target)
}

// inspectResponse runs phases 3 and 4 where the tenant asked for it: on what the
// backend said, before it can be stored. Bodies of unknown length are never held
// back, so only their heads are inspected.
func (s *Server) inspectResponse(next handler) handler {
	return func(r *request) error {
		if err := next(r); err != nil {
			return err
		}
		if r.waf == nil || !r.site.profile.Responses || r.response.upgraded != nil {
			return nil
		}
		s.inspectLate(r)
		verdict, err := s.judgeResponse(r)
		if err != nil {
			return err
		}
		before, found := r.record.WAF.Verdict, len(r.found)
		r.recordWAF(verdict)
		if before != r.record.WAF.Verdict {
			s.logWAF(r)
		}
		s.keepResponseEvent(r, r.found[min(found, len(r.found)):], verdict != nil) // a broken engine may list none
		if verdict != nil {
			return refuse(403, "the answer was withheld by this site's firewall")
		}
		return s.engineFailure(r, r.waf)
	}
}

// judgeResponse returns the verdict on an answer. The error, if any, is what is answered instead.
func (s *Server) judgeResponse(r *request) (*waf.Verdict, error) {
	p := &r.response
	for _, f := range p.fields {
		r.waf.ResponseHeader(string(f.Name), string(f.Value))
	}
	if verdict := r.waf.ResponseHeaders(p.status, "HTTP/1.1"); verdict != nil {
		return verdict, nil
	}
	if p.length > 0 && r.Method != "HEAD" && !skipsBody(p.status) && r.waf.WantsResponseBody(p.value("content-type")) {
		prefix := make([]byte, min(p.length, r.site.inspected()))
		if _, err := io.ReadFull(p.stream, prefix); err != nil {
			return nil, fail(502, "the site's answer ended early", err)
		}
		p.stream = &prefixed{ahead: prefix, ReadCloser: p.stream}
		release, unseen, err := s.turnOfAnswer(r, prefix)
		if err != nil || unseen {
			return nil, err
		}
		defer release()
		r.waf.WriteResponseBody(prefix)
	}
	return r.waf.ResponseBody(), nil
}

// turnOfAnswer waits for a turn to inspect what was read of an answer, if that may take long. Where none
// comes, the answer is withheld with 503 in block mode: the backend may have acted on the request, but what
// was not inspected must not leave. In detect mode it passes unseen.
func (s *Server) turnOfAnswer(r *request, prefix []byte) (release func(), unseen bool, err error) {
	if len(prefix) <= heavyBody {
		return func() {}, false, nil
	}
	before := r.unseen // the request's own turn may not have come
	r.unseen = false
	release, err = s.takeTurn(r, len(prefix))
	unseen, r.unseen = r.unseen, before || r.unseen
	return release, unseen, err
}

// prefixed is a stream whose beginning was read ahead.
type prefixed struct {
	ahead []byte
	io.ReadCloser
}

// Read implements io.Reader.
func (p *prefixed) Read(b []byte) (int, error) {
	if len(p.ahead) == 0 {
		return p.ReadCloser.Read(b)
	}
	n := copy(b, p.ahead)
	p.ahead = p.ahead[n:]
	return n, nil
}

// Buffered is how many bytes can be read without waiting.
func (p *prefixed) Buffered() int {
	if len(p.ahead) > 0 {
		return len(p.ahead)
	}
	return buffered(p.ReadCloser)
}
