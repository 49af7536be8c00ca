package acme

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	xacme "golang.org/x/crypto/acme"
)

// ALPNProto is the protocol of TLS-ALPN-01 validation (RFC 8737). It must stand in
// tls.Config.NextProtos, last. A connection that negotiates it is closed after the
// handshake; it carries no data.
const ALPNProto = xacme.ALPNProto

// filePoll is how often certificate files are looked at.
const filePoll = 10 * time.Second

// Manager holds the certificates of a node. Its methods are safe for concurrent
// use. Those that handshakes and requests use, GetCertificate, WrapSession,
// UnwrapSession, EncryptedClientHelloKeys, Challenge, Covers and Trusted, do no I/O for a name whose certificate is in memory; GetCertificate and Challenge say what else
// they do.
type Manager struct {
	known      func(string) bool
	log        *slog.Logger
	metrics    *metrics
	authority  *authority
	store      *store
	minter     *minter
	challenges *challenges
	issuer     *issuer // nil unless Options.Issuer is acme
	stapler    *stapler
	files      *certFiles
	imports    *imports
	fleet      *fleet // nil: this node shares nothing
	tickets    *tickets
	ech        *echKeys // nil: it is off
	notices    *notices
	running    atomic.Bool

	updating sync.Mutex // one Update at a time, so that changes apply in order
}

// New loads or creates what stands in the data folder: the internal CA, issued
// certificates, OCSP responses, keys of tickets and of ECH. It uses no network and starts no
// goroutine.
func New(o Options) (*Manager, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.Data, 0o755); err != nil {
		return nil, fmt.Errorf("acme: data folder: %w", err)
	}
	m := &Manager{
		known:      o.Known,
		log:        o.Logger,
		metrics:    newMetrics(),
		store:      newStore(),
		challenges: newChallenges(),
		notices:    newNotices(o),
	}
	if m.authority, err = openAuthority(filepath.Join(o.Data, "ca")); err != nil {
		return nil, err
	}
	m.minter = newMinter(m.authority, o.MaxMinted, m.metrics.minted)
	if m.tickets, err = openTickets(o, m.metrics.tickets); err != nil {
		return nil, err
	}
	if m.ech, err = openECH(o, time.Now()); err != nil {
		return nil, err
	}
	if m.stapler, err = newStapler(o, m.metrics.fetches); err != nil {
		return nil, err
	}
	m.files = newCertFiles(m.store, m.judge, m.replaced, o.Logger)
	if o.Issuer == IssuerACME {
		if m.issuer, err = newIssuer(o, m.store, m.challenges, m.authority, m.metrics.orders); err != nil {
			return nil, err
		}
		m.issuer.replaced = m.replaced
		m.issuer.notices = m.notices
	}
	m.stapler.revoked = m.revoked
	if m.imports, err = newImports(o, m.store, m.replaced); err != nil {
		return nil, err
	}
	if m.issuer != nil {
		m.imports.removed = m.issuer.uncovered
	}
	if o.Shared != nil {
		m.fleet = newFleet(m, o.Shared)
		if m.issuer != nil {
			m.issuer.fleet = m.fleet
		}
	}
	return m, m.register(o.Registerer)
}

// judge marks leaves of the internal CA that came in as files.
func (m *Manager) judge(l *leaf) { l.internal = m.authority.issued(l.served.Load()) }

// replaced moves the stapler from one leaf to its successor; both may be nil. The
// new one is held first, so that a stored response of the same certificate stays.
func (m *Manager) replaced(old, l *leaf) {
	m.stapler.hold(l)
	m.stapler.release(old)
}

// revoked has a certificate replaced that its issuer has revoked, if that can be done here.
func (m *Manager) revoked(l *leaf) {
	m.notices.revoked(l)
	if m.issuer != nil {
		m.issuer.revoked(l)
	}
}

// Run orders and renews certificates, fetches OCSP responses, rotates the keys of tickets and ECH
// and re-reads certificate files. It returns nil when ctx has ended and all of
// that has stopped, an error only if it was called before: a Manager runs once.
func (m *Manager) Run(ctx context.Context) error {
	if m.running.Swap(true) {
		return errors.New("acme: manager was run before")
	}
	var parts sync.WaitGroup
	if m.issuer != nil {
		parts.Go(func() { m.issuer.run(ctx) })
	}
	if m.fleet != nil {
		parts.Go(func() { m.fleet.run(ctx) })
	}
	parts.Go(func() {
		if m.imports.load(ctx); m.fleet != nil && m.store.hasStrays() {
			m.fleet.lookSoon() // the look at the start may not have known of them
		}
	})
	parts.Go(func() { m.stapler.run(ctx) })
	parts.Go(func() { m.tickets.run(ctx) })
	if m.ech != nil {
		parts.Go(func() { m.runECH(ctx) })
	}
	parts.Go(func() { m.watch(ctx) })
	parts.Go(func() { m.notices.run(ctx, m) })
	parts.Wait()
	return nil
}

func (m *Manager) watch(ctx context.Context) {
	ticker := time.NewTicker(filePoll)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			m.files.poll(ctx)
			m.stapler.sweep()
		}
	}
}

// GetCertificate is tls.Config's hook. It serves, in this order: the answer to a
// pending TLS-ALPN-01 challenge, the certificate file of the name, that of its
// wildcard, what was imported for the name, for its wildcard, the issued certificate, that of the wildcard, the file of "*", the internal CA's. A name that
// is in the table itself gets the file of a wildcard or of "*" only if that covers
// it; a name below a wildcard of the table gets that of "*" only if that covers it.
//
// It returns nil, nil for an absent, malformed or unknown server name, which Go
// turns into the alert unrecognized_name (112) without showing any certificate.
func (m *Manager) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name, ok := canonicalName(hello.ServerName)
	if !ok {
		return nil, nil
	}
	if len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == ALPNProto {
		return m.challenge(name), nil
	}
	if !m.known(name) {
		return nil, nil
	}
	if l := m.store.find(name, time.Now()); l != nil {
		return l.served.Load(), nil
	}
	ctx := hello.Context()
	if ctx == nil { // a hello that no handshake made
		ctx = context.Background()
	}
	if l := m.demand(ctx, name, true); l != nil {
		return l.served.Load(), nil
	}
	return m.minter.get(ctx, name, m.store.isTold(name))
}

// challenge returns the answer to TLS-ALPN-01, nil if there is none.
func (m *Manager) challenge(name string) *tls.Certificate {
	cert := m.challenges.certificate(name)
	if cert == nil && m.shares() && m.known(name) {
		m.issuer.solver.borrowCertificate(name)
		cert = m.challenges.certificate(name)
	}
	return cert
}

// demand returns the certificate of a name: from memory, nearly always. After a start it may still be in the folder, or, if ask, with the
// other nodes.
func (m *Manager) demand(ctx context.Context, name string, ask bool) *leaf {
	now := time.Now()
	if l := m.store.find(name, now); l != nil {
		return l
	}
	m.imports.demand(name)
	if l := m.store.find(name, now); l != nil || m.issuer == nil {
		return l
	}
	m.issuer.demand(ctx, name, ask)
	return m.store.find(name, now)
}

// WrapSession seals a session ticket for tls.Config.WrapSession. It can be opened
// on this node only, under the same server name and Options.Binding, for 24 to 36 hours.
func (m *Manager) WrapSession(cs tls.ConnectionState, state *tls.SessionState) ([]byte, error) {
	return m.tickets.wrap(cs, state)
}

// UnwrapSession opens a session ticket for tls.Config.UnwrapSession. It returns
// nil, nil, which leads to a full handshake, for a ticket of another server name or
// binding, of a name that is not known any more, of an old key, or not of ours.
func (m *Manager) UnwrapSession(ticket []byte, cs tls.ConnectionState) (*tls.SessionState, error) {
	return m.tickets.unwrap(ticket, cs)
}

// Challenge answers an HTTP-01 validation request (RFC 8555 section 8.3) while an
// order for the host is under way, here or on another node; for that it may wait a quarter of a second. The host may carry a port.
func (m *Manager) Challenge(host, path string) (body []byte, ok bool) {
	if m.challenges.pending.Load() == 0 && !m.shares() {
		return nil, false
	}
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if host, ok = canonicalName(host); !ok {
		return nil, false
	}
	if body, ok = m.challenges.token(host, path); !ok && m.shares() && m.known(host) {
		m.issuer.solver.borrowToken(path)
		body, ok = m.challenges.token(host, path)
	}
	return body, ok
}

// shares reports whether other nodes order certificates of the same names.
func (m *Manager) shares() bool { return m.issuer != nil && m.issuer.fleet != nil }

// Covers reports whether the certificate that a handshake with this server name
// gets verifies for host too; both are canonical. A name always covers itself,
// even if its certificate file does not fit it: the operator chose that file, and
// the client has accepted it.
func (m *Manager) Covers(sni, host string) bool {
	if sni == host {
		return sni != ""
	}
	l := m.demand(context.Background(), sni, false)
	return l != nil && l.covers(host)
}

// Trusted reports whether the certificate served for a canonical host is one that
// the internal CA did not issue. It follows GetCertificate: the file of another entry
// of the table counts only if it covers host, since only then it is served for it.
func (m *Manager) Trusted(host string) bool {
	l := m.demand(context.Background(), host, false)
	return l != nil && !l.internal
}

// CAFile returns the path of the internal CA's certificate, in PEM form; clients
// that shall trust internal certificates take it as a root.
func (m *Manager) CAFile() string { return m.authority.certFile }

// Problem returns why the certificate files attached to a name are not served, nil
// if they are or there are none. The name may be "*" or start with "*.".
func (m *Manager) Problem(name string) error {
	pattern, ok := canonicalPattern(name)
	if !ok {
		return nil
	}
	return m.files.problem(pattern)
}
