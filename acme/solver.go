package acme

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	xacme "golang.org/x/crypto/acme"
)

// A solver has this node and all others answer challenges while an order is under way.
type solver struct {
	challenges *challenges
	shared     Shared // nil: this node is alone
	keys       *Keyring
	dns        DNSPublisher // nil: no DNS-01
	log        *slog.Logger
	borrowing  chan struct{} // a slot for each look that somebody else causes
}

const (
	// challengeLife is how long an answer stays where nodes share it, should nobody take it away.
	challengeLife = 10 * time.Minute
	// spreadTime is how long the others get to learn of an answer before the issuer asks: it may ask any of them.
	spreadTime = 250 * time.Millisecond
)

func tokenKey(token string) string { return "gatehouse:{acme}:token:" + token }
func alpnKey(host string) string   { return "gatehouse:{acme}:alpn:" + host }

// present makes the answer to a challenge known. The returned function takes it away again.
func (s *solver) present(ctx context.Context, client *xacme.Client, host string, c *xacme.Challenge) (cleanUp func(), err error) {
	switch c.Type {
	case challengeHTTP:
		return s.presentToken(ctx, client, host, c.Token)
	case challengeALPN:
		cert, err := client.TLSALPN01ChallengeCert(c.Token, host)
		if err != nil {
			return nil, err
		}
		return s.presentCertificate(ctx, host, &cert)
	case challengeDNS:
		if s.dns == nil {
			return nil, errors.New("dns-01 needs certificates.acme.dns_hook or dns_update")
		}
		value, err := client.DNS01ChallengeRecord(c.Token)
		if err != nil {
			return nil, err
		}
		return s.presentRecord(ctx, host, value)
	}
	return nil, fmt.Errorf("challenge of type %q", c.Type)
}

// cleanUpTime is how long a record may take to be removed.
const cleanUpTime = time.Minute

func (s *solver) presentRecord(ctx context.Context, host, value string) (func(), error) {
	record := "_acme-challenge." + strings.TrimPrefix(host, "*.") + "."
	if err := s.dns.Present(ctx, record, value); err != nil {
		return nil, err
	}
	return func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTime)
		defer cancel()
		if err := s.dns.CleanUp(ctx, record, value); err != nil {
			s.log.Warn("record of dns-01 stays, though it proves nothing any more", "record", record, "err", err)
		}
	}, nil
}

func (s *solver) presentToken(ctx context.Context, client *xacme.Client, host, token string) (func(), error) {
	body, err := client.HTTP01ChallengeResponse(token)
	if err != nil {
		return nil, err
	}
	return s.presentAnswer(ctx, host, token, body)
}

// presentAnswer has all nodes answer a request for the token of a host.
func (s *solver) presentAnswer(ctx context.Context, host, token, body string) (func(), error) {
	s.challenges.putToken(host, token, []byte(body))
	cleanUp := func() { s.challenges.forget(host) }
	if s.shared == nil {
		return cleanUp, nil
	}
	// Sealed, since who could write an answer could have an account of his own get certificates of all names.
	return s.spread(ctx, tokenKey(token), s.keys.seal(tokenKey(token), []byte(host+" "+body)), eventToken+token, cleanUp)
}

func (s *solver) presentCertificate(ctx context.Context, host string, cert *tls.Certificate) (func(), error) {
	s.challenges.putCertificate(host, cert)
	cleanUp := func() { s.challenges.forget(host) }
	if s.shared == nil {
		return cleanUp, nil
	}
	text, err := pairPEM(cert)
	if err != nil {
		cleanUp()
		return nil, err
	}
	return s.spread(ctx, alpnKey(host), s.keys.seal(alpnKey(host), text), eventALPN+host, cleanUp)
}

// spread brings an answer to all nodes. That it cannot is no reason to fail: the issuer may ask this one.
func (s *solver) spread(ctx context.Context, key string, value []byte, event string, cleanUp func()) (func(), error) {
	err := insist(ctx, func(ctx context.Context) error {
		err := s.shared.Write(ctx, key, value, challengeLife)
		if err == nil {
			err = s.shared.Announce(ctx, event)
		}
		return err
	})
	if err != nil {
		s.log.Warn("only this node can answer the issuer", "err", err)
		return cleanUp, nil
	}
	select {
	case <-time.After(spreadTime):
	case <-ctx.Done():
	}
	return func() {
		cleanUp()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sharedWait)
		defer cancel()
		if err := s.shared.Remove(ctx, key); err != nil {
			s.log.Debug("answer to a challenge stays until its life ends", "err", err)
		}
	}, nil
}
