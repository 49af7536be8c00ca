package acme

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/acme/autocert"
)

// attempt is a first order of one name through autocert, and the autocert.Cache of that order. autocert is held to TLS-ALPN-01: only with
// its HTTP handler it would go on to HTTP-01 by itself, with a second failed validation where the first has failed.
//
// Each attempt has an autocert.Manager of its own. A long-lived Manager would keep
// 6.5 KiB for each name, answer a renewal from its memory, and renew by its own
// timers, for deleted names too and with the old key. A Manager per attempt has
// one trap: after success its renewal timer lives on and would order again. That
// timer first asks the Cache, and there the attempt ends its goroutine, which
// frees the Manager; see Get. The gate would refuse the order, too.
type attempt struct {
	ctx    context.Context // of the order; autocert has its own
	name   string
	solver *solver

	mu      sync.Mutex
	asked   bool // the one question before the order was answered
	retired bool
	cleanUp func()
	pem     []byte // key and chain, once issued
}

var _ autocert.Cache = (*attempt)(nil)

// orderFirst is order for one name by TLS-ALPN-01. It cannot
// be cancelled by a context, since autocert uses its own; closing the gate ends it.
func (a *account) orderFirst(ctx context.Context, name string, s *solver, known func(string) bool) ([]byte, error) {
	t := &attempt{ctx: ctx, name: name, solver: s}
	defer t.retire()
	manager := &autocert.Manager{
		Prompt: autocert.AcceptTOS,
		Cache:  t,
		HostPolicy: func(_ context.Context, host string) error {
			if !known(host) {
				return fmt.Errorf("%s is not served any more", host)
			}
			return nil
		},
		Client: a.client, // with its key
		Email:  a.conf.Email,
		// The largest value that autocert takes, so that the timer that ends the
		// Manager fires as early as possible.
		RenewBefore: 30 * 24 * time.Hour,
	}
	a.gate.failure(name)
	// Without an ECDSA suite in the hello, autocert orders an RSA certificate
	// (golang/go#50522).
	_, err := manager.GetCertificate(&tls.ClientHelloInfo{
		ServerName:   name,
		CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256},
	})
	if err != nil {
		if why := a.gate.failure(name); why != "" {
			err = &validationError{name: name, why: why, err: err}
		}
		return nil, fmt.Errorf("order certificate of %s: %w", name, err)
	}
	text := t.issued()
	if text == nil {
		return nil, fmt.Errorf("order certificate of %s: issuer gave no certificate", name)
	}
	return text, nil
}

// Get implements autocert.Cache: the certificate is always absent, because an attempt is there to order one.
//
// autocert asks for the certificate once before it orders. A later question can
// only come from the renewal timer, whose goroutine ends here: Goexit runs its
// deferred unlocks, the timer is not set again, and nothing refers to the Manager
// any more. An error would make it order, a certificate would make it live on.
func (t *attempt) Get(_ context.Context, key string) ([]byte, error) {
	if key != t.name {
		return nil, autocert.ErrCacheMiss
	}
	t.mu.Lock()
	again := t.asked
	t.asked = true
	t.mu.Unlock()
	if again {
		runtime.Goexit()
	}
	return nil, autocert.ErrCacheMiss
}

// Put implements autocert.Cache: the challenge's answer goes to the solver, the certificate to the issuer, which checks it before it is stored.
func (t *attempt) Put(_ context.Context, key string, data []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.retired:
	case key == t.name:
		t.pem = append([]byte(nil), data...)
	case strings.HasSuffix(key, "+http-01"):
		return errors.New("this attempt is held to tls-alpn-01")
	case key == t.name+"+token":
		cert, err := tls.X509KeyPair(data, data)
		if err != nil {
			return fmt.Errorf("challenge certificate of %s: %w", t.name, err)
		}
		if t.cleanUp, err = t.solver.presentCertificate(t.ctx, t.name, &cert); err != nil {
			return err
		}
	}
	return nil
}

// Delete implements autocert.Cache. Answers are dropped when the attempt retires;
// autocert deletes them from goroutines that may run after the next attempt began.
func (t *attempt) Delete(context.Context, string) error { return nil }

func (t *attempt) issued() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.pem
}

// retire ends the attempt: its challenges are not answered any more.
func (t *attempt) retire() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.retired = true
	if t.cleanUp != nil {
		t.cleanUp()
	}
}
