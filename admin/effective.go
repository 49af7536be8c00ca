package admin

import (
	"cmp"
	"encoding/json"
	"strconv"
	"strings"

	"gatehouse/routes"
)

// Effective is one setting that is in force for a vhost, and who says so.
type Effective struct {
	Path  string `json:"path"`
	Value string `json:"value"`
	From  string `json:"from"` // "vhost", "vhost NAME" (a path vhost's host), "tenant NAME", "defaults" or "built in"
}

// effective lists what is in force for a route that has a good form. by is as suspendedBy has it.
func effective(r *routes.Route, defaults *routes.Tenant, by string) []Effective {
	s := r.Settings(defaults)
	base, layer := r.Tenant, "tenant "+r.Vhost.Tenant
	if base == nil {
		base, layer = defaults, "defaults"
	}
	own, shared := paths(r.Vhost), paths(base)
	host, path := routes.SplitName(r.Name)
	hosts := map[string]bool{} // what a path vhost has from its host's
	if path != "" {
		hosts = paths(&routes.Vhost{TLS: r.TLS()})
	}
	var out []Effective
	add := func(path, value string) {
		from := "built in"
		switch {
		case own[path]:
			from = "vhost"
		case hosts[path]:
			from = "vhost " + host
		case shared[path]:
			from = layer
		}
		out = append(out, Effective{Path: path, Value: value, From: from})
	}
	if by != "" && !r.Vhost.IsSuspended() {
		out = append(out, Effective{Path: "suspended", Value: "true", From: by})
	} else {
		add("suspended", strconv.FormatBool(s.Suspended))
	}
	if s.Concurrency > 0 {
		add("concurrency", strconv.Itoa(s.Concurrency))
	}
	addRates := func(rates routes.Rates, from string) { // the one does not replace the other
		for _, r := range rates {
			out = append(out, Effective{Path: "rate", Value: r.String(), From: from})
		}
	}
	effectiveWAF(&s.WAF, own, add)
	addRates(s.TenantRate, layer)
	addRates(s.VhostRate, "vhost")
	for _, w := range []struct {
		waf  *routes.WAF
		from string
	}{{ownWAF(base), layer}, {r.Vhost.WAF, "vhost"}} { // the one does not replace the other
		if w.waf != nil && w.waf.Rules != "" {
			out = append(out, Effective{Path: "waf.rules", Value: lines(w.waf.Rules), From: w.from})
		}
	}
	out = append(out, effectiveAddresses(&s, layer)...)
	if r.Vhost.Redirect() == nil && r.Vhost.Respond() == nil {
		effectiveBackends(&s, add)
	}
	add("compress", s.Compress)
	add("tls.policy", s.TLSPolicy)
	add("tls.min_version", s.MinTLS)
	add("tls.key_type", s.KeyType)
	effectiveClientAuth(r.TLS(), add)
	if t := r.TLS(); t != nil && t.OneCertificate {
		add("tls.one_certificate", "true")
	}
	add("tls.redirect_http", s.RedirectHTTP)
	add("tls.hsts", hstsText(&s.HSTS))
	return out
}

// effectiveBackends adds what has no meaning for a vhost without backends.
func effectiveBackends(s *routes.Settings, add func(path, value string)) {
	add("balance", s.Balance)
	if s.Sticky != "" {
		add("sticky.cookie", s.Sticky)
	}
	effectiveHealth(s.Health, add)
	add("timeouts.connect", routes.Duration(s.ConnectTimeout).String())
	add("timeouts.first_byte", routes.Duration(s.FirstByte).String())
	effectiveCache(s, add)
}

// effectiveWAF adds the WAF's settings, but for rules, where a vhost's stand beside its tenant's.
func effectiveWAF(w *routes.WAF, own map[string]bool, add func(path, value string)) {
	add("waf.mode", w.Mode)
	add("waf.profile", w.Profile)
	if len(w.Apps) > 0 || own["waf.apps"] {
		add("waf.apps", cmp.Or(strings.Join(w.Apps, ", "), "none"))
	}
	add("waf.paranoia", strconv.Itoa(w.Paranoia))
	add("waf.inbound_threshold", strconv.Itoa(w.InboundThreshold))
	add("waf.outbound_threshold", strconv.Itoa(w.OutboundThreshold))
	add("waf.inspect_body", w.InspectBody.String())
	add("waf.on_oversize", w.OnOversize)
	add("waf.responses", strconv.FormatBool(*w.Responses))
	add("waf.on_error", w.OnError)
	if len(w.AllowedMethods) > 0 {
		add("waf.allowed_methods", strings.Join(w.AllowedMethods, ", "))
	}
	if len(w.AllowedTypes) > 0 {
		add("waf.allowed_types", strings.Join(w.AllowedTypes, ", "))
	}
	if len(w.Exclusions) > 0 {
		ids := make([]string, len(w.Exclusions))
		for i := range w.Exclusions {
			ids[i] = w.Exclusions[i].Key()
		}
		add("waf.exclusions", strings.Join(ids, ", "))
	}
}

// effectiveAddresses are those of a vhost and of what stands above it, in the order in which they are asked: the one does not replace
// the other.
func effectiveAddresses(s *routes.Settings, layer string) (out []Effective) {
	for _, a := range []struct {
		of   *routes.Addresses
		from string
	}{{s.VhostAddresses, "vhost"}, {s.TenantAddresses, layer}} {
		if a.of == nil {
			continue
		}
		if len(a.of.Allow) > 0 {
			out = append(out, Effective{Path: "addresses.allow", Value: strings.Join(a.of.Allow, ", "), From: a.from})
		}
		if len(a.of.Deny) > 0 {
			out = append(out, Effective{Path: "addresses.deny", Value: strings.Join(a.of.Deny, ", "), From: a.from})
		}
	}
	return out
}

func hstsText(h *routes.HSTS) string {
	text := h.MaxAge.String()
	if h.Subdomains {
		text += ", subdomains"
	}
	if h.Preload {
		text += ", preload"
	}
	return text
}

func effectiveClientAuth(t *routes.TLS, add func(path, value string)) {
	if t == nil || t.ClientAuth == nil {
		return
	}
	c := t.ClientAuth
	add("tls.client_auth.mode", c.Mode)
	if c.Inline() {
		add("tls.client_auth.ca", lines(c.CA))
	} else {
		add("tls.client_auth.ca", c.CA)
	}
	add("tls.client_auth.header", strconv.FormatBool(c.Tells()))
}

func ownWAF(t *routes.Tenant) *routes.WAF {
	if t == nil {
		return nil
	}
	return t.WAF
}

// lines says how long a text is that is too long to be shown in a list.
func lines(text string) string {
	n := strings.Count(strings.TrimSuffix(text, "\n"), "\n") + 1
	if n == 1 {
		return "1 line"
	}
	return strconv.Itoa(n) + " lines"
}

// paths returns the paths of all fields that a document sets.
func paths(doc any) map[string]bool {
	out := map[string]bool{}
	raw, err := json.Marshal(doc)
	if err != nil {
		return out // a document that came out of the table can be marshalled
	}
	var tree map[string]any
	if json.Unmarshal(raw, &tree) == nil {
		collect(out, "", tree)
	}
	return out
}

func collect(into map[string]bool, above string, tree map[string]any) {
	for name, value := range tree {
		into[above+name] = true
		if below, ok := value.(map[string]any); ok {
			collect(into, above+name+".", below)
		}
	}
}
