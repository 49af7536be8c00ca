package routes

import (
	"fmt"
	"path/filepath"
)

// TLS is what a vhost says of TLS, of its certificate and of plain HTTP.
type TLS struct {
	// Policy is which versions and cipher suites are taken: "modern" (1.3),
	// "intermediate" (default: 1.2 and 1.3; of 1.2 only suites with forward secrecy and
	// AEAD) or "old" (1.0 and later, with CBC suites too: padding oracles such as LUCKY13
	// have been found in them again and again, and 1.0 and 1.1 rest on SHA-1).
	Policy string `yaml:"policy,omitempty" json:"policy,omitempty"`
	// MinVersion raises the least version that Policy takes: "1.2" or "1.3".
	MinVersion  string       `yaml:"min_version,omitempty" json:"min_version,omitempty"`
	Certificate *Certificate `yaml:"certificate,omitempty" json:"certificate,omitempty"`
	// OneCertificate has one certificate ordered from the ACME issuer for all hosts of the vhost (a SAN set), of which there are 100 at most. Default
	// false: each host has its own. It tells whoever connects to one of the hosts the names of all.
	OneCertificate bool `yaml:"one_certificate,omitempty" json:"one_certificate,omitempty"`
	// KeyType of certificates that are ordered: "ecdsa" (default: P-256) or "rsa" (of 2048 bits: for clients that know no ECDSA; a handshake
	// costs the server five times as much). Changed, another certificate is ordered.
	KeyType string `yaml:"key_type,omitempty" json:"key_type,omitempty"`
	// ClientAuth: nil: clients are not asked for certificates.
	ClientAuth *ClientAuth `yaml:"client_auth,omitempty" json:"client_auth,omitempty"`
	// RedirectHTTP: "auto" (default: once a certificate is in place that is not
	// the internal CA's), "true" or "false".
	RedirectHTTP Switch `yaml:"redirect_http,omitempty" json:"redirect_http,omitempty"`
	// HSTS: nil: no Strict-Transport-Security but the backend's own.
	HSTS *HSTS `yaml:"hsts,omitempty" json:"hsts,omitempty"`
}

// The words of TLS.Policy.
const (
	PolicyModern       = "modern"
	PolicyIntermediate = "intermediate"
	PolicyOld          = "old"
)

// The words of TLS.KeyType.
const (
	KeyECDSA = "ecdsa"
	KeyRSA   = "rsa"
)

// Certificate names the PEM files of an uploaded certificate: the chain, leaf
// first, and its key. Relative paths belong to the file that names them.
type Certificate struct {
	Cert string `yaml:"cert" json:"cert"`
	Key  string `yaml:"key" json:"key"`
}

// least is the lowest version that each policy takes.
var least = map[string]string{PolicyModern: "1.3", PolicyIntermediate: "1.2", PolicyOld: "1.0"}

func checkTLS(t *TLS, mode checkMode) []finding {
	if t == nil {
		return nil
	}
	out := oneOf("tls.policy", t.Policy, []string{PolicyModern, PolicyIntermediate, PolicyOld})
	out = append(out, oneOf("tls.min_version", t.MinVersion, []string{"1.2", "1.3"})...)
	if len(out) == 0 && t.MinVersion != "" && t.MinVersion < least[or(t.Policy, PolicyIntermediate)] {
		out = append(out, finding{field: "tls.min_version", reason: fmt.Sprintf(
			"%s is less than what tls.policy %s takes (%s): min_version only raises that; leave it out, or take another policy",
			t.MinVersion, t.Policy, least[t.Policy])})
	}
	out = append(out, oneOf("tls.key_type", t.KeyType, []string{KeyECDSA, KeyRSA})...)
	out = append(out, oneOf("tls.redirect_http", string(t.RedirectHTTP), []string{"auto", "true", "false"})...)
	out = append(out, checkHSTS("tls.hsts", t.HSTS)...)
	out = append(out, checkCertificate("tls.certificate", t.Certificate, mode)...)
	out = append(out, checkClientAuth("tls.client_auth", t.ClientAuth, mode)...)
	if c := t.ClientAuth; c != nil && c.Mode == AuthRequired && t.RedirectHTTP == "false" {
		out = append(out, finding{field: "tls.redirect_http", reason: "plain HTTP has no client certificates, and tls.client_auth requires them: leave it out"})
	}
	return out
}

// mostCertNames is how many names Let's Encrypt takes in a certificate, and most others do.
const mostCertNames = 100

func checkOneCertificate(field, name string, v *Vhost) []finding {
	if v.TLS == nil || !v.TLS.OneCertificate {
		return nil
	}
	if v.TLS.Certificate != nil {
		return []finding{{field: field, reason: "the files of tls.certificate serve all hosts of the vhost, and nothing is ordered: leave one of the two out"}}
	}
	count := 0
	for _, host := range append([]string{name}, v.Aliases...) {
		if host != "*" { // which is never ordered
			count++
		}
	}
	if count > mostCertNames {
		return []finding{{field: field, reason: fmt.Sprintf("a certificate takes %d names, and this vhost has %d hosts: take some of its aliases to another vhost, or leave this out, and each has its own",
			mostCertNames, count)}}
	}
	return nil
}

func checkCertificate(field string, c *Certificate, mode checkMode) []finding {
	if c == nil {
		return nil
	}
	var out []finding
	for _, f := range []struct{ name, path string }{{"cert", c.Cert}, {"key", c.Key}} {
		at := field + "." + f.name
		switch {
		case f.path == "":
			out = append(out, finding{field: at, reason: "both cert and key name a PEM file"})
		case mode == checkPartial && !filepath.IsAbs(f.path):
			out = append(out, finding{field: at, reason: "want an absolute path here: a document in Redis has no folder"})
		}
	}
	return out
}
