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
	"strings"
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
	names     []string // DNS names, wildcards among them
	challenge string   // the type that the attempt keeps to, but for wildcards, which have DNS-01 alone
	rsa       bool     // an RSA key in the place of an ECDSA one
	// keyed is told the key, in PEM form, before a certificate is asked for. Nil: nobody wants to know.
	keyed func(text string)
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
		if failed := refusedNames(err, w.names); failed != nil {
			err = &namesError{failed, fmt.Errorf("the issuer refuses %s: %w", failed[0], err)}
		}
		return nil, fmt.Errorf("order certificate of %s: %w", w.names[0], err)
	}
	return a.complete(ctx, order, w, s)
}

// complete brings an order to its end.
func (a *account) complete(ctx context.Context, order *xacme.Order, w wantedCert, s *solver) ([]byte, error) {
	if err := a.authorize(ctx, order.AuthzURLs, w.challenge, s); err != nil {
		return nil, fmt.Errorf("order certificate of %s: %w", w.names[0], err)
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

// authorize has the issuer see that all names are ours. They are answered for together, before it is told to look: a name and its wildcard have their
// records at the same place of the DNS, where what was seen once may stay for a while. And all are waited for, so that one attempt tells of each name
// that fails.
func (a *account) authorize(ctx context.Context, urls []string, kind string, s *solver) error {
	var all []*answered
	defer func() {
		for _, z := range all {
			z.cleanUp()
		}
	}()
	for _, url := range urls {
		z, err := a.answer(ctx, url, kind, s)
		if err != nil {
			return err
		}
		if z != nil {
			all = append(all, z)
		}
	}
	for _, z := range all {
		if z.challenge.Status == xacme.StatusProcessing { // of an order that another node began
			continue
		}
		if _, err := a.client.Accept(ctx, z.challenge); err != nil {
			return err
		}
	}
	var failed []string
	var problems []error
	for _, z := range all {
		_, err := a.client.WaitAuthorization(ctx, z.url)
		if err == nil {
			continue
		}
		if why := a.gate.failure(z.name); why != "" {
			failed, err = append(failed, z.name), &validationError{name: z.name, why: why, err: err}
		}
		problems = append(problems, err)
	}
	err := errors.Join(problems...)
	if failed != nil {
		err = &namesError{failed, err}
	}
	return err
}

// An answered challenge is one that the issuer may look at.
type answered struct {
	name      string
	url       string // of the authorization
	challenge *xacme.Challenge
	cleanUp   func()
}

// answer makes the answer for one name known; nil: the issuer knows already that it is ours.
func (a *account) answer(ctx context.Context, url, kind string, s *solver) (*answered, error) {
	z, err := a.client.GetAuthorization(ctx, url)
	if err != nil || z.Status == xacme.StatusValid {
		return nil, err
	}
	name := z.Identifier.Value
	if z.Wildcard {
		name, kind = "*."+name, challengeDNS
	}
	n := slices.IndexFunc(z.Challenges, func(c *xacme.Challenge) bool { return c.Status == xacme.StatusProcessing })
	if n < 0 {
		n = slices.IndexFunc(z.Challenges, func(c *xacme.Challenge) bool { return c.Type == kind })
	}
	if n < 0 {
		return nil, &namesError{[]string{name}, fmt.Errorf("the issuer offers no %s for %s", kind, name)}
	}
	cleanUp, err := s.present(ctx, a.client, z.Identifier.Value, z.Challenges[n])
	if err != nil {
		err = fmt.Errorf("%s for %s: %w", kind, name, err)
		if ctx.Err() == nil {
			err = &namesError{[]string{name}, err}
		}
		return nil, err
	}
	return &answered{name: name, url: z.URI, challenge: z.Challenges[n], cleanUp: cleanUp}, nil
}

// A namesError is an order that failed for the sake of some of its names.
type namesError struct {
	names []string
	error
}

func (e *namesError) Unwrap() error { return e.error }

// failedNames are the names that an order failed for; nil: it says nothing of names.
func failedNames(err error) []string {
	if e, ok := errors.AsType[*namesError](err); ok {
		return e.names
	}
	return nil
}

// refusedNames are those of an order for several names that the issuer does not take: it says so of each (RFC 8555 section 6.7.1), or quotes the one in what
// it says, as Let's Encrypt does.
func refusedNames(err error, names []string) (refused []string) {
	var problem *xacme.Error
	if len(names) < 2 || !errors.As(err, &problem) {
		return nil
	}
	for _, sub := range problem.Subproblems {
		if sub.Identifier != nil {
			refused = append(refused, sub.Identifier.Value)
		}
	}
	if refused == nil && strings.HasSuffix(problem.ProblemType, ":rejectedIdentifier") {
		for _, name := range names {
			if strings.Contains(problem.Detail, `"`+name+`"`) {
				refused = append(refused, name)
			}
		}
	}
	return refused
}

// A validationError is a challenge that the issuer found not met.
type validationError struct {
	name, why string
	err       error
}

func (e *validationError) Error() string {
	return fmt.Sprintf("%s was not validated: %s", e.name, oneLine(e.why, mostReason))
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
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if w.keyed != nil {
		w.keyed(string(text))
	}
	chain, _, err := a.client.CreateCertFromOrder(ctx, order, csr, true)
	if err != nil {
		return nil, fmt.Errorf("finalize order of %s: %w", w.names[0], err)
	}
	return withChain(text, chain)
}

// rsaBits is the size of RSA keys: what all clients take, and what the web's CAs sign.
const rsaBits = 2048

func newCertKey(isRSA bool) (crypto.Signer, error) {
	if isRSA {
		return rsa.GenerateKey(rand.Reader, rsaBits)
	}
	return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
}
