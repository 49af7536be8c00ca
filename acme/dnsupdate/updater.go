// Package dnsupdate publishes the TXT records of DNS-01 (RFC 8555 section 8.4) by dynamic updates of the DNS (RFC 2136), signed with a
// shared key (TSIG, RFC 8945). BIND, Knot, PowerDNS, NSD's primaries and Windows' DNS take them.
//
// An Updater is what package acme calls a DNSPublisher. For each record it
//
//  1. follows the CNAMEs at the record's name, by which zones delegate their challenges to another zone,
//  2. finds the zone that the name is in, where the settings name none,
//  3. adds exactly one TXT record; others at the name stay, since a name and its wildcard have one each at the same time,
//  4. asks the zone's name servers until all have it.
//
// It is not for other records, and not for zones of which the server is only a secondary.
package dnsupdate

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/miekg/dns"
)

// The defaults of Options.
const (
	DefaultTTL     = time.Minute
	DefaultTimeout = 2 * time.Minute
)

// Options configure an Updater. Server and Key are required.
type Options struct {
	// Server is the address ("host:port") of the server that takes the updates, over TCP.
	Server string

	// Key signs the updates.
	Key Key

	// Zone is the domain name of the zone that all records are in. Empty: Server is asked, from the record's name upwards.
	Zone string

	// TTL is that of the records, in whole seconds. Zero: a minute.
	TTL time.Duration

	// Nameservers are the addresses ("host:port") that have to have a record before it counts as published. None: those that the zone's NS records
	// name, at port 53.
	Nameservers []string

	// Resolver is the address ("host:port") of the recursive server that CNAMEs are looked up at. Empty: those of /etc/resolv.conf.
	Resolver string

	// Timeout bounds how long a record takes to be published, in all. Zero: two minutes.
	Timeout time.Duration
}

// An Updater changes records of a zone. Its methods are safe for concurrent use; they block until the servers have answered, for
// Options.Timeout at most.
type Updater struct {
	server, zone, resolver string
	nameservers            []string
	key                    Key
	secrets                map[string]string // as package dns wants them
	ttl                    uint32
	timeout                time.Duration
	port                   string // of the servers that NS records name
}

// cleanUpTime bounds how long a record takes to be removed.
const cleanUpTime = 30 * time.Second

// New makes an Updater. It uses no network.
func New(o Options) (*Updater, error) {
	if o.Server == "" {
		return nil, errors.New("dns update: no server given")
	}
	if err := o.Key.check(); err != nil {
		return nil, fmt.Errorf("dns update: %w", err)
	}
	if _, ok := dns.IsDomainName(o.Zone); o.Zone != "" && !ok {
		return nil, fmt.Errorf("dns update: zone %q is no domain name", o.Zone)
	}
	if o.TTL == 0 {
		o.TTL = DefaultTTL
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	u := &Updater{
		server: o.Server, resolver: o.Resolver, nameservers: o.Nameservers, key: o.Key,
		ttl: uint32(o.TTL / time.Second), timeout: o.Timeout, port: "53",
	}
	if o.Zone != "" {
		u.zone = dns.CanonicalName(o.Zone)
	}
	u.key.Name, u.key.Algorithm = dns.CanonicalName(o.Key.Name), dns.CanonicalName(o.Key.Algorithm)
	u.secrets = map[string]string{u.key.Name: base64.StdEncoding.EncodeToString(o.Key.Secret)}
	return u, nil
}

// Present adds a TXT record with a value to the name of record ("_acme-challenge.shop.test."), and returns when the name servers have it. After
// an error it tries to take the record away again. Errors begin with "dns update: " and say what to do.
func (u *Updater) Present(ctx context.Context, record, value string) error {
	limited, cancel := context.WithTimeout(ctx, u.timeout)
	defer cancel()
	zone, txt, err := u.locate(limited, record, value)
	if err != nil {
		return fmt.Errorf("dns update: %w", err)
	}
	if err := u.change(limited, zone, func(m *dns.Msg) { m.Insert([]dns.RR{txt}) }); err != nil {
		return fmt.Errorf("dns update: %w", err)
	}
	if err := u.await(limited, zone, txt); err != nil {
		return errors.Join(fmt.Errorf("dns update: %w", err), u.CleanUp(context.WithoutCancel(ctx), record, value))
	}
	return nil
}

// CleanUp removes the record that Present has added, and no other. That it is not there is no error.
func (u *Updater) CleanUp(ctx context.Context, record, value string) error {
	ctx, cancel := context.WithTimeout(ctx, cleanUpTime)
	defer cancel()
	zone, txt, err := u.locate(ctx, record, value)
	if err == nil {
		err = u.change(ctx, zone, func(m *dns.Msg) { m.Remove([]dns.RR{txt}) })
	}
	if err != nil {
		return fmt.Errorf("dns update: %w", err)
	}
	return nil
}

// locate finds out where the record has to be, and in which zone that is.
func (u *Updater) locate(ctx context.Context, record, value string) (zone string, txt *dns.TXT, err error) {
	name, err := u.follow(ctx, dns.CanonicalName(record))
	if err != nil {
		return "", nil, err
	}
	if zone, err = u.zoneOf(ctx, name); err != nil {
		return "", nil, err
	}
	return zone, &dns.TXT{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: u.ttl}, Txt: []string{value}}, nil
}
