package edgetest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"
)

// An OCSPResponder is an OCSP responder (RFC 6960) with a CA of its own, whose
// answers a test chooses. Safe for concurrent use.
type OCSPResponder struct {
	*httptest.Server
	CA *CA

	asked atomic.Int64
	mode  atomic.Pointer[OCSPMode]
}

// An OCSPMode is a way to answer.
type OCSPMode struct {
	Name string
	// Make makes the answer of a CA; template is what a good one says.
	Make func(t testing.TB, ca *CA, template ocsp.Response) []byte
	// Refused is part of the reason for which the answer must be refused; empty:
	// it must be believed.
	Refused string
}

// OCSP starts a responder that says that all is good, and stops it after the test.
func OCSP(t testing.TB) *OCSPResponder {
	t.Helper()
	r := &OCSPResponder{CA: NewCA(t)}
	r.Answer(OCSPMode{Make: ocspByCA})
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.asked.Add(1)
		body, err := io.ReadAll(req.Body)
		if err != nil {
			t.Errorf("edgetest: read an OCSP request: %v", err)
			return
		}
		question, err := ocsp.ParseRequest(body)
		if err != nil {
			t.Errorf("edgetest: malformed OCSP request: %v", err)
			return
		}
		_, _ = w.Write(r.mode.Load().Make(t, r.CA, OCSPTemplate(question.SerialNumber))) // who has left asks again
	}))
	t.Cleanup(r.Close)
	return r
}

// Answer has the responder answer in another way from now on.
func (r *OCSPResponder) Answer(mode OCSPMode) { r.mode.Store(&mode) }

// Asked is how many requests there were.
func (r *OCSPResponder) Asked() int { return int(r.asked.Load()) }

// OCSPTemplate is what a good answer says: good since a minute ago, for an hour.
func OCSPTemplate(serial *big.Int) ocsp.Response {
	return ocsp.Response{
		Status: ocsp.Good, SerialNumber: new(big.Int).Set(serial),
		ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(time.Hour),
	}
}

// OCSPWith is an answer of the CA itself that an edit makes out of a good one.
func OCSPWith(name, refused string, edit func(*ocsp.Response)) OCSPMode {
	return OCSPMode{name, func(t testing.TB, ca *CA, template ocsp.Response) []byte {
		edit(&template)
		return ocspByCA(t, ca, template)
	}, refused}
}

// OCSPBodyLimit is the length in bytes beyond which answers must be refused: in a
// handshake they would be longer than what clients read.
const OCSPBodyLimit = 64 << 10

var forOCSP = []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}

// OCSPModes are good and hostile ways to answer. Those that must be believed come
// first: good, revoked, good by an issuer that embeds itself, good by a delegate.
func OCSPModes() []OCSPMode {
	hour := time.Hour
	return []OCSPMode{
		{"good", ocspByCA, ""},
		OCSPWith("revoked", "", func(r *ocsp.Response) { r.Status, r.RevokedAt = ocsp.Revoked, time.Now() }),
		{"issuer embeds itself", func(t testing.TB, ca *CA, r ocsp.Response) []byte {
			r.Certificate = ca.Cert
			return ocspByCA(t, ca, r)
		}, ""},
		{"delegated", ocspDelegated(LeafOptions{KeyUsage: forOCSP}, 1), ""},
		{"delegated without OCSPSigning", ocspDelegated(LeafOptions{}, 1), "may not sign"},
		{"delegate expired", ocspDelegated(LeafOptions{KeyUsage: forOCSP, NotBefore: time.Now().Add(-2 * hour), NotAfter: time.Now().Add(-hour)}, 1), "not valid now"},
		OCSPWith("stale", "stale", func(r *ocsp.Response) { r.NextUpdate = time.Now().Add(-time.Minute) }),
		OCSPWith("of the future", "future", func(r *ocsp.Response) { r.ThisUpdate = time.Now().Add(hour) }),
		OCSPWith("without nextUpdate", "no nextUpdate", func(r *ocsp.Response) { r.NextUpdate = time.Time{} }),
		OCSPWith("another serial", "no response matching", func(r *ocsp.Response) { r.SerialNumber.Lsh(r.SerialNumber, 1) }),
		OCSPWith("unknown", "does not know", func(r *ocsp.Response) { r.Status = ocsp.Unknown }),
		{"try later", func(testing.TB, *CA, ocsp.Response) []byte { return ocsp.TryLaterErrorResponse }, "try later"},
		{"foreign CA", func(t testing.TB, ca *CA, r ocsp.Response) []byte {
			return ocspSign(t, ca, ca.Cert, NewCA(t).Key, r)
		}, "not signed by the issuer"},
		{"foreign delegate", func(t testing.TB, ca *CA, r ocsp.Response) []byte {
			leaf := NewCA(t).IssueWith(t, LeafOptions{KeyUsage: forOCSP}, "responder.test") // its CA has the same name
			r.Certificate = leaf.TLS.Leaf
			return ocspSign(t, ca, leaf.TLS.Leaf, leaf.TLS.PrivateKey.(*ecdsa.PrivateKey), r)
		}, "not signed by the issuer"},
		{"garbage", func(testing.TB, *CA, ocsp.Response) []byte { return []byte("<html>") }, "ocsp"},
		{"too long", func(testing.TB, *CA, ocsp.Response) []byte { return make([]byte, OCSPBodyLimit+1) }, "exceeds"},
		// Certificates within an answer are not signed, so that anybody on the way may put long ones in.
		{"good, and too long", ocspDelegated(LeafOptions{KeyUsage: forOCSP}, OCSPBodyLimit/len("d0000.long-name.test")), "exceeds"},
		{"good, and too long for a handshake", ocspDelegated(LeafOptions{KeyUsage: forOCSP}, (17<<10)/len("d0000.long-name.test")), "exceeds"},
	}
}

func ocspByCA(t testing.TB, ca *CA, template ocsp.Response) []byte {
	return ocspSign(t, ca, ca.Cert, ca.Key, template)
}

// ocspDelegated signs with a responder certificate of its own, for so many names, which the answer embeds.
func ocspDelegated(o LeafOptions, names int) func(testing.TB, *CA, ocsp.Response) []byte {
	return func(t testing.TB, ca *CA, template ocsp.Response) []byte {
		all := make([]string, names)
		for i := range all {
			all[i] = fmt.Sprintf("d%04d.long-name.test", i)
		}
		leaf := ca.IssueWith(t, o, all...)
		template.Certificate = leaf.TLS.Leaf
		return ocspSign(t, ca, leaf.TLS.Leaf, leaf.TLS.PrivateKey.(*ecdsa.PrivateKey), template)
	}
}

func ocspSign(t testing.TB, ca *CA, signer *x509.Certificate, key crypto.Signer, template ocsp.Response) []byte {
	der, err := ocsp.CreateResponse(ca.Cert, signer, template, key)
	if err != nil {
		t.Errorf("edgetest: sign an OCSP response: %v", err)
	}
	return der
}
