package acme

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// The issuers that Options.Issuer names.
const (
	IssuerInternal = "internal"
	IssuerACME     = "acme"
)

const defaultMaxMinted = 10000

// Options configure a Manager. Data and Known are required; the rest has
// defaults.
type Options struct {
	// Data is the folder for what must survive a restart: the internal CA (ca/),
	// issued certificates and account keys (certs/), OCSP responses (ocsp/), ticket keys
	// (tickets/), keys of ECH (ech/), and what Notify was told of (told.json). It is created if absent. Two running Managers must
	// not share it. Empty is an error.
	Data string

	// Issuer says who issues the certificate of a name without certificate files:
	// "internal", the node's own CA, which needs no network, or "acme". Empty is
	// "internal".
	Issuer string

	// ACME says where certificates are ordered. It is read only if Issuer is
	// "acme".
	ACME ACME

	// Fallbacks are the issuers that come after ACME, in order: for a name whose orders fail, and while one before wants no orders.
	Fallbacks []ACME

	// DNSHook is a program that publishes the records of DNS-01, which wildcards need; see dnsHook. Empty: none.
	DNSHook string

	// DNS publishes them in its place; one of both is an error. Without either, wildcards are not ordered.
	DNS DNSPublisher

	// OrdersPerTenant bounds what one tenant orders within three hours, on all nodes. 0: no bound.
	OrdersPerTenant int

	// Tenant is whose a canonical name is, for OrdersPerTenant and for turns: half of a node's orders under way are one tenant's at most. It must not block.
	// Nil: all are one's.
	Tenant func(host string) string

	// ECH is Encrypted Client Hello. The zero value: it is not offered.
	ECH ECH

	// Shared is what this node has in common with others. Nil: it is alone.
	Shared Shared

	// Keys seal what is shared. Required with Shared.
	Keys *Keyring

	// Node tells this node from others, in leases. Empty: "node".
	Node string

	// ARIEvery is the longest pause between two questions when to renew (RFC 9773). 0: as the issuer says, six hours if it does not.
	ARIEvery time.Duration

	// HTTPPort and TLSPort are where issuers validate, for the check of which challenge can be met. Empty: "80" and "443".
	HTTPPort, TLSPort string

	// Known reports whether a canonical name (lower case, A-labels, no trailing
	// dot) is served: by an exact vhost, a wildcard or "*". It is called in each
	// handshake, from many goroutines, and must not block. Nil is an error.
	Known func(host string) bool

	// Binding appends to dst what session tickets of a canonical name are bound to beside
	// the name: a ticket opens only while it is what it was when the ticket was sealed. It
	// is called in handshakes, from many goroutines, and must not block; it allocates only
	// where dst has too little room. Nil binds them to the name alone.
	Binding func(dst []byte, name string) []byte

	// AllowPrivateResponders lets OCSP requests, and the check of which challenge can be met, go to loopback, private and
	// link-local addresses. The responder's address comes out of an uploaded
	// certificate, so this lets whoever uploads certificates make the node send
	// requests into its own network (SSRF). It is meant for tests and for sites
	// whose own CA answers on such an address.
	AllowPrivateResponders bool

	// MaxMinted bounds how many certificates of the internal CA are held, in
	// number. A quarter of them is for names that only a wildcard or "*" covers,
	// so that made-up names below a wildcard cannot push out the others. The
	// least recently used goes first and is minted again when needed. Zero is
	// 10000; less than 8 counts as 8.
	MaxMinted int

	// Logger receives what an operator should read. Nil discards it.
	Logger *slog.Logger

	// Notify is told of what operators want to hear of without asking. It is called from several goroutines, and must not block. Nil:
	// nobody is told.
	Notify func(Notice)

	// Registerer gets the gatehouse_* metrics of this package. Nil registers none.
	Registerer prometheus.Registerer
}

// ACME describes the issuer's account and directory.
type ACME struct {
	// Directory is the https URL of the directory (RFC 8555 section 7.1.1).
	Directory string

	// Email is the account's contact; empty registers none.
	Email string

	// Trust is a PEM file with roots that vouch for the directory's own TLS
	// certificate, beside the system's roots. Empty trusts the system's only.
	Trust string

	// EAB binds the account to one at the CA (RFC 8555 section 7.3.4). Nil if the
	// CA does not ask for it.
	EAB *EAB

	// Profile is the certificates' profile, as the directory names them. Empty leaves it to the CA.
	Profile string

	// Challenge is the type of challenge that orders keep to: "http-01", "tls-alpn-01" or "dns-01". Empty: "dns-01" for wildcards, and else
	// the one by which the CA is likely to reach this node, found out before each attempt.
	Challenge string
}

// EAB is an external account binding as the CA hands it out.
type EAB struct {
	KID  string // key identifier
	HMAC string // key, base64url or base64, with or without padding
}

// withDefaults resolves the defaults and checks the rest.
func (o Options) withDefaults() (Options, error) {
	if o.Data == "" {
		return o, errors.New("acme: no data folder given")
	}
	if o.Known == nil {
		return o, errors.New("acme: no Known function given")
	}
	if o.Issuer == "" {
		o.Issuer = IssuerInternal
	}
	switch o.Issuer {
	case IssuerInternal:
	case IssuerACME:
		for _, a := range append([]ACME{o.ACME}, o.Fallbacks...) {
			if err := a.validate(); err != nil {
				return o, err
			}
		}
	default:
		return o, fmt.Errorf("acme: issuer %q is unknown: internal or acme", o.Issuer)
	}
	if o.DNSHook != "" && o.DNS != nil {
		return o, errors.New("acme: both DNSHook and DNS would publish the records of dns-01")
	}
	if o.Shared != nil && o.Keys == nil {
		return o, errors.New("acme: what is shared has to be sealed: no keys given")
	}
	if err := o.ECH.withDefaults(); err != nil {
		return o, err
	}
	if o.Tenant == nil {
		o.Tenant = func(string) string { return "" }
	}
	o.Node, o.HTTPPort, o.TLSPort = cmp.Or(o.Node, "node"), cmp.Or(o.HTTPPort, "80"), cmp.Or(o.TLSPort, "443")
	if o.MaxMinted == 0 {
		o.MaxMinted = defaultMaxMinted
	}
	o.MaxMinted = max(o.MaxMinted, 8)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o, nil
}

func (a ACME) validate() error {
	if a.Directory == "" {
		return errors.New("acme: issuer acme needs the URL of its directory")
	}
	u, err := url.Parse(a.Directory)
	if err != nil {
		return fmt.Errorf("acme: directory: %w", err)
	}
	if u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("acme: directory %q is not an https URL", a.Directory)
	}
	switch a.Challenge {
	case "", challengeHTTP, challengeALPN, challengeDNS:
	default:
		return fmt.Errorf("acme: challenge %q is unknown: http-01, tls-alpn-01 or dns-01", a.Challenge)
	}
	if a.EAB == nil {
		return nil
	}
	if a.EAB.KID == "" {
		return errors.New("acme: eab has no kid")
	}
	_, err = a.EAB.key()
	return err
}

// key decodes the HMAC key. CAs print it in either alphabet of RFC 4648.
func (e *EAB) key() ([]byte, error) {
	text := strings.TrimRight(strings.NewReplacer("+", "-", "/", "_").Replace(e.HMAC), "=")
	key, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("acme: eab hmac is not base64: %w", err)
	}
	if len(key) == 0 {
		return nil, errors.New("acme: eab has no hmac")
	}
	return key, nil
}
