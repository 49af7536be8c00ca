package acme

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	xacme "golang.org/x/crypto/acme"
)

// accountKeyFile holds the key of the account at the first issuer. No host name contains "@".
const accountKeyFile = "account@key.pem"

// An account is one issuer of the settings: its directory, and the account there, which all nodes that share anything have in
// common.
type account struct {
	conf   ACME
	client *xacme.Client
	gate   *gate
	vault  *vault
	file   string // of the key, in the folder

	mu    sync.Mutex
	ready bool
	until time.Time // it wants no order before (429), as far as this node knows

	why  error     // of this node leaving it alone; the others do not know
	left time.Time // until when
}

func newAccount(conf ACME, v *vault, first bool) (*account, error) {
	g, err := newGate(conf.Trust)
	if err != nil {
		return nil, err
	}
	a := &account{
		conf: conf, gate: g, vault: v, file: accountKeyFile,
		client: &xacme.Client{
			DirectoryURL: conf.Directory,
			HTTPClient:   &http.Client{Transport: g},
			RetryBackoff: g.backoff,
			UserAgent:    "gatehouse",
		},
	}
	if !first {
		a.file = "account@" + directoryFolder(conf.Directory) + ".pem"
	}
	return a, nil
}

// prepare makes sure that the account is there: the key is read or made, and registered. Registering a key that is known already
// gives the account that it has (RFC 8555 section 7.3.1), so nodes that do so at the same time have one account.
func (a *account) prepare(ctx context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ready {
		return nil
	}
	if err := a.loadKey(ctx); err != nil {
		return err
	}
	registration := &xacme.Account{}
	if a.conf.Email != "" {
		registration.Contact = []string{"mailto:" + a.conf.Email}
	}
	if eab := a.conf.EAB; eab != nil {
		mac, err := eab.key()
		if err != nil {
			return err
		}
		registration.ExternalAccountBinding = &xacme.ExternalAccountBinding{KID: eab.KID, Key: mac}
	}
	if _, err := a.client.Register(ctx, registration, xacme.AcceptTOS); err != nil && !errors.Is(err, xacme.ErrAccountAlreadyExists) {
		return fmt.Errorf("acme: register at %s: %w", a.conf.Directory, err)
	}
	a.ready = true
	return nil
}

// errNoAccountKey marks what is wrong with this node, or with what it shares, and not with the issuer.
var errNoAccountKey = errors.New("acme: this node has no use of its account key")

// hasKey makes sure that the account's key is there, which needs no issuer.
func (a *account) hasKey(ctx context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ready {
		return nil
	}
	return a.loadKey(ctx)
}

// loadKey reads or makes the key. a.mu is held.
func (a *account) loadKey(ctx context.Context) error {
	text, err := a.vault.secret(ctx, accountKeyOf(a.conf.Directory, "account"), a.file, newAccountKey)
	if err != nil {
		return fmt.Errorf("%w: %w", errNoAccountKey, err)
	}
	signer, err := parseKey(text)
	if err != nil {
		return fmt.Errorf("%w: %w", errNoAccountKey, err)
	}
	key, ok := signer.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		return fmt.Errorf("%w: it is %T, want ECDSA P-256", errNoAccountKey, signer)
	}
	a.client.Key = key
	a.gate.signWith(key)
	return nil
}

// keepShared has the account's key stay where nodes share it, sealed by the present key, also while nothing is ordered for months. It makes none.
func (a *account) keepShared(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, sharedWait)
	defer cancel()
	if _, err := a.vault.secret(ctx, accountKeyOf(a.conf.Directory, "account"), a.file, nil); err != nil {
		return fmt.Errorf("acme: account key: %w", err)
	}
	return nil
}

func newAccountKey() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}

// resting returns until when the issuer wants no orders; zero if it takes them. All nodes heed what one was told.
func (a *account) resting(ctx context.Context) time.Time {
	a.mu.Lock()
	until := a.until
	a.mu.Unlock()
	if a.vault.shared != nil && !time.Now().Before(until) {
		if found, err := a.vault.shared.Read(ctx, accountKeyOf(a.conf.Directory, "until")); err == nil && found[0] != nil {
			// What is later than any node writes is somebody else's doing, and would hold up all orders.
			if unix, err := strconv.ParseInt(string(found[0]), 10, 64); err == nil && time.Until(time.Unix(unix, 0)) < mostFailWait {
				until = time.Unix(unix, 0)
			}
		}
	}
	if !time.Now().Before(until) {
		return time.Time{}
	}
	return until
}

// leave has this node alone leave the issuer alone for a while: what is in the way may be in the node's way only, so the others go on.
func (a *account) leave(why error, wait time.Duration) (until time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.why, a.left = why, time.Now().Add(wait)
	return a.left
}

// alone returns until when this node leaves the issuer alone, and why; nil: it does not.
func (a *account) alone() (until time.Time, why error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !time.Now().Before(a.left) {
		return time.Time{}, nil
	}
	return a.left, a.why
}

// rest notes for all nodes that the issuer wants no orders for a while (429 with Retry-After).
func (a *account) rest(ctx context.Context, wait time.Duration) (until time.Time) {
	until = time.Now().Add(wait)
	a.mu.Lock()
	a.until = until
	a.mu.Unlock()
	if a.vault.shared == nil {
		return until
	}
	text := strconv.FormatInt(until.Unix(), 10)
	if err := a.vault.shared.Write(ctx, accountKeyOf(a.conf.Directory, "until"), []byte(text), wait); err != nil {
		a.vault.log.Warn("other nodes do not know that the issuer wants no orders", "issuer", a.host(), "until", until, "err", err)
	}
	return until
}

// host names the issuer in logs.
func (a *account) host() string {
	folder := directoryFolder(a.conf.Directory)
	return folder[:strings.LastIndexByte(folder, '-')]
}
