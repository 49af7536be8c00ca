package acme

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"io"
	"net"
	"net/http"
	"time"

	xacme "golang.org/x/crypto/acme"
)

// A selfCheck finds out by which challenge the issuer is likely to reach this fleet, as the issuer would: by the name, over HTTP, then over
// TLS. It only chooses: where it learns nothing, as behind NAT that does not let the inside in, HTTP-01 is as good as any, and
// the issuer has the last word.
type selfCheck struct {
	solver    *solver
	mint      func(name string) (*tls.Certificate, time.Time, error) // a certificate that nothing else has
	transport *http.Transport
	dialer    *net.Dialer
	http, tls string // ports
}

const selfCheckTime = 3 * time.Second

func newSelfCheck(s *solver, mint func(string) (*tls.Certificate, time.Time, error), allowPrivate bool, httpPort, tlsPort string) *selfCheck {
	d := &net.Dialer{Timeout: selfCheckTime}
	if !allowPrivate {
		d.Control = refusePrivate // a tenant's name may lead anywhere
	}
	return &selfCheck{
		solver: s, mint: mint, dialer: d, http: httpPort, tls: tlsPort,
		transport: &http.Transport{DialContext: d.DialContext, DisableKeepAlives: true, MaxResponseHeaderBytes: 16 << 10},
	}
}

// choose returns the type of challenge for an attempt.
func (c *selfCheck) choose(ctx context.Context, name string) string {
	ctx, cancel := context.WithTimeout(ctx, 2*selfCheckTime)
	defer cancel()
	switch {
	case c.overHTTP(ctx, name):
		return challengeHTTP
	case c.overTLS(ctx, name):
		return challengeALPN
	}
	return challengeHTTP
}

// overHTTP reports whether a request for the name comes back to this fleet.
func (c *selfCheck) overHTTP(ctx context.Context, name string) bool {
	var random [16]byte
	_, _ = rand.Read(random[:]) // never fails, see crypto/rand
	token := "self-check-" + hex.EncodeToString(random[:])
	cleanUp, err := c.solver.presentAnswer(ctx, name, token, token)
	if err != nil {
		return false
	}
	defer cleanUp()
	ctx, cancel := context.WithTimeout(ctx, selfCheckTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(name, c.http)+challengePath+token, nil)
	if err != nil {
		return false
	}
	resp, err := c.transport.RoundTrip(req) // redirects are followed by issuers; what answers behind them is not ours to know
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	return err == nil && resp.StatusCode == http.StatusOK && string(body) == token
}

// overTLS reports whether a TLS-ALPN-01 handshake for the name comes back to this fleet.
func (c *selfCheck) overTLS(ctx context.Context, name string) bool {
	cert, _, err := c.mint(name)
	if err != nil {
		return false
	}
	cleanUp, err := c.solver.presentCertificate(ctx, name, cert)
	if err != nil {
		return false
	}
	defer cleanUp()
	ctx, cancel := context.WithTimeout(ctx, selfCheckTime)
	defer cancel()
	d := tls.Dialer{NetDialer: c.dialer, Config: &tls.Config{
		ServerName: name, NextProtos: []string{xacme.ALPNProto}, MinVersion: tls.VersionTLS12,
		InsecureSkipVerify: true, // it is compared below
	}}
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(name, c.tls))
	if err != nil {
		return false
	}
	defer conn.Close()
	state := conn.(*tls.Conn).ConnectionState()
	return state.NegotiatedProtocol == xacme.ALPNProto && len(state.PeerCertificates) > 0 && string(state.PeerCertificates[0].Raw) == string(cert.Certificate[0])
}

func (c *selfCheck) close() { c.transport.CloseIdleConnections() }
