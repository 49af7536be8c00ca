package dnsupdate

import (
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// A Key is a secret that a server shares with those who may change its zones (TSIG, RFC 8945).
type Key struct {
	Name      string // a domain name, as the server has it
	Algorithm string // one of Algorithms; empty: DefaultAlgorithm
	Secret    []byte // never in messages
}

// Algorithms are those of keys that are taken. HMAC-SHA1 and HMAC-MD5 are not: RFC 8945 section 6 keeps them for old servers only.
var Algorithms = []string{DefaultAlgorithm, "hmac-sha384", "hmac-sha512"}

// DefaultAlgorithm is what tsig-keygen makes keys for.
const DefaultAlgorithm = "hmac-sha256"

// keyStatement finds a key in a file of BIND's syntax, as tsig-keygen writes it and nsupdate -k reads it.
var keyStatement = regexp.MustCompile(`(?s)^key\s+"?([^\s"{]+)"?\s*\{([^{}]*)\}\s*;?$`)

// keyClause finds the clauses in it.
var keyClause = regexp.MustCompile(`(algorithm|secret)\s+"?([^\s";]+)"?\s*;`)

// ParseKey reads a key: its secret in base64, or all of it as tsig-keygen writes it,
//
//	key "acme" { algorithm hmac-sha256; secret "…"; };
//
// Name and Algorithm are empty where only the secret stands there. Errors tell nothing of the text.
func ParseKey(text string) (Key, error) {
	var k Key
	secret := strings.TrimSpace(text)
	if strings.HasPrefix(secret, "key") && strings.Contains(secret, "{") {
		m := keyStatement.FindStringSubmatch(secret)
		if m == nil {
			return Key{}, errors.New(`it is no key as tsig-keygen writes it: want one key "NAME" { algorithm …; secret "…"; };`)
		}
		k.Name, secret = m[1], ""
		for _, c := range keyClause.FindAllStringSubmatch(m[2], -1) {
			if c[1] == "algorithm" {
				k.Algorithm = strings.ToLower(c[2])
			} else {
				secret = c[2]
			}
		}
	}
	var err error
	if k.Secret, err = base64.StdEncoding.DecodeString(secret); err != nil {
		return Key{}, errors.New("it is neither base64 nor a file of tsig-keygen")
	}
	if len(k.Secret) == 0 {
		return Key{}, errors.New("it has no secret")
	}
	return k, nil
}

// check also sets the default.
func (k *Key) check() error {
	if _, ok := dns.IsDomainName(k.Name); !ok || strings.Trim(k.Name, ".") == "" {
		return fmt.Errorf("key name %q is no domain name", k.Name)
	}
	if k.Algorithm == "" {
		k.Algorithm = DefaultAlgorithm
	}
	if !slices.Contains(Algorithms, k.Algorithm) {
		return fmt.Errorf("algorithm %q of the key: want %s", k.Algorithm, strings.Join(Algorithms, ", "))
	}
	if len(k.Secret) == 0 {
		return errors.New("the key has no secret")
	}
	return nil
}
