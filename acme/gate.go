package acme

import (
	"bytes"
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"gatehouse/routes"
)

const (
	acmeBodyLimit   = 1 << 20
	maxTrustBytes   = 16 << 20
	acmeHTTPTimeout = 30 * time.Second
	// maxPoll caps the Retry-After of polled resources: autocert sleeps that long
	// under a context that nobody can cancel, and Run must be able to return.
	maxPoll = 5 * time.Second
)

var errGateClosed = errors.New("acme: the node is stopping")

// gate is the transport of the ACME client. autocert works under contexts of its
// own and starts goroutines that it does not wait for, so this is where they are
// stopped: close cancels what is under way, refuses what follows, and waits. It
// also notes why validations failed, which autocert does not tell.
type gate struct {
	base   *http.Transport
	ctx    context.Context
	cancel context.CancelFunc

	mu       sync.Mutex
	closed   bool
	flying   sync.WaitGroup
	reasons  map[string]string           // why the last validation of a name failed
	newOrder string                      // URL, from the directory
	ariBase  string                      // URL of renewalInfo (RFC 9773 section 4.1); empty: not offered
	permits  map[string]permit           // by name: what may be ordered at present
	placed   map[string]bool             // names of permits that the issuer has taken an order for
	told     map[string]func(url string) // by name: who is told of the order that the issuer has taken
	key      crypto.Signer               // of the account
}

// A permit is leave to order a certificate, and what the order says beside the names.
type permit struct {
	profile  string // of the certificate; empty: the issuer's choice
	replaces string // identifier of the certificate that it takes the place of (RFC 9773 section 5); empty: none
}

func newGate(trustFile string) (*gate, error) {
	base := http.DefaultTransport.(*http.Transport).Clone()
	base.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	if trustFile != "" {
		roots, err := rootsWith(trustFile)
		if err != nil {
			return nil, err
		}
		base.TLSClientConfig.RootCAs = roots
	}
	g := &gate{base: base, reasons: make(map[string]string), permits: make(map[string]permit), placed: make(map[string]bool), told: make(map[string]func(string))}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	return g, nil
}

// rootsWith returns the system's roots and those of a PEM file.
func rootsWith(file string) (*x509.CertPool, error) {
	text, err := routes.ReadFile(file, maxTrustBytes)
	if err != nil {
		return nil, fmt.Errorf("acme: trust: %w", err)
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool() // a system without roots: the file's are what there is
	}
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("acme: trust: no certificate in %s", file)
	}
	return roots, nil
}

// RoundTrip implements http.RoundTripper.
func (g *gate) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := g.ask(req)
	if err == nil && resp.StatusCode < 300 {
		capRetryAfter(resp.Header)
	}
	return resp, err
}

// ask sends a request. It reads the whole body of the answer, so that nothing
// of the request outlives the call.
func (g *gate) ask(req *http.Request) (*http.Response, error) {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return nil, errGateClosed
	}
	g.flying.Add(1)
	g.mu.Unlock()
	defer g.flying.Done()

	ctx, cancel := context.WithTimeout(req.Context(), acmeHTTPTimeout)
	defer cancel()
	defer context.AfterFunc(g.ctx, cancel)()
	req = req.Clone(ctx)
	told, err := g.passOrder(req)
	if err != nil {
		return nil, err
	}
	resp, err := g.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, acmeBodyLimit+1))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return nil, fmt.Errorf("read answer of %s: %w", req.URL, err)
	}
	if len(body) > acmeBodyLimit {
		return nil, fmt.Errorf("answer of %s exceeds %d bytes", req.URL, acmeBodyLimit)
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	if resp.StatusCode < 300 {
		g.note(body)
		if at := resp.Header.Get("Location"); told != nil && at != "" {
			told(at)
		}
	}
	return resp, nil
}

// capRetryAfter bounds a wait, which is either seconds or a date (RFC 9110 section
// 10.2.3).
func capRetryAfter(h http.Header) {
	v := h.Get("Retry-After")
	if v == "" {
		return
	}
	wait := 2 * maxPoll // for what is neither
	if seconds, err := strconv.Atoi(v); err == nil && seconds >= 0 {
		wait = time.Duration(min(seconds, 3600)) * time.Second
	} else if at, err := http.ParseTime(v); err == nil {
		wait = time.Until(at)
	}
	if wait > maxPoll {
		h.Set("Retry-After", strconv.Itoa(int(maxPoll/time.Second)))
	}
}

// note remembers what the directory says (RFC 8555 section 7.1.1), that there is an order (section 7.1.3), and the problem of each failed challenge in an
// authorization object (sections 7.1.4 and 8).
func (g *gate) note(body []byte) {
	var object struct {
		NewOrder, RenewalInfo string
		Status                string
		Identifier            struct{ Value string }
		Identifiers           []struct{ Value string }
		Challenges            []struct {
			Type  string
			Error *struct{ Type, Detail string }
		}
	}
	if json.Unmarshal(body, &object) != nil {
		return // another kind of object
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if object.NewOrder != "" {
		g.newOrder, g.ariBase = object.NewOrder, object.RenewalInfo
	}
	for _, one := range object.Identifiers {
		if _, ours := g.permits[one.Value]; ours {
			g.placed[one.Value] = true
		}
	}
	if object.Status != "invalid" {
		return
	}
	for _, c := range object.Challenges {
		if c.Error != nil {
			kind := c.Error.Type[strings.LastIndexByte(c.Error.Type, ':')+1:] // Explain goes by it
			g.reasons[object.Identifier.Value] = fmt.Sprintf("%s: %s: %.300s", c.Type, kind, c.Error.Detail)
		}
	}
}

// failure returns and forgets why the validation of a name failed; empty: it did not.
func (g *gate) failure(name string) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	name = strings.TrimPrefix(name, "*.")
	text := g.reasons[name]
	delete(g.reasons, name)
	return text
}

// close ends all requests and waits for them.
func (g *gate) close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.cancel()
	g.flying.Wait()
	g.base.CloseIdleConnections()
}

func (g *gate) isClosed() bool { return g.ctx.Err() != nil }

// backoff decides about repeating a single ACME request. A rate limit is not
// waited out here: the order fails and its name waits in the schedule.
func (g *gate) backoff(n int, _ *http.Request, resp *http.Response) time.Duration {
	const tries = 3
	switch {
	case g.isClosed(), n > tries, resp.StatusCode == http.StatusTooManyRequests:
		return -1
	case resp.StatusCode == http.StatusBadRequest: // a stale nonce; the next one is at hand
		return time.Millisecond
	}
	return time.Duration(n) * time.Second
}
