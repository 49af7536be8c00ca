package routes

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A finding is a bad value, before its place in the text is known.
type finding struct {
	field, reason, guess string
	missing              bool // a value that has to be there is not
	line, column         int  // of a text of several lines: where in it, from 1; else 0
}

// checkMode says how much of a vhost has to be there.
type checkMode uint8

const (
	checkComplete checkMode = iota // a whole vhost
	checkPartial                   // `vhost:<host>`, which is merged over `frontend:<host>`
)

// Check returns what is wrong with a complete vhost that was put together by a
// program, such as the merge of two Redis keys. source names it in problems.
func (v *Vhost) Check(source string) Problems {
	return asProblems(source, checkVhost(v.Name, v, checkComplete))
}

// Check returns what is wrong with a tenant; see Vhost.Check.
func (t *Tenant) Check(source string) Problems {
	return asProblems(source, checkTenant(t, checkComplete))
}

func asProblems(source string, findings []finding) Problems {
	var out Problems
	for _, f := range findings[:min(len(findings), maxProblems)] {
		out = append(out, &Problem{File: source, Field: said(f.field), Reason: said(f.reason), Guess: said(f.guess)})
	}
	return withRest(source, out, len(findings)-len(out))
}

func checkTenant(t *Tenant, mode checkMode) []finding {
	out := append(checkConcurrency("concurrency", t.Concurrency), checkWAF("waf", t.WAF)...)
	out = append(out, checkRates("rate", t.Rate)...)
	return append(out, checkAddresses("addresses", t.Addresses, mode)...)
}

func checkVhost(name string, v *Vhost, mode checkMode) []finding {
	var out []finding
	if v.Tenant != "" {
		if err := CheckTenantName(v.Tenant); err != nil {
			out = append(out, finding{field: "tenant", reason: err.Error()})
		}
	}
	out = append(out, checkAnswer(v, mode)...)
	out = append(out, checkBackends(v, mode)...)
	out = append(out, checkName(name, v)...)
	out = append(out, checkAliases(name, v)...)
	out = append(out, checkBalance(v)...)
	out = append(out, checkHealth("health", v.Health())...)
	out = append(out, oneOf("compress", v.Compress(), []string{"off", "on"})...)
	out = append(out, checkHeaders(v.Headers())...)
	out = append(out, checkCache("cache", v.Cache)...)
	out = append(out, checkWAF("waf", v.WAF)...)
	out = append(out, checkRates("rate", v.Rate())...)
	out = append(out, checkOneCertificate("tls.one_certificate", name, v)...)
	out = append(out, checkAddresses("addresses", v.Addresses(), mode)...)
	return append(out, checkTLS(v.TLS, mode)...)
}

func checkBackends(v *Vhost, mode checkMode) []finding {
	if len(v.Backends) > MaxBackends {
		return []finding{{field: "backends", reason: fmt.Sprintf("more than %d backends", MaxBackends)}} // and not a line for each
	}
	var out []finding
	for i, b := range v.Backends {
		field := "backends[" + strconv.Itoa(i) + "]"
		if b.URL == "" {
			out = append(out, finding{field: field, missing: true, reason: "a backend needs a url, such as http://127.0.0.1:9000"})
		} else if err := checkBackend(b.URL); err != nil {
			out = append(out, finding{field: field, reason: err.Error()})
		}
		out = append(out, checkConcurrency(field+".concurrency", b.Concurrency)...)
		out = append(out, checkBackendTLS(field+".tls", b.URL, b.TLS, mode)...)
	}
	return out
}

const (
	// MaxBackends is how many backends a vhost may have.
	MaxBackends = 1000
	maxAliases  = 1000 // of a vhost
	maxMethods  = 50   // of a list
	maxApps     = 20   // of a list, also with some twice
)

// checkAliases also writes the canonical form of each alias back.
func checkAliases(name string, v *Vhost) []finding {
	var out []finding
	if len(v.Aliases) > maxAliases {
		return []finding{{field: "aliases", reason: fmt.Sprintf("%d aliases: at most %d; a wildcard may stand for many", len(v.Aliases), maxAliases)}}
	}
	seen := map[string]bool{name: true}
	for i, alias := range v.Aliases {
		field := "aliases[" + strconv.Itoa(i) + "]"
		canonical, err := CanonicalName(alias)
		switch {
		case err != nil:
			out = append(out, finding{field: field, reason: fmt.Sprintf("bad host %q: %v", shortText(alias), err)})
		case seen[canonical]:
			out = append(out, finding{field: field, reason: fmt.Sprintf("host %q stands here a second time", alias)})
		default:
			seen[canonical] = true
			v.Aliases[i] = canonical
		}
	}
	return out
}

// maxInspectBody is 1 MiB: hostile text of that size takes about a minute of a processor, which one of the
// tenant's turns lasts, and nobody waits for a turn for longer than 15 s.
const maxInspectBody = 1 << 20

func checkWAF(field string, w *WAF) []finding {
	if w == nil {
		return nil
	}
	out := oneOf(field+".mode", w.Mode, []string{WAFOff, WAFDetect, WAFBlock})
	out = append(out, checkProfile(field+".profile", w.Profile)...)
	out = append(out, checkApps(field+".apps", w.Apps)...)
	out = append(out, oneOf(field+".on_oversize", w.OnOversize, []string{"pass", "block"})...)
	out = append(out, oneOf(field+".on_error", w.OnError, []string{"pass", "block"})...)
	if w.Paranoia < 0 || w.Paranoia > 4 {
		out = append(out, finding{field: field + ".paranoia", reason: "the paranoia level is 1 to 4"})
	}
	if w.InboundThreshold < 0 {
		out = append(out, finding{field: field + ".inbound_threshold", reason: "a threshold is a score of 1 or more"})
	}
	if w.OutboundThreshold < 0 {
		out = append(out, finding{field: field + ".outbound_threshold", reason: "a threshold is a score of 1 or more"})
	}
	if w.InspectBody > maxInspectBody {
		out = append(out, finding{field: field + ".inspect_body", reason: "at most 1MiB of a body are inspected"})
	}
	out = append(out, checkMethods(field+".allowed_methods", w.AllowedMethods)...)
	out = append(out, checkTypes(field+".allowed_types", w.AllowedTypes)...)
	out = append(out, checkExclusions(field+".exclusions", w.Exclusions)...)
	return append(out, checkRules(field+".rules", w.Rules)...)
}

func checkProfile(field, profile string) []finding {
	if slices.Contains(wafApps, profile) { // as alproxy has it
		return []finding{{field: field, reason: fmt.Sprintf("%q is a program and no profile: want apps: [%s], with any profile", profile, profile)}}
	}
	return oneOf(field, profile, wafProfiles)
}

func checkApps(field string, apps []string) []finding {
	if len(apps) > maxApps {
		return []finding{{field: field, reason: fmt.Sprintf("%d entries: at most %d", len(apps), maxApps)}}
	}
	var out []finding
	for i, app := range apps {
		at := field + "[" + strconv.Itoa(i) + "]"
		switch {
		case app == "":
			out = append(out, finding{field: at, missing: true, reason: "want a program: " + strings.Join(wafApps, ", ")})
		case slices.Contains(apps[:i], app):
			out = append(out, finding{field: at, reason: fmt.Sprintf("%q stands here a second time", app)})
		default:
			out = append(out, oneOf(at, app, wafApps)...)
		}
	}
	return out
}

func checkMethods(field string, methods []string) []finding {
	if len(methods) > maxMethods {
		return []finding{{field: field, reason: fmt.Sprintf("%d methods: at most %d", len(methods), maxMethods)}}
	}
	var out []finding
	for i, m := range methods {
		at := field + "[" + strconv.Itoa(i) + "]"
		if !isToken(m) {
			out = append(out, finding{field: at, reason: fmt.Sprintf("bad method %q: want one word, such as GET", shortText(m))})
		} else if m != strings.ToUpper(m) {
			out = append(out, finding{
				field: at, guess: strings.ToUpper(m),
				reason: fmt.Sprintf("bad method %q: methods are written in capitals", m),
			})
		}
	}
	return out
}

// maxTypes bounds the text that a rule searches for each request with a body.
const maxTypes = 50

// checkTypes refuses what a request's Content-Type could not be, without its parameters.
func checkTypes(field string, types []string) []finding {
	if len(types) > maxTypes {
		return []finding{{field: field, reason: fmt.Sprintf("%d types: at most %d", len(types), maxTypes)}}
	}
	var out []finding
	for i, text := range types {
		bare, _, parameters := strings.Cut(text, ";")
		bare = strings.ToLower(strings.TrimSpace(bare))
		main, sub, ok := strings.Cut(bare, "/")
		f := finding{field: field + "[" + strconv.Itoa(i) + "]"}
		switch {
		case !ok || !isToken(main) || !isToken(sub) || len(text) > 127:
			f.reason = fmt.Sprintf("bad content type %q: want one such as text/plain", shortText(text))
		case strings.ContainsAny(bare, "*|"):
			f.reason = fmt.Sprintf("bad content type %q: each is written out, there are no patterns", text)
		case parameters:
			f.reason, f.guess = fmt.Sprintf("bad content type %q: parameters do not count", shortText(text)), bare
		case bare != text:
			f.reason, f.guess = fmt.Sprintf("bad content type %q: types are written in small letters", text), bare
		default:
			continue
		}
		out = append(out, f)
	}
	return out
}

// oneOf checks an enumeration.
func oneOf(field, value string, words []string) []finding {
	if value == "" || slices.Contains(words, value) {
		return nil
	}
	return []finding{{
		field: field, guess: Nearest(value, words),
		reason: fmt.Sprintf("bad value %q: want %s", value, strings.Join(words, ", ")),
	}}
}

// isToken reports whether s is a token of RFC 9110 §5.6.2.
func isToken(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}
