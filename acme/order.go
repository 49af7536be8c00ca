package acme

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	xacme "golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
)

// accountKeyName is what autocert calls the account key in its cache.
const accountKeyName = "acme_account+key"

// accountKeyFile holds the account key. No host name contains "@".
const accountKeyFile = "account@key.pem"

// attempt is one order of one name through autocert, and the autocert.Cache of
// that order.
//
// Each attempt has an autocert.Manager of its own. A long-lived Manager would keep
// 6.5 KiB for each name, answer a renewal from its memory, and renew by its own
// timers, for deleted names too and with the old key. A Manager per attempt has
// one trap: after success its renewal timer lives on and would order again. That
// timer first asks the Cache, and there the attempt ends its goroutine, which
// frees the Manager; see Get.
type attempt struct {
	name       string
	dir        string
	challenges *challenges

	mu      sync.Mutex
	asked   bool // the one question before the order was answered
	retired bool
	pem     []byte // key and chain, once issued
}

var _ autocert.Cache = (*attempt)(nil)

// obtain orders a certificate and returns its key and chain in PEM form. It cannot
// be cancelled by a context, since autocert uses its own; closing the gate ends it.
func (i *issuer) obtain(name string) ([]byte, error) {
	a := &attempt{name: name, dir: i.dir, challenges: i.challenges}
	defer a.retire()
	manager := &autocert.Manager{
		Prompt: autocert.AcceptTOS,
		Cache:  a,
		HostPolicy: func(_ context.Context, host string) error {
			if !i.known(host) {
				return fmt.Errorf("%s is not served any more", host)
			}
			return nil
		},
		Client:                 i.client,
		Email:                  i.email,
		ExternalAccountBinding: i.eab,
		// The largest value that autocert takes, so that the timer that ends the
		// Manager fires as early as possible.
		RenewBefore: 30 * 24 * time.Hour,
	}
	manager.HTTPHandler(nil) // enables HTTP-01 beside TLS-ALPN-01; the handler itself is not used
	i.gate.failures()
	// Without an ECDSA suite in the hello, autocert orders an RSA certificate
	// (golang/go#50522).
	_, err := manager.GetCertificate(&tls.ClientHelloInfo{
		ServerName:   name,
		CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256},
	})
	if err != nil {
		if reasons := i.gate.failures(); reasons != "" {
			return nil, fmt.Errorf("order certificate of %s: %s: %w", name, reasons, err)
		}
		return nil, fmt.Errorf("order certificate of %s: %w", name, err)
	}
	text := a.issued()
	if text == nil {
		return nil, fmt.Errorf("order certificate of %s: issuer gave no certificate", name)
	}
	return text, nil
}

// Get implements autocert.Cache: the account key comes from its file, and the
// certificate is always absent, because an attempt is there to order one.
//
// autocert asks for the certificate once before it orders. A later question can
// only come from the renewal timer, whose goroutine ends here: Goexit runs its
// deferred unlocks, the timer is not set again, and nothing refers to the Manager
// any more. An error would make it order, a certificate would make it live on.
func (a *attempt) Get(_ context.Context, key string) ([]byte, error) {
	if key == accountKeyName {
		text, err := os.ReadFile(filepath.Join(a.dir, accountKeyFile))
		if errors.Is(err, os.ErrNotExist) {
			return nil, autocert.ErrCacheMiss
		}
		return text, err
	}
	if key != a.name {
		return nil, autocert.ErrCacheMiss
	}
	a.mu.Lock()
	again := a.asked
	a.asked = true
	a.mu.Unlock()
	if again {
		runtime.Goexit()
	}
	return nil, autocert.ErrCacheMiss
}

// Put implements autocert.Cache: challenge answers stay in memory, the account key
// goes to disk, the certificate to the issuer, which checks it before it is stored.
func (a *attempt) Put(_ context.Context, key string, data []byte) error {
	if key == accountKeyName {
		return writeFile(filepath.Join(a.dir, accountKeyFile), data, 0o600)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.retired {
		return nil
	}
	if key == a.name {
		a.pem = append([]byte(nil), data...)
		return nil
	}
	if token, ok := strings.CutSuffix(key, "+http-01"); ok {
		a.challenges.putToken(a.name, token, append([]byte(nil), data...))
		return nil
	}
	if key == a.name+"+token" {
		cert, err := tls.X509KeyPair(data, data)
		if err != nil {
			return fmt.Errorf("challenge certificate of %s: %w", a.name, err)
		}
		a.challenges.putCertificate(a.name, &cert)
	}
	return nil
}

// Delete implements autocert.Cache. Answers are dropped when the attempt retires;
// autocert deletes them from goroutines that may run after the next attempt began.
func (a *attempt) Delete(context.Context, string) error { return nil }

func (a *attempt) issued() []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.pem
}

// retire ends the attempt: its challenges are not answered any more.
func (a *attempt) retire() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.retired = true
	a.challenges.forget(a.name)
}

// rateLimit returns how long the issuer asks to wait, zero if it does not.
func rateLimit(err error) time.Duration {
	var problem *xacme.Error
	if !errors.As(err, &problem) {
		return 0
	}
	wait, _ := xacme.RateLimit(problem)
	return wait
}
