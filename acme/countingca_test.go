package acme

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
)

// A countingCA is an ACME issuer (RFC 8555) without a network, so that its days can pass in a synctest bubble, where none of Pebble's can. Whatever
// is to be validated it finds broken, some seconds after the answer was said to be there, whether anybody waits for that or not.
type countingCA struct {
	t     testing.TB
	conns chan net.Conn
	done  chan struct{}
	delay func() time.Duration // until a validation has failed

	mu     sync.Mutex
	orders int
	broken bool              // no order is taken
	issuer *edgetest.CA      // signs what is ordered, and nothing is validated; nil: nothing is issued
	issued map[string][]byte // by order: the certificate
	nonces int
	made   map[string][]string // by order: its authorizations
	authz  map[string]*countedAuthz
	failed map[string][]time.Time // by name
}

type countedAuthz struct{ name, status string }

const countingDirectory = "https://ca.test/dir"

func newCountingCA(t testing.TB, delay func() time.Duration) *countingCA {
	ca := &countingCA{t: t, conns: make(chan net.Conn), done: make(chan struct{}), delay: delay, made: map[string][]string{}, authz: map[string]*countedAuthz{}, failed: map[string][]time.Time{}, issued: map[string][]byte{}}
	server := &http.Server{Handler: ca}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ca) }()
	t.Cleanup(func() {
		_ = server.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return ca
}

// noPort has a self-check learn nothing, without asking a network.
const noPort = "99999"

// serve has a manager's requests come here.
func (ca *countingCA) serve(m *Manager) {
	for _, a := range m.issuer.accounts {
		ca.serveAccount(a)
	}
}

func (ca *countingCA) serveAccount(a *account) {
	a.gate.base.DialTLSContext = func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe()
		select {
		case ca.conns <- there:
			return here, nil
		case <-ca.done:
			return nil, net.ErrClosed
		}
	}
}

// Accept, Close and Addr are those of net.Listener.
func (ca *countingCA) Accept() (net.Conn, error) {
	select {
	case conn := <-ca.conns:
		return conn, nil
	case <-ca.done:
		return nil, net.ErrClosed
	}
}

func (ca *countingCA) Close() error   { close(ca.done); return nil }
func (ca *countingCA) Addr() net.Addr { return &net.UnixAddr{Name: "ca.test"} }

// failures are when validations of a name have failed.
func (ca *countingCA) failures(name string) []time.Time {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	return append([]time.Time(nil), ca.failed[name]...)
}

func (ca *countingCA) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	ca.nonces++
	w.Header().Set("Replay-Nonce", fmt.Sprintf("nonce-%d", ca.nonces))
	kind, id, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	say := func(status int, body any) {
		w.WriteHeader(status)
		if err := json.NewEncoder(w).Encode(body); err != nil && r.Context().Err() == nil {
			ca.t.Error(err)
		}
	}
	switch kind {
	case "dir", "other":
		say(http.StatusOK, map[string]string{"newNonce": caURL("nonce"), "newAccount": caURL("account"), "newOrder": caURL("order"), "revokeCert": caURL("revoke"), "keyChange": caURL("key")})
	case "nonce":
	case "account":
		w.Header().Set("Location", caURL("account", "1"))
		say(http.StatusCreated, map[string]string{"status": "valid"})
	case "order":
		status := http.StatusOK
		if id == "" && ca.broken {
			say(http.StatusInternalServerError, map[string]string{"type": "urn:ietf:params:acme:error:serverInternal", "detail": "oops"})
			return
		}
		if id == "" {
			ca.orders++
			id = fmt.Sprint(ca.orders)
			for n, name := range orderedNames(ca.t, r) {
				one := fmt.Sprint(id, "-", n)
				ca.authz[one] = &countedAuthz{name: name, status: "pending"}
				if ca.issuer != nil {
					ca.authz[one].status = "valid"
				}
				ca.made[id] = append(ca.made[id], one)
			}
			w.Header().Set("Location", caURL("order", id))
			status = http.StatusCreated
		}
		say(status, ca.describeOrder(id))
	case "finalize":
		ca.issued[id] = ca.sign(r)
		say(http.StatusOK, ca.describeOrder(id))
	case "certificate":
		w.Header().Set("Content-Type", "application/pem-certificate-chain")
		_, _ = w.Write(ca.issued[id]) // whoever asks comes again
	case "authz":
		say(http.StatusOK, ca.describe(id))
	case "challenge":
		kind, id, _ := strings.Cut(id, "/")
		go ca.validate(ca.authz[id])
		say(http.StatusOK, map[string]string{"type": kind, "url": caURL("challenge", kind, id), "token": "token-of-" + id, "status": "processing"})
	default:
		say(http.StatusNotFound, map[string]string{"type": "urn:ietf:params:acme:error:malformed"})
	}
}

func (ca *countingCA) describeOrder(id string) any {
	status, urls := "pending", []string{}
	var names []map[string]string
	for _, one := range ca.made[id] {
		names = append(names, map[string]string{"type": "dns", "value": ca.authz[one].name})
		if ca.authz[one].status == "invalid" {
			status = "invalid"
		}
		urls = append(urls, caURL("authz", one))
	}
	switch {
	case ca.issued[id] != nil:
		status = "valid"
	case ca.issuer != nil:
		status = "ready"
	}
	return map[string]any{"certificate": caURL("certificate", id), "status": status, "finalize": caURL("finalize", id), "authorizations": urls, "identifiers": names}
}

// sign issues what a signed request asks for.
func (ca *countingCA) sign(r *http.Request) []byte {
	var asked struct{ CSR string }
	payloadOf(ca.t, r, &asked)
	der, err := base64.RawURLEncoding.DecodeString(asked.CSR)
	if err != nil {
		ca.t.Error(err)
		return nil
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		ca.t.Error(err)
		return nil
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: csr.DNSNames, NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(90 * day),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if der, err = x509.CreateCertificate(rand.Reader, template, ca.issuer.Cert, csr.PublicKey, ca.issuer.Key); err != nil {
		ca.t.Error(err)
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), ca.issuer.PEM...)
}

func (ca *countingCA) describe(id string) any {
	a := ca.authz[id]
	var challenges []any
	for _, kind := range []string{challengeHTTP, challengeALPN} {
		c := map[string]any{"type": kind, "url": caURL("challenge", kind, id), "token": "token-of-" + id, "status": a.status}
		if a.status == "invalid" {
			c["error"] = map[string]string{"type": "urn:ietf:params:acme:error:connection", "detail": "Connection refused"}
		}
		challenges = append(challenges, c)
	}
	return map[string]any{"status": a.status, "identifier": map[string]string{"type": "dns", "value": a.name}, "challenges": challenges}
}

func (ca *countingCA) validate(a *countedAuthz) {
	select {
	case <-time.After(ca.delay()):
	case <-ca.done:
		return
	}
	ca.mu.Lock()
	defer ca.mu.Unlock()
	a.status = "invalid"
	ca.failed[a.name] = append(ca.failed[a.name], time.Now())
}

func caURL(parts ...string) string { return "https://ca.test/" + strings.Join(parts, "/") }

// orderedNames are those of a signed order.
func orderedNames(t testing.TB, r *http.Request) (names []string) {
	var order struct{ Identifiers []struct{ Value string } }
	if payloadOf(t, r, &order); len(order.Identifiers) == 0 {
		t.Error("an order for no name")
	}
	for _, one := range order.Identifiers {
		names = append(names, one.Value)
	}
	return names
}

// payloadOf reads what a signed request says.
func payloadOf(t testing.TB, r *http.Request, into any) {
	var signed jws
	err := json.NewDecoder(r.Body).Decode(&signed)
	if err == nil {
		var payload []byte
		if payload, err = base64.RawURLEncoding.DecodeString(signed.Payload); err == nil {
			err = json.Unmarshal(payload, into)
		}
	}
	if err != nil {
		t.Errorf("request: %v", err)
	}
}
