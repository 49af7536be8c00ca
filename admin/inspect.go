package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"

	"gatehouse/routes"
)

// ErrNoVhost is what Options.Inspect and Options.Purge return, wrapped, for a host that no vhost answers
// for; it is answered 404.
var ErrNoVhost = errors.New("no vhost answers")

// Verdicts of InspectResult.
const (
	VerdictPass   = "pass"   // nothing, or too little, matched
	VerdictDetect = "detect" // would be blocked, but the mode is detect: it passes
	VerdictBlock  = "block"  // 403
)

// An InspectRequest is a request that is judged and goes nowhere.
type InspectRequest struct {
	// Method: empty is GET.
	Method string `json:"method,omitempty"`
	// URL is absolute and kept as it is written: its host selects the vhost, its
	// target is what the rules see.
	URL string `json:"url"`
	// Proto: HTTP/1.1 or HTTP/1.0; empty is HTTP/1.1.
	Proto string `json:"proto,omitempty"`
	// Headers in the order of the request, without Host and Content-Length, which
	// are made from URL and Body. With Transfer-Encoding there is no Content-Length.
	Headers [][2]string `json:"headers,omitempty"`
	// Body is base64 in JSON, without transfer coding. nil: there is none; empty: its
	// length is said to be 0.
	Body []byte `json:"body,omitzero"`
	// Client is the address that the request seems to come from; empty: 127.0.0.1.
	Client string `json:"client,omitempty"`
}

// An InspectResult says what the WAF would do with a request, and why.
type InspectResult struct {
	Vhost  string `json:"vhost"`
	Tenant string `json:"tenant,omitempty"`
	Mode   string `json:"mode"` // off, detect or block
	// Profile and Apps say which rules run: with the profile none and no own rules, none do.
	Profile  string   `json:"profile,omitempty"`
	Apps     []string `json:"apps,omitempty"`
	Paranoia int      `json:"paranoia"`
	Verdict  string   `json:"verdict"` // VerdictPass, VerdictDetect or VerdictBlock
	// Status is what a client would get of a block; otherwise 0.
	Status int `json:"status,omitempty"`
	// BlockStatus is what a client would get in the mode block, whatever the mode is; 0:
	// the request would pass.
	BlockStatus int `json:"block_status"`
	// Reason is why a request is refused before or beside the rules: it is malformed, or
	// over a limit. Empty otherwise.
	Reason string `json:"reason,omitempty"`
	// RefusedBy is the rule that refuses on its own, whatever the score, or would in the
	// mode block. 0: none.
	RefusedBy int `json:"refused_by,omitempty"`
	// Score is the anomaly score of the request; it is blocked from Threshold on. With the
	// mode off, it and Matches are what the mode block would find.
	Score     int `json:"score"`
	Threshold int `json:"threshold"`
	// Cut: the body is longer than inspect_body; the rest was not looked at.
	Cut     bool    `json:"cut,omitempty"`
	Matches []Match `json:"matches"`
}

// A Match is one rule that matched.
type Match struct {
	ID       int      `json:"id"`
	Message  string   `json:"message"`
	Severity string   `json:"severity,omitempty"`
	Tags     []string `json:"tags,omitempty"`
	Target   string   `json:"target,omitempty"` // "ARGS:q"
	Data     string   `json:"data,omitempty"`   // what the client sent there: never trust it
	Score    int      `json:"score"`            // what the rule adds to the anomaly score
	// Partial: Target is not all that the rule matched on, as with a chain of conditions.
	Partial bool `json:"partial,omitempty"`
}

// withDefaults fills in what was left out and refuses what no request can be.
func (r InspectRequest) withDefaults() (InspectRequest, error) {
	if r.Method == "" {
		r.Method = http.MethodGet
	}
	if strings.ContainsFunc(r.Method, func(c rune) bool { return c <= ' ' || c >= 0x7f }) {
		return r, fmt.Errorf("bad method %q", r.Method)
	}
	if _, _, _, err := routes.SplitURL(r.URL); err != nil {
		return r, fmt.Errorf("bad URL %q: %w", r.URL, err)
	}
	if r.Proto != "" && r.Proto != "HTTP/1.1" && r.Proto != "HTTP/1.0" {
		return r, fmt.Errorf("bad protocol %q: want HTTP/1.1 or HTTP/1.0", r.Proto)
	}
	for _, h := range r.Headers {
		if h[0] == "" || strings.ContainsAny(h[0]+h[1], "\r\n\x00") {
			return r, fmt.Errorf("bad header field %q", h[0])
		}
		if strings.EqualFold(h[0], "Host") || strings.EqualFold(h[0], "Content-Length") {
			return r, fmt.Errorf("header field %q: it is made from the URL and the body", h[0])
		}
	}
	if r.Client == "" {
		r.Client = "127.0.0.1"
	}
	if _, err := netip.ParseAddr(r.Client); err != nil {
		return r, fmt.Errorf("bad client address %q", r.Client)
	}
	return r, nil
}

// maxInspect bounds the JSON of a test request: a body of 16 MiB in base64.
const maxInspect = 24 << 20

func (a *API) inspect(w http.ResponseWriter, r *http.Request) error {
	if a.opts.Inspect == nil {
		return &apiError{http.StatusNotImplemented, "this node has no WAF to test", nil}
	}
	var in InspectRequest
	if err := readJSON(w, r, maxInspect, &in); err != nil {
		return err
	}
	in, err := in.withDefaults()
	if err != nil {
		return &apiError{http.StatusBadRequest, err.Error(), nil}
	}
	out, err := a.opts.Inspect(r.Context(), in)
	if errors.Is(err, ErrNoVhost) {
		return &apiError{http.StatusNotFound, err.Error(), nil}
	}
	if err != nil {
		return &apiError{http.StatusUnprocessableEntity, err.Error(), nil}
	}
	if out.Matches == nil {
		out.Matches = []Match{}
	}
	return writeJSON(w, http.StatusOK, out)
}

// readJSON reads one JSON value of at most limit bytes, strictly.
func readJSON(w http.ResponseWriter, r *http.Request, limit int64, into any) error {
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, limit))
	dec.DisallowUnknownFields()
	err := dec.Decode(into)
	if err == nil && dec.More() {
		err = errors.New("more than one value")
	}
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return &apiError{http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is larger than %d bytes", limit), nil}
	case err != nil:
		return &apiError{http.StatusBadRequest, "bad JSON in the body: " + err.Error(), nil}
	}
	return nil
}
