package acme

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/crypto/ocsp"
)

// maxStaple bounds what goes into handshakes, in bytes: OpenSSL's clients end those of TLS 1.2 whose message of it, which has four more, exceeds 16 KiB.
const maxStaple = 16<<10 - 4

// ocspSkew is how far a responder's clock may be ahead of ours.
const ocspSkew = 5 * time.Minute

// checkOCSP parses an OCSP response and checks that it may speak about the leaf at
// the given time. It returns responses whose status is Good or Revoked; the caller
// tells them apart. A nil issuer is an error.
//
// x/crypto/ocsp alone is not enough. Given an issuer it takes any certificate that
// the issuer signed as responder, whatever its purpose (RFC 6960 section 4.2.2.2
// demands the OCSPSigning usage); it ignores dates; and it refuses an issuer that
// embeds itself. So it parses without issuer here, and the signer is checked below.
func checkOCSP(der []byte, leaf, issuer *x509.Certificate, now time.Time) (*ocsp.Response, error) {
	if issuer == nil {
		return nil, errors.New("ocsp: no issuer certificate in the chain")
	}
	// The certificates in a response are not signed: whoever puts long ones in makes handshakes fail with it.
	if len(der) > ocspBodyLimit {
		return nil, fmt.Errorf("ocsp: response exceeds %d bytes", ocspBodyLimit)
	}
	resp, err := ocsp.ParseResponseForCert(der, leaf, nil) // compares the serial number
	if err != nil {
		return nil, fmt.Errorf("ocsp: %w", err)
	}
	if err := checkSigner(resp, issuer, now); err != nil {
		return nil, err
	}
	switch {
	case resp.ThisUpdate.After(now.Add(ocspSkew)):
		return nil, fmt.Errorf("ocsp: response is of the future: thisUpdate %s", resp.ThisUpdate.Format(time.RFC3339))
	case resp.NextUpdate.IsZero():
		// RFC 5019 section 2.2.4 demands it; without it nobody can say when to stop.
		return nil, errors.New("ocsp: response states no nextUpdate")
	case !resp.NextUpdate.After(now):
		return nil, fmt.Errorf("ocsp: response is stale: nextUpdate %s", resp.NextUpdate.Format(time.RFC3339))
	case !resp.NextUpdate.After(resp.ThisUpdate):
		return nil, errors.New("ocsp: response ends before it begins")
	case resp.Status != ocsp.Good && resp.Status != ocsp.Revoked:
		return nil, errors.New("ocsp: responder does not know the certificate")
	case resp.Status == ocsp.Good && len(der) > maxStaple:
		return nil, fmt.Errorf("ocsp: response of %d bytes exceeds what clients take in a handshake, %d", len(der), maxStaple)
	}
	return resp, nil
}

// checkSigner accepts the issuer itself, embedded or not, and a responder whose
// certificate the issuer signed for OCSP.
func checkSigner(resp *ocsp.Response, issuer *x509.Certificate, now time.Time) error {
	signer := resp.Certificate
	if signer == nil {
		if err := resp.CheckSignatureFrom(issuer); err != nil {
			return fmt.Errorf("ocsp: not signed by the issuer: %w", err)
		}
		return nil
	}
	// The parser has verified the response's signature with the embedded certificate.
	if signer.Equal(issuer) {
		return nil
	}
	switch {
	case !bytes.Equal(signer.RawIssuer, issuer.RawSubject):
		return fmt.Errorf("ocsp: responder %q is not of the issuer %q", signer.Subject, issuer.Subject)
	case !slices.Contains(signer.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning):
		return fmt.Errorf("ocsp: responder %q may not sign OCSP responses", signer.Subject)
	case now.Before(signer.NotBefore) || now.After(signer.NotAfter):
		return fmt.Errorf("ocsp: certificate of responder %q is not valid now", signer.Subject)
	}
	if err := signer.CheckSignatureFrom(issuer); err != nil {
		return fmt.Errorf("ocsp: responder %q is not signed by the issuer: %w", signer.Subject, err)
	}
	return nil
}
