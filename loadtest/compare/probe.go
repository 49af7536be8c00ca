package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// An absence is the reason why a peer takes no part in a scenario.
type absence string

func (a absence) Error() string { return string(a) }

// clientTLS returns settings that trust the one certificate that every peer serves.
func (b *bed) clientTLS(host string) (*tls.Config, error) {
	cert, err := os.ReadFile(b.settings.Cert)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(cert) {
		return nil, errors.New("the bench's certificate cannot be read")
	}
	return &tls.Config{RootCAs: roots, ServerName: host}, nil
}

// dial opens one TLS connection to the peer.
func (st *station) dial(ctx context.Context, config *tls.Config) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	d := tls.Dialer{Config: config}
	c, err := d.DialContext(ctx, "tcp", st.bed.settings.HTTPS.String())
	if err != nil {
		return nil, err
	}
	return c.(*tls.Conn), nil
}

// try sends one request of s and looks at the whole answer, before many are sent of
// which only some is looked at.
func (st *station) try(ctx context.Context, s scenario) error {
	config, err := st.bed.clientTLS(s.host)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	transport := &http.Transport{
		TLSClientConfig: config, DisableKeepAlives: true, DisableCompression: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, st.bed.settings.HTTPS.String())
		},
	}
	request, err := s.request(ctx)
	if err != nil {
		return err
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	switch {
	case err != nil:
		return fmt.Errorf("read the answer: %w", err)
	case response.StatusCode != s.status:
		return fmt.Errorf("%s %s was answered %s, not %d", request.Method, request.URL, response.Status, s.status)
	case s.size > 0 && len(body) != s.size:
		return fmt.Errorf("%s %s brought %d bytes, not %d", request.Method, request.URL, len(body), s.size)
	}
	return nil
}

func (s scenario) request(ctx context.Context) (*http.Request, error) {
	now := fmt.Sprint(time.Now().UnixNano())
	var body io.Reader
	if s.body != "" {
		body = strings.NewReader(strings.ReplaceAll(s.body, "@", now))
	}
	request, err := http.NewRequestWithContext(ctx, s.method(), "https://"+s.host+strings.ReplaceAll(s.path, "@", now), body)
	if err != nil {
		return nil, err
	}
	for name, value := range replaced(s.fields, now) {
		request.Header.Set(name, value)
	}
	return request, nil
}

// curves by the names that `gatehouse loadtest` has for them.
var curves = map[string]tls.CurveID{"x25519": tls.X25519, "x25519mlkem768": tls.X25519MLKEM768}

// agrees reports an absence if the peer cannot shake hands with the key exchange of s.
func (st *station) agrees(ctx context.Context, s scenario) error {
	config, err := st.bed.clientTLS(s.host)
	if err != nil {
		return err
	}
	config.CurvePreferences = []tls.CurveID{curves[s.curve]}
	c, err := st.dial(ctx, config)
	if err != nil {
		var failed *net.OpError
		if errors.As(err, &failed) && failed.Op == "remote error" { // an alert: it would talk, but not so
			return absence("no key exchange " + s.curve)
		}
		return err
	}
	return c.Close()
}

// speaksHTTP2 reports an absence if the peer does not choose h2 by ALPN.
func (st *station) speaksHTTP2(ctx context.Context, s scenario) error {
	config, err := st.bed.clientTLS(s.host)
	if err != nil {
		return err
	}
	config.NextProtos = []string{"h2", "http/1.1"}
	c, err := st.dial(ctx, config)
	if err != nil {
		return err
	}
	defer c.Close()
	if protocol := c.ConnectionState().NegotiatedProtocol; protocol != "h2" {
		return absence("not supported yet: ALPN offers no h2")
	}
	return nil
}
