package waf

import (
	"fmt"
	"strings"
)

// responding reports whether responses are inspected and there is anything left to do.
func (t *Transaction) responding() bool {
	if !t.live() || !t.profile.Responses {
		return false
	}
	if t.view == nil { // nobody has asked about the request
		defer t.rescue("begin response")
		t.openReader()
	}
	return true
}

// ResponseHeader adds one field line of the response. Without [Profile.Responses] it does nothing.
func (t *Transaction) ResponseHeader(name, value string) {
	if !t.responding() {
		return
	}
	defer t.rescue("add response header")
	if t.gated != nil {
		t.gated.answer = append(t.gated.answer, field{name, value})
	}
	t.addAnswer(name, value)
}

// addAnswer adds a field of the response to what reads it.
func (t *Transaction) addAnswer(name, value string) {
	t.view.AddResponseHeader(name, value)
	switch {
	case strings.EqualFold(name, "Content-Type"):
		// The engine compares the type as written; a space or a capital letter would turn inspection off.
		setSingle(t.view.Variables().ResponseContentType(), mediaType(value))
	case strings.EqualFold(name, "Content-Encoding"):
		t.compressed = t.compressed || !strings.EqualFold(strings.TrimSpace(value), "identity")
	}
}

// ResponseHeaders runs phase 3 with the status and the protocol (HTTP/1.1 and so on).
// Without [Profile.Responses] it does nothing.
func (t *Transaction) ResponseHeaders(status int, proto string) *Verdict {
	if !t.responding() {
		return t.Verdict()
	}
	defer t.rescue("inspect response headers")
	if t.gated != nil {
		t.gated.status, t.gated.answerProto = status, proto
	}
	return t.decide(t.view.ProcessResponseHeaders(status, proto))
}

// WantsResponseBody reports whether the body of a response of this Content-Type would be inspected:
// responses are, the type is a document's or an API's (text/plain, text/html, XML, JSON; see
// waf-rules/base.conf), it has no content coding, and InspectBody bytes were not yet written. Event
// streams are never wanted, so they are never held back. A caller that wants the bodies of compressed
// responses inspected asks the backend for identity.
func (t *Transaction) WantsResponseBody(contentType string) bool {
	if !t.responding() || t.compressed || t.response >= t.tuning.inspect {
		return false
	}
	defer t.rescue("select response body")
	setSingle(t.view.Variables().ResponseContentType(), mediaType(contentType))
	return t.view.IsResponseBodyAccessible() && t.view.IsResponseBodyProcessable()
}

// WriteResponseBody copies the next bytes of the body. Bytes after the first InspectBody are ignored.
func (t *Transaction) WriteResponseBody(p []byte) {
	if !t.responding() {
		return
	}
	defer t.rescue("buffer response body")
	if room := t.tuning.inspect - t.response; int64(len(p)) > room {
		p = p[:room]
	}
	t.response += int64(len(p))
	if _, _, err := t.view.WriteResponseBody(p); err != nil {
		t.err = fmt.Errorf("waf: buffer response body: %w", err)
	}
}

// ResponseBody runs phase 4, which is where a response is judged. It must be called even if no body was
// written. Without [Profile.Responses] it does nothing.
func (t *Transaction) ResponseBody() *Verdict {
	if !t.responding() {
		return t.Verdict()
	}
	defer t.rescue("inspect response body")
	it, err := t.view.ProcessResponseBody()
	if t.gated != nil && err == nil {
		it, err = t.atAnswer()
	}
	t.askInShadow()
	if err != nil {
		t.err = fmt.Errorf("waf: inspect response body: %w", err)
		return nil
	}
	return t.decide(it)
}

// mediaType is the type and subtype of a Content-Type value, in lower case (RFC 9110, section 8.3.1).
func mediaType(value string) string {
	name, _, _ := strings.Cut(value, ";")
	return strings.ToLower(strings.TrimSpace(name))
}
