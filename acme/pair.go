package acme

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"
)

const (
	maxPairBytes   = 1 << 20
	maxChainLength = 16
)

// parsePair reads a chain and its key from PEM, checks that they belong together and
// that TLS can use them, and puts the chain in order: leaf first, each certificate signed by the next
// (RFC 8446 section 4.4.2). The leaf is the certificate of the key, wherever in
// the file it stands; certificates outside its chain are left out and reported in
// the leaf's warning.
func parsePair(source Source, certPEM, keyPEM []byte) (*leaf, error) {
	key, err := parseKey(keyPEM)
	if err != nil {
		return nil, err
	}
	if err := checkKey(key); err != nil {
		return nil, err
	}
	all, err := parseCertificates(certPEM)
	if err != nil {
		return nil, err
	}
	chain, rest := orderChain(all, key.Public())
	if chain == nil {
		return nil, fmt.Errorf("key does not match: it belongs to no certificate of the file, whose first is %q", subjectName(all[0]))
	}
	cert := &tls.Certificate{PrivateKey: key}
	for _, c := range chain {
		cert.Certificate = append(cert.Certificate, c.Raw)
	}
	if err := checkChain(cert.Certificate); err != nil {
		return nil, err
	}
	l := newLeaf(source, cert, chain)
	l.warning = pairWarning(l, key, chain, rest)
	return l, nil
}

// pairWarning says what clients do not like of a key, what of a file's certificates they will miss, and what is of no use to them; empty: nothing.
func pairWarning(l *leaf, key crypto.Signer, chain, rest []*x509.Certificate) string {
	var odd []string
	if weak := weakKey(key); weak != "" {
		odd = append(odd, weak)
	}
	if len(chain) == 1 && !l.selfSigned {
		odd = append(odd, fmt.Sprintf("no intermediate certificate in the file: append that of %q, unless clients have it as a root", l.issuer))
	}
	switch len(rest) {
	case 0:
	case 1:
		odd = append(odd, fmt.Sprintf("a certificate outside the chain left out, %q", subjectName(rest[0])))
	default:
		odd = append(odd, fmt.Sprintf("%d certificates outside the chain left out, first %q", len(rest), subjectName(rest[0])))
	}
	return strings.Join(odd, "; ")
}

// CheckPair judges a chain and its key, in PEM form, as they would be if they were attached to names ("*" and wildcards, too): an error where they
// cannot be served, else warnings of what clients may refuse, in words for the operator. Must-staple is not looked at: no response was asked for yet.
func CheckPair(certPEM, keyPEM []byte, now time.Time, names ...string) (warnings []string, err error) {
	l, err := parsePair(SourceFile, certPEM, keyPEM)
	if err != nil {
		return nil, err
	}
	warnings = l.faults(now)
	for _, name := range names {
		pattern, ok := canonicalPattern(name)
		if ok && pattern != "*" && !l.fits(pattern) {
			warnings = append(warnings, "does not cover "+pattern)
		}
	}
	return warnings, nil
}

func parseCertificates(text []byte) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", len(all)+1, err)
		}
		if all = append(all, c); len(all) > maxChainLength {
			return nil, fmt.Errorf("more than %d certificates", maxChainLength)
		}
	}
	if len(all) == 0 {
		return nil, errors.New("no certificate in PEM form found")
	}
	return all, nil
}

// parseKey reads the first private key of text.
func parseKey(text []byte) (crypto.Signer, error) {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return nil, errors.New("no private key in PEM form found")
		}
		if !strings.HasSuffix(block.Type, "PRIVATE KEY") {
			continue
		}
		if block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "" {
			return nil, errors.New("private key is encrypted with a passphrase: write it unencrypted, as with openssl pkey -in KEY -out PLAIN")
		}
		return parseKeyBytes(block.Bytes)
	}
}

// parseKeyBytes tries the three encodings that OpenSSL has written over time.
func parseKeyBytes(der []byte) (crypto.Signer, error) {
	if key, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		signer, ok := key.(crypto.Signer)
		if !ok {
			return nil, fmt.Errorf("private key of type %T cannot sign", key)
		}
		return signer, nil
	}
	if key, err := x509.ParseECPrivateKey(der); err == nil {
		return key, nil
	}
	key, err := x509.ParsePKCS1PrivateKey(der)
	if err != nil {
		return nil, errors.New("private key is neither PKCS #8, SEC 1 nor PKCS #1")
	}
	return key, nil
}

// orderChain builds the chain of the certificate that has the public key, and
// returns what it did not use. A repeated certificate is dropped in silence.
func orderChain(all []*x509.Certificate, public crypto.PublicKey) (chain, rest []*x509.Certificate) {
	used := make([]bool, len(all))
	take := func(match func(*x509.Certificate) bool) *x509.Certificate {
		for i, c := range all {
			if !used[i] && match(c) {
				used[i] = true
				return c
			}
		}
		return nil
	}
	next := take(func(c *x509.Certificate) bool { return samePublicKey(c.PublicKey, public) })
	for next != nil {
		last := next
		chain = append(chain, last)
		for take(last.Equal) != nil { // the same certificate again
			continue
		}
		if bytes.Equal(last.RawIssuer, last.RawSubject) {
			break
		}
		next = take(func(c *x509.Certificate) bool {
			return bytes.Equal(c.RawSubject, last.RawIssuer) && last.CheckSignatureFrom(c) == nil
		})
	}
	for i, c := range all {
		if !used[i] {
			rest = append(rest, c)
		}
	}
	return chain, rest
}

func samePublicKey(a, b crypto.PublicKey) bool {
	key, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && key.Equal(b)
}

func subjectName(c *x509.Certificate) string {
	if len(c.DNSNames) > 0 {
		return c.DNSNames[0]
	}
	return c.Subject.String()
}
