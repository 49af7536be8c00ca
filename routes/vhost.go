package routes

import (
	"encoding/json"
	"fmt"
)

// A Vhost is one site: the merge of `frontend:<host>` and `vhost:<host>` in
// Redis, or an entry under `vhosts:` in a file. A Vhost is never changed once a
// Change carries it.
type Vhost struct {
	// Name is the canonical host that the site answers for: exact
	// ("www.shop.test"), a wildcard of any depth that does not cover its apex
	// ("*.shop.test"), or "*" for every host that nothing else matches. With a path
	// behind it ("www.shop.test/blog") it is a path vhost: it answers for this path, and
	// what is below it, on all hosts of the vhost www.shop.test. It is
	// the key of the document, not a field in it.
	Name string `yaml:"-" json:"-"`

	// Tenant names the tenant; empty: none, the process's defaults apply.
	Tenant string `yaml:"tenant,omitempty" json:"tenant,omitempty"`
	// Aliases are further hosts of the same forms as Name.
	Aliases []string `yaml:"aliases,omitempty" json:"aliases,omitempty"`
	// Backends is where requests go. A vhost has at least one of them, or Redirect, or Respond.
	Backends []Backend `yaml:"backends,omitempty" json:"backends,omitempty"`
	// VhostExtras is what few sites say: nil, nothing of it. It is read by the methods of the vhost
	// that are called as its fields are; those of a vhost without extras return their zero values.
	*VhostExtras `yaml:",inline"`

	Cache *Cache `yaml:"cache,omitempty" json:"cache,omitempty"`
	WAF   *WAF   `yaml:"waf,omitempty" json:"waf,omitempty"`
	TLS   *TLS   `yaml:"tls,omitempty" json:"tls,omitempty"`
}

// VhostExtras are fields of a vhost's document. They are apart from Vhost since a node may hold a
// million vhosts, most of which say nothing of this.
type VhostExtras struct {
	// Suspended: true: requests are answered 503 and go nowhere, TLS sessions are not resumed, and certificates neither ordered nor renewed;
	// the one that is there is served. Default false.
	Suspended *bool `yaml:"suspended,omitempty" json:"suspended,omitempty"`
	// Strip has a path vhost's path taken off the target that the backend gets. Default false.
	Strip    bool      `yaml:"strip,omitempty" json:"strip,omitempty"`
	Redirect *Redirect `yaml:"redirect,omitempty" json:"redirect,omitempty"`
	Respond  *Respond  `yaml:"respond,omitempty" json:"respond,omitempty"`
	// Balance: "p2c" (default), "random", "round_robin", "least_conn", "hash_ip", "hash_host" or "hash_path_segment".
	Balance  string    `yaml:"balance,omitempty" json:"balance,omitempty"`
	Sticky   *Sticky   `yaml:"sticky,omitempty" json:"sticky,omitempty"`
	Timeouts *Timeouts `yaml:"timeouts,omitempty" json:"timeouts,omitempty"`
	// Health: active checks of the backends; nil: none.
	Health *Health `yaml:"health,omitempty" json:"health,omitempty"`
	// Compress: "off" (default) or "on": answers get a content coding that the client takes (zstd, br or gzip), if it makes
	// them shorter and the backend has not given them one. On for pages that show a secret beside text of
	// somebody else's choice, it lets him find the secret out (BREACH).
	Compress string `yaml:"compress,omitempty" json:"compress,omitempty"`
	// Headers are edits of header fields; nil: none.
	Headers *Headers `yaml:"headers,omitempty" json:"headers,omitempty"`
	// Rate: how many requests pass, beside what the tenant's says. Default: no limit.
	Rate Rates `yaml:"rate,omitempty" json:"rate,omitempty"`
	// Addresses are asked before the tenant's. Default none.
	Addresses *Addresses `yaml:"addresses,omitempty" json:"addresses,omitempty"`
}

// IsSuspended reports whether nothing but errors is served for the vhost.
func (v *Vhost) IsSuspended() bool { return v.Suspended() != nil && *v.Suspended() }

func (v *Vhost) key() string { return v.Name }

// A Backend is one server of a vhost: in a document either its URL alone or a
// mapping with url, weight and tls.
type Backend struct {
	// URL: http://host[:port][/prefix], https://…, or unix:/path/to/socket.
	URL string `yaml:"url" json:"url"`
	// Weight is its share of the requests beside the others': 1 (the default) to MaxWeight.
	Weight int `yaml:"weight,omitempty" json:"weight,omitempty" zero:"must be at least 1"`
	// Concurrency is how many of the tenant's requests may be at the backend at a time, WebSockets included;
	// the others go to another, or wait. Default: no bound but the tenant's.
	Concurrency int `yaml:"concurrency,omitempty" json:"concurrency,omitempty" zero:"must be at least 1"`
	// TLS of an https backend; nil: verified by the system's roots.
	TLS *BackendTLS `yaml:"tls,omitempty" json:"tls,omitempty"`
}

// URLAlone reports whether the URL says everything, so that it stands alone in a document.
func (b Backend) URLAlone() bool { return b.Weight <= 1 && b.Concurrency == 0 && b.TLS == nil }

type backendFields Backend

// UnmarshalJSON reads a URL or an object with url and weight.
func (b *Backend) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '"' {
		return json.Unmarshal(data, &b.URL)
	}
	return decodeStrictJSON(data, (*backendFields)(b))
}

// MarshalJSON writes the URL alone where that says everything.
func (b Backend) MarshalJSON() ([]byte, error) {
	if b.URLAlone() {
		return json.Marshal(b.URL)
	}
	return json.Marshal(backendFields(b))
}

// MarshalYAML writes the URL alone where that says everything.
func (b Backend) MarshalYAML() (any, error) {
	if b.URLAlone() {
		return b.URL, nil
	}
	return backendFields(b), nil
}

// Timeouts bound the phases of a round trip to a backend.
type Timeouts struct {
	// Connect, TLS handshake included. Default 3s.
	Connect Duration `yaml:"connect,omitempty" json:"connect,omitempty" zero:"must be more than 0s"`
	// FirstByte is the time from the sent request to the response's head. Default 60s.
	FirstByte Duration `yaml:"first_byte,omitempty" json:"first_byte,omitempty" zero:"must be more than 0s"`
}

// Switch is "auto", "true" or "false"; the booleans may be written bare.
type Switch string

// UnmarshalJSON reads a string or a bare boolean.
func (s *Switch) UnmarshalJSON(data []byte) error {
	switch string(data) {
	case "true", "false":
		*s = Switch(data)
		return nil
	}
	var v string
	if err := json.Unmarshal(data, &v); err != nil {
		return fmt.Errorf("want auto, true or false")
	}
	*s = Switch(v)
	return nil
}
