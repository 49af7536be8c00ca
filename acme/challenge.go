package acme

import (
	"crypto/tls"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const challengePath = "/.well-known/acme-challenge/" // RFC 8555 section 8.3

// challenges answers the issuer's validation requests, those that other nodes have caused too. It holds answers only while
// an order is under way, so anybody else's acme-tls/1 hellos and challenge paths
// cost one atomic read and reach no disk or network.
type challenges struct {
	pending atomic.Int64 // answers held
	mu      sync.RWMutex
	certs   map[string]certAnswer  // TLS-ALPN-01 (RFC 8737), by name
	tokens  map[string]tokenAnswer // HTTP-01, by token
}

type certAnswer struct {
	cert  *tls.Certificate
	until time.Time // nobody says when another node needs it no more
}

type tokenAnswer struct {
	host  string
	body  []byte
	until time.Time
}

func newChallenges() *challenges {
	return &challenges{certs: make(map[string]certAnswer), tokens: make(map[string]tokenAnswer)}
}

func (c *challenges) putCertificate(name string, cert *tls.Certificate) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.certs[name] = certAnswer{cert, now.Add(challengeLife)}
	c.recount(now)
}

func (c *challenges) putToken(host, token string, body []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.tokens[token] = tokenAnswer{host, body, now.Add(challengeLife)}
	c.recount(now)
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
	c.recount(time.Now())
}

// recount drops what is over, and counts the rest.
func (c *challenges) recount(now time.Time) {
	for name, answer := range c.certs {
		if now.After(answer.until) {
			delete(c.certs, name)
		}
	}
	for token, answer := range c.tokens {
		if now.After(answer.until) {
			delete(c.tokens, token)
		}
	}
	c.pending.Store(int64(len(c.certs) + len(c.tokens)))
}

// certificate returns the TLS-ALPN-01 certificate of a name with a pending
// challenge, else nil.
func (c *challenges) certificate(name string) *tls.Certificate {
	if c.pending.Load() == 0 {
		return nil
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.certs[name].cert
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
