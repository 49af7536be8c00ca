package acme

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"strings"
)

// Answers to challenges that another node has got. An event brings them before the issuer asks; where it asks before the event has come, as of
// a node that has just started, this node looks where they are shared. Anybody can make it do that, so few look at a time, and for a short time.

const (
	mostBorrowing = 16
	borrowWait    = demandWait
	// tokenLeast is the length of a token of 128 bits in base64 (RFC 8555 section 8.1).
	tokenLeast = 22
)

// borrowToken looks for the answer to a path that this node has none for.
func (s *solver) borrowToken(path string) {
	token, ok := strings.CutPrefix(path, challengePath)
	if ok && len(token) >= tokenLeast && len(token) <= 256 && isToken(token) {
		s.borrow(func(ctx context.Context) error { return s.fetchToken(ctx, token) })
	}
}

// borrowCertificate looks for a TLS-ALPN-01 certificate of a name that this node has none for.
func (s *solver) borrowCertificate(host string) {
	s.borrow(func(ctx context.Context) error { return s.fetchCertificate(ctx, host) })
}

func (s *solver) borrow(fetch func(context.Context) error) {
	if s.shared == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), borrowWait)
	defer cancel()
	select {
	case s.borrowing <- struct{}{}: // waited for, so that a flood of questions has the issuer's fail by chance alone
	case <-ctx.Done():
		return
	}
	defer func() { <-s.borrowing }()
	_ = fetch(ctx) // then there is no answer here
}

// isToken reports whether text has the letters of base64url alone.
func isToken(text string) bool {
	for _, c := range []byte(text) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}

// fetchToken has this node answer a request for a token that another one has got.
func (s *solver) fetchToken(ctx context.Context, token string) error {
	found, err := s.shared.Read(ctx, tokenKey(token))
	if err != nil || found[0] == nil {
		return err // nil: answered already
	}
	text, _, err := s.keys.open(tokenKey(token), found[0])
	if err != nil {
		s.log.Warn("another node's answer to a challenge cannot be opened", "token", token, "err", err)
		return nil
	}
	if host, body, ok := strings.Cut(string(text), " "); ok {
		s.challenges.putToken(host, token, []byte(body))
	}
	return nil
}

// fetchCertificate has this node answer TLS-ALPN-01 handshakes for a name that another one orders.
func (s *solver) fetchCertificate(ctx context.Context, host string) error {
	found, err := s.shared.Read(ctx, alpnKey(host))
	if err != nil || found[0] == nil {
		return err
	}
	text, _, err := s.keys.open(alpnKey(host), found[0])
	if err != nil {
		s.log.Warn("another node's answer to a challenge cannot be opened", "host", host, "err", err)
		return nil
	}
	if cert, err := tls.X509KeyPair(text, text); err == nil {
		s.challenges.putCertificate(host, &cert)
	}
	return nil
}

// pairPEM writes a certificate and its key as PEM.
func pairPEM(cert *tls.Certificate) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	for _, c := range cert.Certificate {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c})...)
	}
	return text, nil
}
