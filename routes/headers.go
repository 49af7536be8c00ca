package routes

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Headers edits header fields: of requests on the way to a backend, of answers on the way out.
type Headers struct {
	// Request acts on what the backend gets. The WAF and the cache see the client's own.
	Request *HeaderEdits `yaml:"request,omitempty" json:"request,omitempty"`
	// Response acts on each answer of the vhost, whatever its status and whoever made it: the
	// backend, the cache, an error page or a redirect. What is stored is what the backend said.
	Response *HeaderEdits `yaml:"response,omitempty" json:"response,omitempty"`
}

// HeaderEdits are done in this order: Remove, Set, Add. Names are compared without case; one
// stands in one of the three only.
type HeaderEdits struct {
	// Set has a field be there once with this value, in the place of those that there are.
	Set map[string]string `yaml:"set,omitempty" json:"set,omitempty"`
	// Add adds a field line beside those that there are.
	Add map[string]string `yaml:"add,omitempty" json:"add,omitempty"`
	// Remove takes all fields of these names out.
	Remove []string `yaml:"remove,omitempty" json:"remove,omitempty"`
}

// Bounds of one direction's edits.
const (
	maxHeaderEdits = 50
	maxHeaderBytes = 4 << 10 // of all names and values
)

// untouchable says why a field is not to be edited, by its name in lower case.
var untouchable = struct{ request, response map[string]string }{
	request: reasons(map[string]string{
		"is written for each connection, and a wrong one would have a request's end be seen elsewhere": "connection keep-alive proxy-connection " +
			"proxy-authenticate proxy-authorization te trailer transfer-encoding upgrade http2-settings content-length expect",
		"is what routing, the WAF and the cache went by, and the backend has to see the same": "host",
		"says who the client is, or what was asked for, and is always ours":                   "x-forwarded-for x-forwarded-proto x-forwarded-host x-forwarded-prefix x-real-ip x-request-id via cdn-loop client-cert",
		"is what the WAF read the body by, and the backend has to see the same":               "content-type content-encoding",
		"is for the cache and for compression to say":                                         "accept-encoding range if-range if-match if-none-match if-modified-since if-unmodified-since x-device-class",
	}),
	response: reasons(map[string]string{
		"is written for each connection, and a wrong one would have an answer's end be seen elsewhere": "connection keep-alive proxy-connection te trailer transfer-encoding upgrade content-length",
		"is always ours, and what else says so goes by it":                                             "x-request-id cache-status age date",
		"says what the body is, and a wrong one makes it unreadable":                                   "content-type content-encoding content-range etag",
		"is written by tls.hsts": "strict-transport-security",
	}),
}

func reasons(names map[string]string) map[string]string {
	out := map[string]string{}
	for reason, list := range names {
		for name := range strings.FieldsSeq(list) {
			out[name] = reason
		}
	}
	return out
}

func checkHeaders(h *Headers) []finding {
	if h == nil {
		return nil
	}
	return append(checkEdits("headers.request", h.Request, untouchable.request), checkEdits("headers.response", h.Response, untouchable.response)...)
}

func checkEdits(field string, e *HeaderEdits, untouchable map[string]string) []finding {
	if e == nil {
		return nil
	}
	var out []finding
	seen, size := map[string]string{}, 0
	see := func(at, verb, name, value string) {
		lower := strings.ToLower(name)
		reason := nameProblem(lower, untouchable)
		if verb != "add" && reason == "" && lower == "vary" {
			reason = "keeps other caches from mixing answers up: it can only be added to"
		}
		if other, twice := seen[lower]; reason == "" && twice {
			reason = "stands in " + other + " already"
		}
		if reason == "" && verb != "remove" {
			reason = valueProblem(value)
		}
		if reason != "" {
			out = append(out, finding{field: at, missing: value == "" && verb != "remove", reason: fmt.Sprintf("field %q %s", shortText(name), reason)})
		}
		seen[lower] = verb
		size += len(name) + len(value)
	}
	for i, name := range e.Remove {
		see(fmt.Sprintf("%s.remove[%d]", field, i), "remove", name, "")
	}
	for _, name := range slices.Sorted(maps.Keys(e.Set)) {
		see(field+".set."+name, "set", name, e.Set[name])
	}
	for _, name := range slices.Sorted(maps.Keys(e.Add)) {
		see(field+".add."+name, "add", name, e.Add[name])
	}
	if n := len(e.Remove) + len(e.Set) + len(e.Add); n > maxHeaderEdits || size > maxHeaderBytes {
		out = append(out, finding{field: field, reason: fmt.Sprintf("%d fields with %d bytes: at most %d with %d", n, size, maxHeaderEdits, maxHeaderBytes)})
	}
	return out
}

// nameProblem returns why a field, in lower case, cannot be edited; "": it can.
func nameProblem(lower string, untouchable map[string]string) string {
	switch reason := untouchable[lower]; {
	case !isToken(lower):
		return "cannot be a name: want letters, digits and hyphens, such as X-Env"
	case strings.ContainsAny(lower, "_."):
		return "has a character that some programs take for a hyphen: write a hyphen"
	case reason != "":
		return reason
	case strings.HasPrefix(lower, "sec-websocket-"):
		return "belongs to the handshake of WebSocket"
	case strings.HasPrefix(lower, "x-ssl-client-"):
		return "says who the client is: see tls.client_auth"
	}
	return ""
}

func valueProblem(value string) string {
	switch {
	case value == "":
		return "has no value: write one, or name it under remove"
	case strings.TrimSpace(value) != value:
		return "has white space around its value"
	case strings.ContainsFunc(value, func(c rune) bool { return c < ' ' || c >= 0x7f }):
		return "has a value with a line break, a control character or one that is not ASCII"
	}
	return ""
}
