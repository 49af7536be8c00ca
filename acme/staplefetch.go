package acme

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/crypto/ocsp"
)

func (s *stapler) fetch(ctx context.Context, l *leaf) (*ocsp.Response, error) {
	x, issuer, err := parsedChain(l)
	if err != nil {
		return nil, err
	}
	request, err := ocsp.CreateRequest(x, issuer, nil)
	if err != nil {
		return nil, fmt.Errorf("ocsp: make request: %w", err)
	}
	der, err := s.client.ask(ctx, l.responders, request)
	if err != nil {
		return nil, err
	}
	return checkOCSP(der, x, issuer, time.Now())
}

// load reads the stored response and verifies it as if it came from the network.
func (s *stapler) load(l *leaf) (*ocsp.Response, error) {
	der, err := readCapped(s.file(l), ocspBodyLimit)
	if err != nil {
		return nil, err
	}
	x, issuer, err := parsedChain(l)
	if err != nil {
		return nil, err
	}
	return checkOCSP(der, x, issuer, time.Now())
}

// store writes a response so that a restart staples before the first handshake; a
// revocation is stored too, so that an old Good cannot come back.
func (s *stapler) store(l *leaf, resp *ocsp.Response) error {
	if old, err := os.ReadFile(s.file(l)); err == nil && bytes.Equal(old, resp.Raw) {
		return nil
	}
	return writeFile(s.file(l), resp.Raw, 0o600)
}

func parsedChain(l *leaf) (x, issuer *x509.Certificate, err error) {
	chain := l.served.Load().Certificate
	if len(chain) < 2 {
		return nil, nil, errors.New("ocsp: no issuer certificate in the chain")
	}
	if x, err = x509.ParseCertificate(chain[0]); err != nil {
		return nil, nil, err
	}
	issuer, err = x509.ParseCertificate(chain[1])
	return x, issuer, err
}
