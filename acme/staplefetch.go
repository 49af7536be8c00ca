package acme

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/crypto/ocsp"

	"gatehouse/routes"
)

func ocspKey(l *leaf) string { return "gatehouse:{acme}:ocsp:" + hex.EncodeToString(l.digest[:16]) }

const (
	// ocspLease is how long one node is left to fetch a response for all, ocspBusy when the others look for it.
	ocspLease = 30 * time.Second
	ocspBusy  = 2 * time.Second
)

// obtain gets a leaf's response: what another node has fetched, if it has more than half of its life before it, else from the responder, which
// one node asks at a time. A positive later is when to come again: another node is at it.
func (s *stapler) obtain(ctx context.Context, l *leaf) (resp *ocsp.Response, later time.Duration, err error) {
	if s.shared == nil {
		resp, err = s.fetch(ctx, l)
		return resp, 0, err
	}
	limited, cancel := context.WithTimeout(ctx, sharedWait)
	defer cancel()
	if resp := s.sharedResponse(limited, l); resp != nil && time.Until(resp.NextUpdate) > resp.NextUpdate.Sub(resp.ThisUpdate)/2 && !resp.ThisUpdate.Before(s.newest(l)) {
		return resp, 0, nil
	} // one that is older than what this node has was put back by somebody: the responder knows better
	free, err := s.shared.Lease(limited, ocspKey(l)+":lock", s.owner, ocspLease)
	if err == nil && !free {
		return nil, jitter(ocspBusy), nil
	} // without the others each asks for itself: a staple is worth one request
	if resp, err = s.fetch(ctx, l); err != nil {
		return nil, 0, err // the lease ends by itself: nobody else has to try at once
	}
	limited, cancel = context.WithTimeout(ctx, sharedWait)
	defer cancel()
	if err := s.shared.Write(limited, ocspKey(l), resp.Raw, time.Until(resp.NextUpdate)); err != nil {
		s.log.Debug("other nodes fetch the OCSP response by themselves", "names", l.names, "err", err)
	}
	return resp, 0, nil
}

// newest is thisUpdate of the response in use; zero if there is none.
func (s *stapler) newest(l *leaf) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.held[l]; st != nil {
		return st.this
	}
	return time.Time{}
}

// sharedResponse is what another node has fetched, verified as if it came from the network; nil if there is none, or it is no good.
func (s *stapler) sharedResponse(ctx context.Context, l *leaf) *ocsp.Response {
	found, err := s.shared.Read(ctx, ocspKey(l))
	if err != nil || found[0] == nil {
		return nil
	}
	x, issuer, err := parsedChain(l)
	if err != nil {
		return nil
	}
	resp, err := checkOCSP(found[0], x, issuer, time.Now())
	if err != nil {
		s.log.Warn("shared OCSP response not used", "names", l.names, "err", err)
		return nil
	}
	return resp
}

func (s *stapler) fetch(ctx context.Context, l *leaf) (*ocsp.Response, error) {
	x, issuer, err := parsedChain(l)
	if err != nil {
		return nil, err
	}
	request, err := ocsp.CreateRequest(x, issuer, nil)
	if err != nil {
		return nil, fmt.Errorf("ocsp: make request: %w", err)
	}
	der, err := s.client.ask(ctx, l.responders, request)
	if err != nil {
		return nil, err
	}
	return checkOCSP(der, x, issuer, time.Now())
}

// load reads the stored response and verifies it as if it came from the network.
func (s *stapler) load(l *leaf) (*ocsp.Response, error) {
	der, err := routes.ReadFile(s.file(l), ocspBodyLimit)
	if err != nil {
		return nil, err
	}
	x, issuer, err := parsedChain(l)
	if err != nil {
		return nil, err
	}
	return checkOCSP(der, x, issuer, time.Now())
}

// store writes a response so that a restart staples before the first handshake; a
// revocation is stored too, so that an old Good cannot come back.
func (s *stapler) store(l *leaf, resp *ocsp.Response) error {
	if old, err := os.ReadFile(s.file(l)); err == nil && bytes.Equal(old, resp.Raw) {
		return nil
	}
	return writeFile(s.file(l), resp.Raw, 0o600)
}

func parsedChain(l *leaf) (x, issuer *x509.Certificate, err error) {
	chain := l.served.Load().Certificate
	if len(chain) < 2 {
		return nil, nil, errors.New("ocsp: no issuer certificate in the chain")
	}
	if x, err = x509.ParseCertificate(chain[0]); err != nil {
		return nil, nil, err
	}
	issuer, err = x509.ParseCertificate(chain[1])
	return x, issuer, err
}
