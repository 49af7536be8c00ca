package routes

import "slices"

// A Tenant is the document `tenant:<id>` in Redis or an entry under `tenants:`
// in a file: what all vhosts of one customer share. Fields that are not set
// leave the built-in default in force. A Tenant is never changed once a Change
// carries it.
type Tenant struct {
	// Name is the tenant's id: the key of the document, not a field in it.
	Name string `yaml:"-" json:"-"`

	// Suspended: true: all vhosts of the tenant are, whatever their own documents say. Default false.
	Suspended *bool `yaml:"suspended,omitempty" json:"suspended,omitempty"`

	WAF *WAF `yaml:"waf,omitempty" json:"waf,omitempty"`
	// Rate: how many requests to all vhosts of the tenant together pass. Default: no limit.
	Rate Rates `yaml:"rate,omitempty" json:"rate,omitempty"`
	// Concurrency is how many requests of the tenant may be with backends at a time; the others wait. Default:
	// the process setting limits.tenant_concurrency.
	Concurrency int `yaml:"concurrency,omitempty" json:"concurrency,omitempty" zero:"must be at least 1 (1000000 is as good as no bound)"`
	// CacheShare is how much of the cache's memory the tenant's vhosts are certain of when it is short; while
	// there is room they take more. Default 0: an equal part of what tenants with a share of their own leave.
	CacheShare Size `yaml:"cache_share,omitempty" json:"cache_share,omitempty" zero:"must be at least 1 byte"`
	// Addresses are asked after a vhost's own, before the process's. Default none.
	Addresses *Addresses `yaml:"addresses,omitempty" json:"addresses,omitempty"`
}

// IsSuspended reports whether all vhosts of the tenant are suspended. t may be nil.
func (t *Tenant) IsSuspended() bool { return t != nil && t.Suspended != nil && *t.Suspended }

// WAF tunes the web application firewall for a tenant or a vhost. Every field
// may be left out: a vhost's value replaces its tenant's, but its exclusions are
// added to it.
type WAF struct {
	// Mode: "off", "detect" (log, never block) or "block". Default detect.
	Mode string `yaml:"mode,omitempty" json:"mode,omitempty"`
	// Profile is which families of the core rules run: "none", "basic", "strong" or "complete". Default
	// complete.
	Profile string `yaml:"profile,omitempty" json:"profile,omitempty"`
	// Apps are the programs that are served, of "wordpress", "drupal", "nextcloud" and "dokuwiki":
	// what of the rules they are known to trip over does not apply. An empty list is none, also
	// where the tenant has some. Default none.
	Apps []string `yaml:"apps,omitzero" json:"apps,omitzero"`
	// Paranoia is the CRS paranoia level, 1 to 4. Default 1.
	Paranoia int `yaml:"paranoia,omitempty" json:"paranoia,omitempty" zero:"must be at least 1"`
	// InboundThreshold is the anomaly score from which a request is blocked. Default 5.
	InboundThreshold int `yaml:"inbound_threshold,omitempty" json:"inbound_threshold,omitempty" zero:"must be at least 1"`
	// OutboundThreshold is the anomaly score from which a response is blocked. Default 4.
	OutboundThreshold int `yaml:"outbound_threshold,omitempty" json:"outbound_threshold,omitempty" zero:"must be at least 1"`
	// InspectBody is how many bytes of a body are inspected; the rest streams on. Default 128KiB, at most 1MiB.
	InspectBody Size `yaml:"inspect_body,omitempty" json:"inspect_body,omitempty" zero:"must be at least 1 byte"`
	// OnOversize: what happens to a request whose body is longer than InspectBody, so that its
	// end would not be inspected: "pass" (default) or "block", which answers 413.
	OnOversize string `yaml:"on_oversize,omitempty" json:"on_oversize,omitempty"`
	// Responses turns the inspection of responses on (rules of phases 3 and 4). Default false.
	Responses *bool `yaml:"responses,omitempty" json:"responses,omitempty"`
	// OnError: what happens to a request when the engine itself fails: "pass" (default) or "block",
	// which answers 503. Mode detect lets it pass in any case.
	OnError string `yaml:"on_error,omitempty" json:"on_error,omitempty"`
	// AllowedMethods replaces the methods that the CRS lets through (GET HEAD POST OPTIONS).
	AllowedMethods []string `yaml:"allowed_methods,omitempty" json:"allowed_methods,omitempty"`
	// AllowedTypes replaces the content types of requests that rule 920420 lets pass: by
	// default forms, multipart/form-data, JSON and XML.
	AllowedTypes []string `yaml:"allowed_types,omitempty" json:"allowed_types,omitempty"`
	// Exclusions are what of the rules does not apply. A vhost's are added to its tenant's.
	Exclusions []Exclusion `yaml:"exclusions,omitempty" json:"exclusions,omitempty"`

	// Rules are own rules of the tenant or vhost, which see a request before the core rules do. A
	// vhost's are added to its tenant's: see Settings.Rules. Default none.
	Rules string `yaml:"rules,omitempty" json:"rules,omitempty"`
}

// WAF modes.
const (
	WAFOff    = "off"
	WAFDetect = "detect"
	WAFBlock  = "block"
)

// The words of WAF.Profile and WAF.Apps. A test of edge compares them with the files of waf-rules.
var (
	wafProfiles = []string{"none", "basic", "strong", "complete"}
	wafApps     = []string{"wordpress", "drupal", "nextcloud", "dokuwiki"}
)

// WAFProfiles returns the profiles, the one with the fewest rules first.
func WAFProfiles() []string { return slices.Clone(wafProfiles) }

// WAFApps returns the programs that have exclusions of their own.
func WAFApps() []string { return slices.Clone(wafApps) }

// Over returns the settings of w with what is not set taken from base, except Rules,
// which are w's own. Neither is changed; both may be nil.
func (w *WAF) Over(base *WAF) *WAF {
	if w == nil {
		w = &WAF{}
	}
	if base == nil {
		base = &WAF{}
	}
	out := *w
	out.Mode = or(w.Mode, base.Mode)
	out.Profile = or(w.Profile, base.Profile)
	if out.Apps == nil {
		out.Apps = base.Apps
	}
	out.Paranoia = or(w.Paranoia, base.Paranoia)
	out.InboundThreshold = or(w.InboundThreshold, base.InboundThreshold)
	out.OutboundThreshold = or(w.OutboundThreshold, base.OutboundThreshold)
	out.InspectBody = or(w.InspectBody, base.InspectBody)
	out.OnOversize = or(w.OnOversize, base.OnOversize)
	out.Responses = or(w.Responses, base.Responses)
	out.OnError = or(w.OnError, base.OnError)
	if out.AllowedMethods == nil {
		out.AllowedMethods = base.AllowedMethods
	}
	if out.AllowedTypes == nil {
		out.AllowedTypes = base.AllowedTypes
	}
	switch {
	case len(w.Exclusions) == 0:
		out.Exclusions = base.Exclusions
	case len(base.Exclusions) > 0:
		out.Exclusions = slices.Concat(base.Exclusions, w.Exclusions)
	}
	return &out
}

// DefaultWAF holds the built-in defaults of every WAF field.
var DefaultWAF = &WAF{
	Mode: WAFDetect, Profile: "complete", Paranoia: 1, InboundThreshold: 5, OutboundThreshold: 4,
	InspectBody: 128 << 10, OnOversize: "pass", OnError: "pass",
}

func or[T comparable](v, fallback T) T {
	var zero T
	if v != zero {
		return v
	}
	return fallback
}
