package acme

import (
	"encoding/hex"
	"slices"
	"strings"
	"time"
)

// Source says where a certificate comes from.
type Source string

// The sources of certificates.
const (
	SourceInternal Source = "internal" // this node's own CA
	SourceACME     Source = "acme"     // ordered from the ACME issuer
	SourceFile     Source = "file"     // certificate files attached to the name
	SourceImported Source = "imported" // brought in by Manager.Import
)

// The states of stapling.
const (
	StapleNone    = "none"    // the certificate names no responder, or its issuer is not in the chain
	StaplePending = "pending" // no valid response yet
	StapleGood    = "good"    // a response is stapled
	StapleRevoked = "revoked" // the issuer has revoked the certificate; nothing is stapled
	StapleExpired = "expired" // the last response ran out before a new one came
)

// Status describes what is served for one name of the table, or what was imported for another. Times are zero if
// they do not apply; an internal certificate that no handshake has asked for yet
// has none.
type Status struct {
	Name        string    `json:"name"`   // canonical; may be "*" or start with "*."
	Issuer      string    `json:"issuer"` // common name, else organization, else unit
	Source      Source    `json:"source"`
	Stray       bool      `json:"stray,omitempty"` // not of the table: something was imported for it, which may serve other names
	Set         string    `json:"set,omitempty"`   // what it shares its certificate under, see Change.Set; empty: it has one of its own
	NotBefore   time.Time `json:"not_before,omitzero"`
	NotAfter    time.Time `json:"not_after,omitzero"`
	KeyType     string    `json:"key_type"` // as "ECDSA P-256", "RSA 2048"
	Staple      string    `json:"staple"`   // none, pending, good, revoked, expired
	StapleUntil time.Time `json:"staple_until,omitzero"`
	Warning     string    `json:"warning,omitempty"`     // why clients may refuse what is served
	LastError   string    `json:"last_error,omitempty"`  // of files, orders or stapling, the first of these
	Problem     string    `json:"problem,omitempty"`     // the most important thing that is wrong, in plain words
	LastTry     time.Time `json:"last_try,omitzero"`     // when the last order ended, or was put off
	NextTry     time.Time `json:"next_try,omitzero"`     // next order or renewal
	Fingerprint string    `json:"fingerprint,omitempty"` // SHA-256 of the certificate, in hex; of none from the internal CA
}

// List describes each name of the table, and each other that something was imported for, sorted by name. It reads memory only and
// may be called at any time.
func (m *Manager) List() []Status {
	names := m.store.patterns()
	list := make([]Status, 0, len(names))
	for _, name := range names {
		list = append(list, m.status(name))
	}
	list = append(list, m.strays(names)...)
	slices.SortFunc(list, func(a, b Status) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// StatusOf is List for one name; ok is false if that does not have it.
func (m *Manager) StatusOf(name string) (st Status, ok bool) {
	pattern, ok := canonicalPattern(name)
	if !ok {
		return Status{}, false
	}
	if m.store.isTold(pattern) {
		return m.status(pattern), true
	}
	l := m.store.imported(pattern)
	if l == nil {
		return Status{}, false
	}
	return m.stray(pattern, l, m.known(knownAs(pattern)) || m.store.hasNamesBelow(pattern)), true
}

func (m *Manager) status(name string) Status {
	now := time.Now()
	st := Status{
		Name: name, Source: SourceInternal, Staple: StapleNone,
		Issuer: issuerName(m.authority.cert), KeyType: "ECDSA P-256",
	}
	l := m.store.own(name)
	if isExact(name) {
		l = m.store.find(name, now)
	}
	var stapleErr error
	if l != nil {
		st.Source, st.Issuer, st.KeyType = l.source, l.issuer, l.keyType
		st.NotBefore, st.NotAfter, st.Fingerprint = l.notBefore, l.notAfter, hex.EncodeToString(l.digest[:])
		st.Warning = l.oddities(name, now)
		st.Staple, st.StapleUntil, stapleErr = m.stapler.status(l)
	} else if minted := m.minter.peek(name, true); minted != nil {
		st.NotBefore, st.NotAfter, st.NextTry = minted.notBefore, minted.notAfter, minted.renew
	}
	var orderErr error
	if m.issuer != nil {
		st.Set = m.issuer.setOf(name)
		next, tried, err := m.issuer.status(name)
		if at := m.store.takenOver(name); at.After(now) && !at.Equal(never) && !next.IsZero() {
			next = at // till then it is looked at, and not ordered
		}
		if err != nil || !next.IsZero() {
			orderErr, st.NextTry, st.LastTry = err, next, tried
		}
	}
	fileErr := m.Problem(name)
	for _, err := range []error{fileErr, orderErr, stapleErr} {
		if err != nil {
			st.LastError = err.Error()
			break
		}
	}
	st.Problem = st.problem(fileErr, orderErr, stapleErr)
	if st.Problem == "" && l == nil && m.issuer != nil && !m.issuer.orders(name) {
		st.Problem = NotOrdered(name)
	}
	if st.Problem == "" && m.issuer != nil && m.issuer.isPaused(name) {
		st.Problem = "it is suspended: nothing is ordered or renewed for it"
	}
	return st
}

// problem is what an operator should look at first.
func (st *Status) problem(fileErr, orderErr, stapleErr error) string {
	switch {
	case fileErr != nil:
		return oneLine(fileErr.Error(), mostDetail)
	case orderErr != nil:
		return Explain(st.Name, orderErr.Error(), st.NextTry)
	case st.Staple == StapleRevoked && st.Source == SourceACME:
		return "the issuer has revoked the certificate: another one is ordered"
	case st.Staple == StapleRevoked:
		return "the issuer has revoked the certificate: replace it"
	case st.Warning != "":
		return st.Warning
	case stapleErr != nil:
		return "no fresh OCSP response: " + oneLine(stapleErr.Error(), mostDetail)
	}
	return ""
}
