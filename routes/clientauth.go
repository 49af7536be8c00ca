package routes

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// The words of ClientAuth.Mode.
const (
	AuthRequired = "required"
	AuthOptional = "optional"
)

// ClientAuth has a vhost ask its clients for certificates (mutual TLS).
type ClientAuth struct {
	// Mode: "required" (without a valid certificate there is no connection) or
	// "optional" (there is; a certificate that is sent has to be valid all the same).
	Mode string `yaml:"mode,omitempty" json:"mode,omitempty"`
	// CA is who vouches for clients: the path of a file of PEM certificates, which is
	// read again when it changes, or that text itself. Relative paths belong to the
	// file that names them.
	CA string `yaml:"ca,omitempty" json:"ca,omitempty"`
	// Header has the backend told of the certificate: Client-Cert (RFC 9440),
	// X-SSL-Client-Verify, -DN and -Fingerprint. nil: true. Where it is told, requests
	// with a certificate go past the cache.
	Header *bool `yaml:"header,omitempty" json:"header,omitempty"`
}

// Inline reports whether CA is the text of certificates, not the path of a file.
func (c *ClientAuth) Inline() bool { return strings.Contains(c.CA, "-----BEGIN ") }

// Tells is what Header says.
func (c *ClientAuth) Tells() bool { return c.Header == nil || *c.Header }

// Authorities reads the certificates that CA names or holds. An error of the file is
// that of ReadFile; the others are those of ParseAuthorities.
func (c *ClientAuth) Authorities() ([]*x509.Certificate, error) {
	return c.authorities(ReadFile)
}

// AuthoritiesFor is Authorities with the file read by r, for an owner.
func (c *ClientAuth) AuthoritiesFor(owner string, r *FileReader) ([]*x509.Certificate, error) {
	return c.authorities(func(path string, limit int64) ([]byte, error) { return r.Read(owner, path, limit) })
}

func (c *ClientAuth) authorities(read func(path string, limit int64) ([]byte, error)) ([]*x509.Certificate, error) {
	if c.Inline() {
		return ParseAuthorities([]byte(c.CA))
	}
	text, err := read(c.CA, maxAuthorities)
	if err != nil {
		return nil, err
	}
	return ParseAuthorities(text)
}

const (
	maxAuthorities = 1 << 20 // bytes of PEM text
	// maxSubjects bounds the names of all authorities in bytes: each handshake sends
	// them (RFC 8446 §4.2.4), in a message that clients take up to 64 KiB of.
	maxSubjects = 32 << 10
)

// ParseAuthorities reads certificates from PEM text. Text between them is passed
// over, and one that stands there twice counts once; a private key is refused, since
// nothing here needs one.
func ParseAuthorities(text []byte) ([]*x509.Certificate, error) {
	if len(text) > maxAuthorities {
		return nil, fmt.Errorf("more than %d KiB of certificates", maxAuthorities>>10)
	}
	var out []*x509.Certificate
	seen, subjects := map[string]bool{}, 0
	for n := 1; ; {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if strings.HasSuffix(block.Type, "PRIVATE KEY") {
			return nil, errors.New("it holds a private key: only the authorities' certificates belong here")
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", n, err)
		}
		n++
		if seen[string(c.Raw)] {
			continue
		}
		seen[string(c.Raw)] = true
		if subjects += 2 + len(c.RawSubject); subjects > maxSubjects {
			return nil, fmt.Errorf("too many certificates: their names are more than %d KiB, which each handshake sends", maxSubjects>>10)
		}
		out = append(out, c)
	}
	switch {
	case bytes.Contains(text, []byte("-----BEGIN ")):
		return nil, errors.New("its PEM text is damaged: what begins with -----BEGIN does not end")
	case len(out) == 0:
		return nil, errors.New("it holds no PEM certificate")
	}
	return out, nil
}

func checkClientAuth(field string, c *ClientAuth, mode checkMode) []finding {
	if c == nil {
		return nil
	}
	out := oneOf(field+".mode", c.Mode, []string{AuthRequired, AuthOptional})
	if c.Mode == "" {
		out = append(out, finding{field: field + ".mode", missing: true, reason: "want required or optional"})
	}
	switch {
	case c.CA == "":
		out = append(out, finding{field: field + ".ca", missing: true, reason: "want the certificates of who vouches for clients: a PEM file, or its text"})
	case c.Inline():
		if _, err := ParseAuthorities([]byte(c.CA)); err != nil {
			out = append(out, finding{field: field + ".ca", reason: err.Error()})
		}
	case mode == checkPartial && !filepath.IsAbs(c.CA):
		out = append(out, finding{field: field + ".ca", reason: "want an absolute path here, or the PEM text itself: a document in Redis has no folder"})
	}
	return out
}
