package acme

import (
	"crypto/tls"
	"strings"
	"sync"
	"sync/atomic"
)

const challengePath = "/.well-known/acme-challenge/" // RFC 8555 section 8.3

// challenges answers the issuer's validation requests. It holds answers only while
// an order is under way, so anybody else's acme-tls/1 hellos and challenge paths
// cost one atomic read and reach no disk or network.
type challenges struct {
	pending atomic.Int64 // answers held
	mu      sync.RWMutex
	certs   map[string]*tls.Certificate // TLS-ALPN-01 (RFC 8737), by name
	tokens  map[string]tokenAnswer      // HTTP-01, by token
}

type tokenAnswer struct {
	host string
	body []byte
}

func newChallenges() *challenges {
	return &challenges{certs: make(map[string]*tls.Certificate), tokens: make(map[string]tokenAnswer)}
}

func (c *challenges) putCertificate(name string, cert *tls.Certificate) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.certs[name] = cert
	c.recount()
}

func (c *challenges) putToken(host, token string, body []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tokens[token] = tokenAnswer{host: host, body: body}
	c.recount()
}

// forget drops all answers of a host.
func (c *challenges) forget(host string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.certs, host)
	for token, answer := range c.tokens {
		if answer.host == host {
			delete(c.tokens, token)
		}
	}
	c.recount()
}

func (c *challenges) recount() { c.pending.Store(int64(len(c.certs) + len(c.tokens))) }

// certificate returns the TLS-ALPN-01 certificate of a name with a pending
// challenge, else nil.
func (c *challenges) certificate(name string) *tls.Certificate {
	if c.pending.Load() == 0 {
		return nil
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.certs[name]
}

// token returns the HTTP-01 answer for a path of a host.
func (c *challenges) token(host, path string) ([]byte, bool) {
	token, ok := strings.CutPrefix(path, challengePath)
	if !ok || c.pending.Load() == 0 {
		return nil, false
	}
	c.mu.RLock()
	answer, ok := c.tokens[token]
	c.mu.RUnlock()
	if !ok || answer.host != host {
		return nil, false
	}
	return answer.body, true
}
