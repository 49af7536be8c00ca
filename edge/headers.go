package edge

import (
	"bytes"
	"slices"
	"strings"

	"gatehouse/cache"
	"gatehouse/edge/compress"
	"gatehouse/internal/octets"
)

// A rule says what becomes of a client's field on the way to the backend.
type rule uint8

const (
	passes rule = iota
	// hopByHop fields end at us (RFC 9110 §7.6.1), with those that the round trip
	// writes itself.
	hopByHop
	// rewritten fields are ours to write: a client's own never reach a backend.
	rewritten
	// A claim is a field in which a proxy says who the client is or what it asked
	// for: believed from trusted proxies, dropped from everybody else.
	claim
)

// rules has the fields that do not simply pass, by their names in lower case. Those
// that begin as claimPrefixes say are claims too.
var rules = func() map[string]rule {
	rules := map[string]rule{}
	for r, names := range map[rule]string{
		hopByHop: "connection keep-alive proxy-connection proxy-authenticate proxy-authorization te trailer " +
			"transfer-encoding upgrade http2-settings host content-length expect",
		rewritten: "x-forwarded-for x-forwarded-proto x-forwarded-host x-real-ip x-request-id",
		claim: "forwarded x-client-ip client-ip true-client-ip cf-connecting-ip cf-connecting-ipv6 fastly-client-ip " +
			"x-cluster-client-ip x-remote-ip x-remote-addr x-remote-user remote-user x-originating-ip x-proxyuser-ip " +
			"x-original-url x-original-uri x-original-path x-original-host x-rewrite-url x-override-url x-envoy-original-path " +
			"x-host x-backend-host x-http-host-override x-forwarded client-cert client-cert-chain x-client-cert " +
			"x-client-verify x-client-dn front-end-https x-url-scheme proxy",
	} {
		for name := range strings.FieldsSeq(names) {
			rules[name] = r
		}
	}
	return rules
}()

var claimPrefixes = []string{"x-forwarded-", "x-ssl-", "ssl-client-", "x-real-"}

// ruleOf returns the rule of a field. lower is its name in lower case. A name with an
// underscore is dropped as if it were rewritten: CGI servers read it as the one with
// a hyphen, so X_Forwarded_For would be believed.
func ruleOf(lower []byte) rule {
	r := rules[string(lower)]
	if r == hopByHop || r == rewritten || bytes.IndexByte(lower, '_') >= 0 {
		return max(r, hopByHop)
	}
	if hyphens := withHyphens(lower); len(hyphens) > 0 && &hyphens[0] != &lower[0] {
		lower = hyphens
		if r = max(r, rules[string(lower)]); r == rewritten {
			return r
		}
	}
	if r == passes && len(lower) > 0 && (lower[0] == 'x' || lower[0] == 's') {
		for _, prefix := range claimPrefixes {
			if len(lower) > len(prefix) && string(lower[:len(prefix)]) == prefix {
				return claim
			}
		}
	}
	return r
}

// dropped reports whether a field of the client stays here. lower is the name in
// lower case.
func (r *request) dropped(lower []byte) bool {
	switch ruleOf(lower) {
	case passes:
		return false
	case claim:
		return !r.PeerTrusted || r.site.asksCertificate && ofCertificate(lower)
	}
	return true
}

// unlist takes the fields out that Connection names: they end here (RFC 9110 §7.6.1). Nobody behind this may go by what the
// backend does not get, a key of the cache least of all: whoever lists Accept-Language would choose what those get who
// send it. Fields with a rule of their own keep to that: what a proxy says of the client is not for the client to take out.
func (r *request) unlist() {
	var listed []string
	for _, f := range r.Fields {
		if f.Is("connection") {
			if f.Value = octets.TrimOWS(f.Value); octets.Is(f.Value, "keep-alive") || octets.Is(f.Value, "close") {
				continue // the usual ones, which name no field
			}
			for token := range strings.SplitSeq(string(f.Value), ",") {
				if token = strings.ToLower(strings.Trim(token, " \t")); ruleOf([]byte(token)) == passes {
					listed = append(listed, token)
				}
			}
		}
	}
	if len(listed) == 0 {
		return
	}
	var lower [64]byte
	r.Fields = slices.DeleteFunc(r.Fields, func(f field) bool { return slices.Contains(listed, string(appendLower(lower[:0], f.Name))) })
}

// shared reports whether others may get the answer: the backend then gets nothing that is in no key and that it might act on.
func (r *request) shared() bool {
	return r.cached.policy != nil && (r.Method == "GET" || r.Method == "HEAD") && r.cached.lookup.Forward != cache.ForwardBypass
}

// isUnkeyed reports whether a field changes, for some backends, what is asked for: the method, the URL, the host, or who asks. Others
// would get an answer that is not theirs (cache poisoning, cache-poisoned denial of service), be the field believed or not:
// a trusted proxy may well pass on what its clients send. Addresses of clients are no more than X-Forwarded-For is. lower is the
// name in lower case.
func isUnkeyed(lower []byte) bool {
	lower = withHyphens(lower)
	switch string(lower) {
	case "x-http-method-override", "x-http-method", "x-method-override":
		return true
	}
	return ruleOf(lower) == claim && !isAddress[string(lower)]
}

// isAddress has the claims that say from which address the client comes.
var isAddress = func() map[string]bool {
	names := map[string]bool{}
	for name := range strings.FieldsSeq("x-client-ip client-ip true-client-ip cf-connecting-ip cf-connecting-ipv6 fastly-client-ip " +
		"x-cluster-client-ip x-remote-ip x-remote-addr x-originating-ip x-proxyuser-ip") {
		names[name] = true
	}
	return names
}()

// withHyphens is a name as PHP reads it, which takes a dot for a hyphen, or both for an underscore.
func withHyphens(lower []byte) []byte {
	if bytes.IndexByte(lower, '.') < 0 {
		return lower
	}
	return bytes.ReplaceAll(lower, []byte{'.'}, []byte{'-'})
}

// isTwin reports whether a name is another one to PHP alone, in any case, see withHyphens.
func isTwin(name []byte, of string) bool {
	return len(name) == len(of) && bytes.IndexByte(name, '.') >= 0 && strings.EqualFold(string(withHyphens(name)), of)
}

// outboundHead returns the field lines of the request to the backend: the
// client's end-to-end fields in their order, and what we say of the client. Whatever stays here does so with dots, too.
func (r *request) outboundHead(dst []byte) []byte {
	var lower [64]byte
	coding, shared, edits := r.asksCoding(), r.shared(), r.site.requestEdits
	for _, f := range r.Fields {
		name := withHyphens(appendLower(lower[:0], f.Name))
		if r.dropped(name) || edits.drops(name) || coding != "" && string(name) == "accept-encoding" || r.cached.conditional && isCondition(name) ||
			shared && isUnkeyed(name) || r.site.strip != "" && string(name) == "x-forwarded-prefix" || r.cached.device != "" && string(name) == "x-device-class" {
			continue
		}
		dst = appendField(dst, f.Name, f.Value)
	}
	dst = edits.appendOwn(dst)
	if r.cached.conditional && r.cached.lookup.Stale != nil {
		dst = r.cached.lookup.Stale.AppendConditions(dst)
	}
	if coding != "" {
		dst = appendLine(dst, "Accept-Encoding: ", coding)
	}
	if r.cached.device != "" {
		dst = appendLine(dst, "X-Device-Class: ", r.cached.device)
	}
	return r.appendForwarded(dst)
}

// isCondition reports whether a field holds a condition that the cache answers itself. lower is its name in lower case.
func isCondition(lower []byte) bool {
	return string(lower) == "if-none-match" || string(lower) == "if-modified-since"
}

// identity is no content coding. It is asked for in words: without the field any coding
// would be acceptable (RFC 9110 §12.5.3).
const identity = "identity"

// wantsPlain reports whether the backend is asked for an answer without a content
// coding, whatever the client takes: the answer is inspected, and no rule reads gzip; or it
// may be stored, and we give each client the coding that it takes, so that one form does for all.
func (r *request) wantsPlain() bool {
	return r.waf != nil && r.site.profile.Responses || r.site.compress && r.site.cache != nil
}

// asksCoding is the Accept-Encoding that the backend gets; empty: the client's. Where the answer may be stored, clients that take
// the same ask in the same words: a dozen spellings are in use, and each would have an answer of its own.
func (r *request) asksCoding() string {
	switch {
	case r.wantsPlain():
		return identity
	case r.cached.policy == nil || r.Method != "GET" && r.Method != "HEAD":
		return ""
	}
	var a compress.Accepts
	for _, f := range r.Fields {
		if f.Is("accept-encoding") {
			a.Add(f.Value)
		}
	}
	return a.All()
}

func (r *request) appendForwarded(dst []byte) []byte {
	forwardedFor, host := r.peerText, r.Host
	if r.PeerTrusted {
		var chain []string
		for _, f := range r.Fields {
			if f.Is("x-forwarded-for") {
				chain = append(chain, string(f.Value))
			}
		}
		forwardedFor = strings.Join(append(chain, forwardedFor), ", ")
		if h := r.value("x-forwarded-host"); h != "" && !r.shared() { // it is in no key
			host = h
		}
	}
	dst = appendLine(dst, "X-Forwarded-For: ", forwardedFor)
	dst = appendLine(dst, "X-Forwarded-Proto: ", r.Scheme)
	dst = appendLine(dst, "X-Forwarded-Host: ", host)
	if r.site.strip != "" {
		dst = appendLine(dst, "X-Forwarded-Prefix: ", r.site.strip)
	}
	dst = appendLine(dst, "X-Real-IP: ", r.ClientText)
	dst = appendLine(dst, "X-Request-Id: ", r.ID)
	if r.site.tellsCertificate {
		dst = r.appendCertificate(dst)
	}
	return r.appendPassed(dst)
}

func appendLine(dst []byte, name, value string) []byte {
	return append(append(append(dst, name...), value...), "\r\n"...)
}

func appendField(dst, name, value []byte) []byte {
	dst = append(dst, name...)
	dst = append(dst, ": "...)
	dst = append(dst, value...)
	return append(dst, "\r\n"...)
}

func appendLower(dst, name []byte) []byte {
	if len(name) > cap(dst) {
		return bytes.ToLower(name)
	}
	for _, c := range name {
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		dst = append(dst, c)
	}
	return dst
}
