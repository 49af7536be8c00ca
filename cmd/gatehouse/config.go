package main

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gatehouse/routes"
)

// Config is what the process itself is told: gatehouse.yaml, overridden by the
// environment, overridden by flags. What a site is told stands in the documents
// that Routes names. Every field has its default after loadConfig; a value that
// this version does not act on is refused, never silently accepted.
//
// The `help` tags are the text of the flags.
type Config struct {
	// File is the gatehouse.yaml that was read; empty: none.
	File string `json:"-"`

	Listen Listen `json:"listen"`
	// Node names this process in request ids, purge answers and leases. Default: the host name.
	Node string `json:"node" help:"name of this node (default: the host name)"`
	// Data is the folder for what has to survive a restart: internal CA,
	// certificates, ticket keys, last good routes, gatehouse.sock. Made if absent.
	Data string `json:"data" help:"folder for certificates, keys, last good routes and the socket"`
	// Routes is "file:DIR" or a Redis URL; see RoutesDir.
	Routes string `json:"routes" help:"file:DIR, or redis://[user:pass@]host:port[/db][#prefix], redis+sentinel://, redis+cluster://"`
	// Redis is where nodes keep what they have in common: certificates, ticket keys, purges, rate limits. Default: that of Routes, if it is one.
	Redis string `json:"redis" help:"Redis URL of what nodes share (default: that of routes)"`
	// RedisTLS is for rediss:// URLs of both.
	RedisTLS RedisTLS `json:"redis_tls"`
	// SealKeys seal certificates and keys there: "file:PATH" or the key itself, 32 bytes in hex or base64. The first seals, all open. Without
	// them certificates and ticket keys stay on the node.
	SealKeys     []string     `json:"seal_keys" help:"keys that seal shared certificates: file:PATH, or 64 hex digits"`
	Certificates Certificates `json:"certificates"`
	TLS          TLS          `json:"tls"`
	// TrustedProxies are the peers whose X-Forwarded-* and X-Request-Id fields
	// and PROXY headers are believed. A network too wide here lets clients forge their address.
	TrustedProxies []CIDR `json:"trusted_proxies" help:"networks whose X-Forwarded-* fields and PROXY headers are believed"`
	// ProxyProtocol makes a PROXY header (v1 or v2) in front of every connection
	// from TrustedProxies, which must name some, tell the client's address.
	ProxyProtocol bool `json:"proxy_protocol" help:"accept PROXY headers from trusted proxies"`
	// Defaults applies to a vhost without tenant, or whose tenant has no document. Never nil.
	Defaults *routes.Tenant `json:"defaults"`
	// Addresses of the process are asked behind a vhost's and its tenant's.
	Addresses AddressesConfig `json:"addresses"`
	Cache     CacheConfig     `json:"cache"`
	WAF       WAFConfig       `json:"waf"`
	Backends  BackendsConfig  `json:"backends"`
	// Compat: only "none" acts in this version.
	Compat string `json:"compat" help:"behave like an older proxy: none"`
	Log    Log    `json:"log"`
	Limits Limits `json:"limits"`

	// problem returns one with a setting's value, at the place where it was given; nil: not loaded.
	problem func(path, reason, guess string) *routes.Problem
}

// Listen holds addresses ("host:port", ":port"); an empty one turns its listener off.
type Listen struct {
	HTTP  string `json:"http" help:"address for plain HTTP; empty: off"`
	HTTPS string `json:"https" help:"address for TLS; empty: off"`
	// Admin serves metrics and health without authentication: keep it on loopback or a private network.
	Admin string `json:"admin" help:"address for metrics and health; empty: off"`
	// PublicHTTPS is the port that clients reach HTTPS at, for redirects.
	PublicHTTPS int `json:"public_https" help:"port that redirects to https name"`
}

// Certificates says who issues the certificates of names without an uploaded one.
type Certificates struct {
	// Issuer is "internal" (own CA, works offline) or "acme".
	Issuer string `json:"issuer" help:"internal or acme"`
	ACME   ACME   `json:"acme"`
	// Webhook is told of certificates that end, whose orders fail or work again, or that are revoked. What stands in it may be a secret.
	Webhook string `json:"webhook" help:"https URL that is told of certificates that end, fail or are revoked; empty: none"`
}

// TLS is what the connections of all vhosts have in common.
type TLS struct {
	ECH ECH `json:"ech"`
}

// ECH is Encrypted Client Hello (RFC 9849). Experimental.
type ECH struct {
	// PublicName is what clients show in the place of the name that they encrypt. Empty: ECH is off.
	PublicName string `json:"public_name" help:"name that clients show in the place of the one that they encrypt (ECH, experimental); empty: off"`
	// Rotate is how long a key is published; it decrypts for twice as long after that.
	Rotate routes.Duration `json:"rotate" help:"time after which another ECH key is published"`
}

// ACME describes the issuer's directory; it acts when the issuer is "acme".
type ACME struct {
	Directory string `json:"directory" help:"https URL of the ACME directory"`
	Email     string `json:"email" help:"contact of the ACME account"`
	// Trust is a PEM file with roots for the directory's own certificate.
	Trust string `json:"trust" help:"PEM file of roots that vouch for the directory"`
	EAB   EAB    `json:"eab"`
	// Profile is one of those that the directory names. Default: the CA's choice.
	Profile string `json:"profile" help:"profile of the certificates; empty: the CA's choice"`
	// Challenge is what orders keep to: auto, http-01, tls-alpn-01 or dns-01.
	Challenge string `json:"challenge" help:"auto, http-01, tls-alpn-01 or dns-01"`
	// DNSHook is a program that publishes the records of dns-01; DNSUpdate has them published without one. Without either wildcards are not ordered.
	DNSHook   string    `json:"dns_hook" help:"program that publishes records for dns-01"`
	DNSUpdate DNSUpdate `json:"dns_update"`
	// OrdersPerTenant bounds the orders of one tenant within three hours, on all nodes. 0: none.
	OrdersPerTenant int `json:"orders_per_tenant" help:"most first orders of a tenant within three hours; 0: no bound"`
	// Fallback is asked where orders fail at the first one, or while that one cannot be reached or wants none. Without a directory: none.
	Fallback Fallback `json:"fallback"`
}

// Fallback is another ACME issuer.
type Fallback struct {
	Directory string `json:"directory" help:"https URL of the second ACME directory; empty: none"`
	Email     string `json:"email" help:"contact of the account there"`
	Trust     string `json:"trust" help:"PEM file of roots that vouch for that directory"`
	EAB       EAB    `json:"eab"`
	Profile   string `json:"profile" help:"profile of the certificates there; empty: the CA's choice"`
}

// EAB is an external account binding (RFC 8555 §7.3.4); both empty: none.
type EAB struct {
	KID  string `json:"kid" help:"key id of the external account binding"`
	HMAC string `json:"hmac" help:"key of the external account binding, base64url"`
}

// CacheConfig is the response cache of the whole process.
type CacheConfig struct {
	// Memory is the bound of all stored answers, in bytes.
	Memory routes.Size `json:"memory" help:"memory of the response cache"`
	// Snapshot keeps the most valuable answers over a restart, in the data folder, and over an upgrade. Default true.
	Snapshot bool `json:"snapshot" help:"keep the cache's most valuable answers over a restart"`
}

// WAFConfig is the rule set of the whole process.
type WAFConfig struct {
	// CRS is "embedded" or a folder that holds a release of the CRS; a node follows it while it runs.
	CRS string `json:"crs" help:"rule set: embedded, or a folder with a release of the CRS"`
	// Gate is "on" (rules that cannot match a request are not run), "shadow" (all run, and what the gate says is
	// compared with what they find) or "off" (all run).
	Gate string `json:"gate" help:"leave out rules that cannot match: on, shadow (compare only) or off"`
	// Shadow has all rules run afterwards on one of so many requests; a gate that missed a rule is switched off. 0: on none.
	Shadow int `json:"shadow" help:"one of so many requests is run through all rules afterwards, to verify the gate; 0: none"`
}

// BackendsConfig bounds where backends may be, beside what never may: see networks.go.
type BackendsConfig struct {
	Deny  []Network `json:"deny" help:"networks that no backend may be in: CIDRs, loopback, private, unix"`
	Allow []Network `json:"allow" help:"exceptions to backends.deny"`
}

// Log says what is logged and where.
type Log struct {
	Access AccessLog `json:"access"`
	Level  string    `json:"level" help:"debug, info, warn or error"`
}

// AccessLog is the one line per request.
type AccessLog struct {
	Format string `json:"format" help:"combined or json"`
	To     string `json:"to" help:"stdout, stderr or a file"`
}

// Limits bound what one client may ask, and what one backend may answer. 0 means
// no bound where the help text says so. docs/security.md says what each is for.
type Limits struct {
	HeaderBytes       routes.Size `json:"header_bytes" help:"largest head of a request"`
	TargetBytes       routes.Size `json:"target_bytes" help:"longest request target"`
	HeaderFields      int         `json:"header_fields" help:"most header fields of a request"`
	BodyBytes         routes.Size `json:"body_bytes" help:"largest request body; 0: no bound"`
	Connections       int         `json:"connections" help:"open connections of all clients; 0: what the descriptor limit leaves"`
	ConnectionsPerIP  int         `json:"connections_per_ip" help:"open connections per address (IPv6: per /64); 0: no bound"`
	HandshakesPerIP   int         `json:"handshakes_per_ip" help:"TLS handshakes per address (IPv6: per /64) and second; 0: no bound"`
	KeepaliveRequests int         `json:"keepalive_requests" help:"requests per connection; 0: no bound"`

	ConnectionAge    routes.Duration `json:"connection_age" help:"age from which an answer ends its connection; 0s: no bound"`
	IdleTimeout      routes.Duration `json:"idle_timeout" help:"longest time between two requests of a connection"`
	HandshakeTimeout routes.Duration `json:"handshake_timeout" help:"longest TLS handshake"`
	HeaderTimeout    routes.Duration `json:"header_timeout" help:"longest time from a head's first byte to its last"`
	StallTimeout     routes.Duration `json:"stall_timeout" help:"longest silence within a request's body, or of a client that takes an answer"`
	MinRate          routes.Size     `json:"min_rate" help:"least bytes per second of either, over stall_timeout; 0: no bound"`

	TenantConcurrency int             `json:"tenant_concurrency" help:"requests of a tenant that are with backends at a time; 0: no bound"`
	TenantQueue       int             `json:"tenant_queue" help:"requests that wait for those of their tenant to end; 0: none"`
	QueueTimeout      routes.Duration `json:"queue_timeout" help:"longest such wait"`

	ResponseHeaderBytes  routes.Size `json:"response_header_bytes" help:"largest head of a backend's answer"`
	ResponseHeaderFields int         `json:"response_header_fields" help:"most header fields of a backend's answer"`

	DrainAccept routes.Duration `json:"drain_accept" help:"how long a draining node goes on accepting; 0s: not at all"`
	DrainGrace  routes.Duration `json:"drain_grace" help:"time that requests under way have to end"`
}

// letsEncrypt is the directory that is used when none is given.
const letsEncrypt = "https://acme-v02.api.letsencrypt.org/directory"

// defaultConfig returns the settings of a process that is told nothing. Paths
// are relative to the working directory.
func defaultConfig() *Config {
	return &Config{
		Listen:       Listen{HTTP: ":8080", HTTPS: ":8443", Admin: "127.0.0.1:9180", PublicHTTPS: 443},
		Node:         hostName(),
		Data:         "./data",
		Routes:       "file:conf.d",
		Certificates: Certificates{Issuer: "internal", ACME: ACME{Directory: letsEncrypt, Challenge: "auto", OrdersPerTenant: 100, DNSUpdate: defaultDNSUpdate}},
		TLS:          TLS{ECH: ECH{Rotate: routes.Duration(30 * 24 * time.Hour)}},
		Defaults:     &routes.Tenant{WAF: &routes.WAF{Mode: routes.WAFDetect}},
		Addresses:    AddressesConfig{Refresh: routes.Duration(time.Hour)},
		Cache:        CacheConfig{Memory: 256 << 20, Snapshot: true},
		WAF:          WAFConfig{CRS: embeddedCRS, Gate: "on", Shadow: 1000},
		Compat:       "none",
		Log:          Log{Access: AccessLog{Format: "combined", To: "stdout"}, Level: "info"},
		Limits:       defaultLimits(),
	}
}

func defaultLimits() Limits {
	seconds := func(n int) routes.Duration { return routes.Duration(time.Duration(n) * time.Second) }
	return Limits{
		HeaderBytes: 32 << 10, TargetBytes: 8 << 10, HeaderFields: 100, BodyBytes: 100 << 20,
		ConnectionsPerIP: 256, KeepaliveRequests: 1000,
		ConnectionAge: seconds(3600), IdleTimeout: seconds(75), HandshakeTimeout: seconds(10),
		HeaderTimeout: seconds(10), StallTimeout: seconds(30), MinRate: 1 << 10,
		TenantConcurrency: 256, TenantQueue: 256, QueueTimeout: seconds(5),
		ResponseHeaderBytes: 64 << 10, ResponseHeaderFields: 200,
		DrainAccept: seconds(5), DrainGrace: seconds(30),
	}
}

func hostName() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "gatehouse"
	}
	return name
}

// RoutesDir returns the folder of file routes; ok is false when the routes are in Redis.
func (c *Config) RoutesDir() (dir string, ok bool) { return strings.CutPrefix(c.Routes, "file:") }

// embeddedCRS is the word for the rule set that the binary carries.
const embeddedCRS = "embedded"

// CRSDir returns the folder of the rule set; ok is false when it is the embedded one.
func (c *Config) CRSDir() (dir string, ok bool) { return c.WAF.CRS, c.WAF.CRS != embeddedCRS }

// Socket is the path of the private API's unix socket.
func (c *Config) Socket() string { return filepath.Join(c.Data, "gatehouse.sock") }

// Trusted returns TrustedProxies as prefixes.
func (c *Config) Trusted() []netip.Prefix { return prefixes(c.TrustedProxies) }

// A CIDR is a network ("10.0.0.0/8") or one address ("192.0.2.1").
type CIDR struct{ netip.Prefix }

// UnmarshalText implements encoding.TextUnmarshaler. Bits beyond the prefix are
// an error: 10.1.2.3/8 is more likely a slip than a wish for 10.0.0.0/8.
func (c *CIDR) UnmarshalText(text []byte) error {
	p, err := routes.ParseNetwork(string(text))
	if err == nil {
		c.Prefix = p
	}
	return err
}

func prefixes(in []CIDR) []netip.Prefix {
	out := make([]netip.Prefix, len(in))
	for i, c := range in {
		out[i] = c.Prefix
	}
	return out
}
