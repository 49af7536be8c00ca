package acme

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"

	xacme "golang.org/x/crypto/acme"
)

// The types of challenges (RFC 8555 section 8, RFC 8737).
const (
	challengeHTTP = "http-01"
	challengeALPN = "tls-alpn-01"
	challengeDNS  = "dns-01"
)

// orderTime bounds an order. A CA may take minutes to see DNS.
const orderTime = 10 * time.Minute

// A wanted certificate is one order.
type wantedCert struct {
	names     []string // DNS names, wildcards among them; the first is the one that it is ordered for
	challenge string   // the type that the attempt keeps to
	rsa       bool     // an RSA key in the place of an ECDSA one
}

// order orders a certificate, answers the challenges by s, and returns a fresh key and the chain in PEM form. The gate must hold a permit
// for the names.
func (a *account) order(ctx context.Context, w wantedCert, s *solver) (text []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, orderTime)
	defer cancel()
	for _, name := range w.names {
		a.gate.failure(name)
	}
	order, err := a.client.AuthorizeOrder(ctx, xacme.DomainIDs(w.names...))
	if err != nil {
		return nil, fmt.Errorf("order certificate of %s: %w", w.names[0], err)
	}
	for _, url := range order.AuthzURLs {
		if err := a.authorize(ctx, url, w.challenge, s); err != nil {
			return nil, fmt.Errorf("order certificate of %s: %w", w.names[0], err)
		}
	}
	ready, err := a.client.WaitOrder(ctx, order.URI)
	if err != nil {
		return nil, fmt.Errorf("order certificate of %s: %w", w.names[0], err)
	}
	if ready.URI == "" {
		ready.URI = order.URI
	}
	return a.finalize(ctx, ready, w)
}

// authorize has the issuer see that one name is ours, unless it knows.
func (a *account) authorize(ctx context.Context, url, kind string, s *solver) error {
	z, err := a.client.GetAuthorization(ctx, url)
	if err != nil {
		return err
	}
	if z.Status == xacme.StatusValid {
		return nil
	}
	i := slices.IndexFunc(z.Challenges, func(c *xacme.Challenge) bool { return c.Type == kind })
	if i < 0 {
		return fmt.Errorf("the issuer offers no %s for %s", kind, z.Identifier.Value)
	}
	cleanUp, err := s.present(ctx, a.client, z.Identifier.Value, z.Challenges[i])
	if err != nil {
		return fmt.Errorf("%s for %s: %w", kind, z.Identifier.Value, err)
	}
	defer cleanUp()
	if _, err := a.client.Accept(ctx, z.Challenges[i]); err != nil {
		return err
	}
	if _, err = a.client.WaitAuthorization(ctx, z.URI); err == nil {
		return nil
	}
	if why := a.gate.failure(z.Identifier.Value); why != "" {
		return &validationError{name: z.Identifier.Value, why: why, err: err}
	}
	return err
}

// A validationError is a challenge that the issuer found not met.
type validationError struct {
	name, why string
	err       error
}

func (e *validationError) Error() string {
	return fmt.Sprintf("%s was not validated: %s", e.name, e.why)
}
func (e *validationError) Unwrap() error { return e.err }

// finalize makes a key and gets the certificate for it.
func (a *account) finalize(ctx context.Context, order *xacme.Order, w wantedCert) ([]byte, error) {
	key, err := newCertKey(w.rsa)
	if err != nil {
		return nil, err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: w.names}, key)
	if err != nil {
		return nil, fmt.Errorf("certificate request of %s: %w", w.names[0], err)
	}
	chain, _, err := a.client.CreateCertFromOrder(ctx, order, csr, true)
	if err != nil {
		return nil, fmt.Errorf("finalize order of %s: %w", w.names[0], err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	for _, c := range chain {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c})...)
	}
	if len(chain) == 0 {
		return nil, errors.New("the issuer gave no certificate")
	}
	return text, nil
}

// rsaBits is the size of RSA keys: what all clients take, and what the web's CAs sign.
const rsaBits = 2048

func newCertKey(isRSA bool) (crypto.Signer, error) {
	if isRSA {
		return rsa.GenerateKey(rand.Reader, rsaBits)
	}
	return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
}
