package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

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
	// Headers in the order of the request, without Host and Content-Length, which
	// are made from URL and Body.
	Headers [][2]string `json:"headers,omitempty"`
	// Body is base64 in JSON.
	Body []byte `json:"body,omitempty"`
	// Client is the address that the request seems to come from; empty: 127.0.0.1.
	Client string `json:"client,omitempty"`
}

// An InspectResult says what the WAF would do with a request, and why.
type InspectResult struct {
	Vhost    string `json:"vhost"`
	Tenant   string `json:"tenant,omitempty"`
	Mode     string `json:"mode"` // off, detect or block
	Paranoia int    `json:"paranoia"`
	Verdict  string `json:"verdict"` // VerdictPass, VerdictDetect or VerdictBlock
	// Status is what a client would get of a block; otherwise 0.
	Status int `json:"status,omitempty"`
	// Score is the anomaly score of the request; it is blocked from Threshold on.
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
	u, err := url.Parse(r.URL)
	if err != nil {
		return r, fmt.Errorf("bad URL: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return r, fmt.Errorf("bad URL %q: want http://host/… or https://host/…", r.URL)
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
