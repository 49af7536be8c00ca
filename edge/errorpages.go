package edge

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"strings"

	"gatehouse/cache"
	"gatehouse/edge/upstream"
	"gatehouse/edge/wire"
)

// An httpError is an answer that is not a site's own: the status and reason are
// for the visitor, cause is for the operator's log only.
type httpError struct {
	status     int
	reason     string
	retryAfter string // seconds; for 429 and 503
	allow      string // for 405
	rateLimit  string // for 429: RateLimit and RateLimit-Policy
	ratePolicy string
	cause      error
}

func (e *httpError) Error() string {
	if e.cause != nil {
		return fmt.Sprintf("%d %s: %v", e.status, e.reason, e.cause)
	}
	return fmt.Sprintf("%d %s", e.status, e.reason)
}

func (e *httpError) Unwrap() error { return e.cause }

// refuse is an error that is the client's doing.
func refuse(status int, reason string) *httpError {
	e := &httpError{status: status, reason: reason}
	if status == http.StatusMethodNotAllowed {
		e.allow = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
	}
	return e
}

// refused is what package wire did not let in.
func refused(r *wire.Refusal) *httpError {
	e := refuse(r.Status, r.Reason)
	e.cause = r
	return e
}

// bodyFault is why a request's body could not be read.
func bodyFault(err error) *httpError {
	if r, ok := errors.AsType[*wire.Refusal](err); ok {
		return refused(r)
	}
	return &httpError{status: 400, reason: "the request body ended early", cause: err}
}

// fail is an error that is ours or a backend's.
func fail(status int, reason string, cause error) *httpError {
	e := &httpError{status: status, reason: reason, cause: cause}
	if status == http.StatusServiceUnavailable {
		e.retryAfter = "5"
	}
	return e
}

// asHTTPError maps any error of the chain to what the visitor sees. It is the
// only place that does.
func asHTTPError(err error) *httpError {
	if e, ok := errors.AsType[*httpError](err); ok {
		return e
	}
	if errors.Is(err, errBodyTooLarge) {
		return &httpError{status: 413, reason: "request body too large", cause: err}
	}
	if up, ok := errors.AsType[*upstream.Error](err); ok {
		_, panicked := errors.AsType[*upstream.PanicError](err)
		switch {
		case panicked:
			return fail(500, "internal error", err)
		case errors.Is(err, context.Canceled): // nobody will read it; 499 is what nginx logs
			return &httpError{status: 499, reason: "client closed the connection", cause: err}
		case up.Op == upstream.OpBody: // of the request: the client's doing
			return bodyFault(err)
		case up.Timeout:
			return fail(504, "the site did not answer in time", err)
		}
		return fail(502, "the site could not be reached", err)
	}
	return fail(500, "internal error", err)
}

//go:embed pages/error.html
var errorPageText string

var errorPage = template.Must(template.New("error.html").Parse(errorPageText))

// problem is the JSON form of an error page (RFC 9457).
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	ID     string `json:"request_id"`
}

// errorPages turns an error into a response: HTML, or JSON for a client that
// prefers it. It shows the request's id and a public reason, never a rule, a
// backend or a cause.
func (s *Server) errorPages(next handler) handler {
	return func(r *request) error {
		err := next(r)
		if err == nil {
			return nil
		}
		if p, ok := errors.AsType[*upstream.PanicError](err); ok {
			s.log.Error("panic while forwarding a request", "id", r.ID, "panic", p.Value, "stack", string(p.Stack))
		}
		r.response.discard()
		r.response = errorResponse(r, asHTTPError(err))
		r.response.close = r.response.status == 400 // what came next could be misread, too
		if r.cached.policy != nil {
			r.cached.status(cache.Outcome{})
		}
		r.record.Err = err
		return nil
	}
}

// title is the status in words. net/http has those of RFC 2616 for some.
func title(status int) string {
	switch status {
	case 413: // RFC 9110 §15.5.14
		return "Content Too Large"
	case 414: // RFC 9110 §15.5.15
		return "URI Too Long"
	}
	return http.StatusText(status)
}

func errorResponse(r *request, e *httpError) response {
	p := problem{
		Type: "about:blank", Title: title(e.status), Status: e.status,
		Detail: e.reason, ID: r.ID,
	}
	var body []byte
	contentType := "text/html; charset=utf-8"
	if prefersJSON(r.value("accept")) {
		contentType = "application/problem+json"
		body, _ = json.Marshal(p) // strings and a number: cannot fail
	} else {
		var page bytes.Buffer
		if err := errorPage.Execute(&page, p); err != nil {
			page.Reset()
			page.WriteString(p.Title)
			contentType = "text/plain; charset=utf-8"
		}
		body = page.Bytes()
	}
	out := response{status: e.status, body: body, length: int64(len(body))}
	out.set("Content-Type", contentType)
	out.set("Cache-Control", "no-store")
	if e.retryAfter != "" {
		out.set("Retry-After", e.retryAfter)
	}
	if e.rateLimit != "" {
		out.set("RateLimit-Policy", e.ratePolicy)
		out.set("RateLimit", e.rateLimit)
	}
	if e.allow != "" {
		out.set("Allow", e.allow)
	}
	return out
}

// prefersJSON reports whether an Accept field names a JSON type before any HTML.
func prefersJSON(accept string) bool {
	for part := range strings.SplitSeq(accept, ",") {
		media, _, _ := strings.Cut(part, ";")
		switch media = strings.ToLower(strings.TrimSpace(media)); {
		case media == "text/html" || media == "application/xhtml+xml":
			return false
		case media == "application/json" || strings.HasSuffix(media, "+json"):
			return true
		}
	}
	return false
}
