package main

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"gatehouse/acme"
	"gatehouse/acme/dnsupdate"
	"gatehouse/routes"
)

// DNSUpdate says where the records of dns-01 are published by updates of the DNS (RFC 2136). Without a server: nowhere.
type DNSUpdate struct {
	Server string `json:"server" help:"name server that takes signed updates, for dns-01: host[:port]"`
	// Zone that all records are in. Empty: the server is asked.
	Zone string `json:"zone" help:"zone of the records; empty: the server is asked"`
	// KeyName and Algorithm may stand in the key's file instead.
	KeyName   string `json:"key_name" help:"name of the key that signs the updates (TSIG)"`
	Algorithm string `json:"algorithm" help:"of the key: hmac-sha256, hmac-sha384 or hmac-sha512"`
	// Key is the secret in base64, or "file:PATH" of that or of what tsig-keygen writes.
	Key string          `json:"key" help:"the key: file:PATH as tsig-keygen writes it, or its secret in base64"`
	TTL routes.Duration `json:"ttl" help:"of the records"`
	// Nameservers have to have a record before the issuer is asked to look. None: those of the zone's NS records.
	Nameservers []string `json:"nameservers" help:"name servers that must have a record before it counts: host[:port]; none: the zone's"`
	// Resolver finds out where CNAMEs lead. Empty: those of the system.
	Resolver string `json:"resolver" help:"resolver that CNAMEs are looked up at: host[:port]; empty: the system's"`
	// Timeout bounds how long a record takes to be with all name servers.
	Timeout routes.Duration `json:"timeout" help:"longest time until all name servers have a record"`
}

var defaultDNSUpdate = DNSUpdate{TTL: routes.Duration(dnsupdate.DefaultTTL), Timeout: routes.Duration(dnsupdate.DefaultTimeout)}

const dnsUpdatePath = "certificates.acme.dns_update."

// The bounds of settings: an order of which nobody knows how it stands is given up after ten minutes.
const (
	maxRecordTTL     = 24 * time.Hour
	maxUpdateTimeout = 8 * time.Minute
)

// checkDNSUpdate reports what keeps updates from being made, as far as no network is needed to know it.
func (l *loader) checkDNSUpdate() {
	u := &l.cfg.Certificates.ACME.DNSUpdate
	if u.Server == "" {
		if u.Zone != "" || u.KeyName != "" || u.Algorithm != "" || u.Key != "" || len(u.Nameservers) > 0 || u.Resolver != "" {
			l.fail(dnsUpdatePath+"server", "updates need the server that takes them, such as ns1.example.com", "")
		}
		return
	}
	if l.cfg.Certificates.ACME.DNSHook != "" {
		l.fail(dnsUpdatePath+"server", "certificates.acme.dns_hook publishes the records already: leave one of both out", "")
	}
	l.checkNameServer("server", &u.Server)
	for i := range u.Nameservers {
		l.checkNameServer("nameservers", &u.Nameservers[i])
	}
	if u.Resolver != "" {
		l.checkNameServer("resolver", &u.Resolver)
	}
	if u.Zone != "" {
		if _, err := routes.CanonicalHost(u.Zone); err != nil {
			l.fail(dnsUpdatePath+"zone", fmt.Sprintf("bad zone %q: %v", u.Zone, err), "")
		}
	}
	if ttl := time.Duration(u.TTL); ttl < time.Second || ttl > maxRecordTTL {
		l.fail(dnsUpdatePath+"ttl", fmt.Sprintf("bad time %v: want 1s to 1d", u.TTL), "")
	}
	if wait := time.Duration(u.Timeout); wait < time.Second || wait > maxUpdateTimeout {
		l.fail(dnsUpdatePath+"timeout", fmt.Sprintf("bad time %v: want 1s to 8m, as an order is given up after ten minutes", u.Timeout), "")
	}
	l.checkUpdateKey(u)
}

// checkNameServer also completes the address.
func (l *loader) checkNameServer(setting string, address *string) {
	full := *address
	if _, _, err := net.SplitHostPort(full); err != nil {
		full = net.JoinHostPort(strings.Trim(full, "[]"), "53")
	}
	if host, _, err := net.SplitHostPort(full); err == nil && host == "" {
		l.fail(dnsUpdatePath+setting, fmt.Sprintf("bad address %q: the host is missing", *address), "")
		return
	}
	if reason, _ := checkAddress(full); reason != "" {
		l.fail(dnsUpdatePath+setting, fmt.Sprintf("bad address %q: want host or host:port, such as ns1.example.com or 192.0.2.1:53", *address), "")
		return
	}
	*address = full
}

func (l *loader) checkUpdateKey(u *DNSUpdate) {
	if u.Algorithm != "" {
		algorithm := strings.ToLower(u.Algorithm)
		if algorithm == "hmac-sha1" || algorithm == "hmac-md5" {
			l.fail(dnsUpdatePath+"algorithm", algorithm+" is too weak to be taken: make another key, with tsig-keygen -a hmac-sha256", dnsupdate.DefaultAlgorithm)
			return
		}
		if u.Algorithm = algorithm; !slices.Contains(dnsupdate.Algorithms, algorithm) {
			l.oneOf(dnsUpdatePath+"algorithm", algorithm, dnsupdate.Algorithms)
			return
		}
	}
	if u.Key == "" {
		l.fail(dnsUpdatePath+"key", "updates are signed: want file:PATH as tsig-keygen writes it, or its secret in base64", "")
		return
	}
	if path, is := strings.CutPrefix(u.Key, "file:"); is {
		u.Key = "file:" + l.fromFile(dnsUpdatePath+"key", path)
	}
	key, err := u.key()
	switch {
	case err != nil:
		l.fail(dnsUpdatePath+"key", err.Error(), "") // which tells nothing of it
	case key.Name == "":
		l.fail(dnsUpdatePath+"key_name", "the key has no name: want the one that the server knows it by", "")
	}
}

// key reads the key. An error tells nothing of its secret.
func (u *DNSUpdate) key() (dnsupdate.Key, error) {
	text, from := u.Key, ""
	if path, is := strings.CutPrefix(text, "file:"); is {
		content, err := routes.ReadFile(path, maxSealKey)
		if err != nil {
			return dnsupdate.Key{}, fmt.Errorf("%s: %s", path, unreadable(err))
		}
		text, from = string(content), path+": "
	}
	k, err := dnsupdate.ParseKey(text)
	if err != nil {
		return k, fmt.Errorf("%s%w", from, err)
	}
	for _, part := range []struct {
		setting, told string
		in            *string
	}{{"key_name", u.KeyName, &k.Name}, {"algorithm", u.Algorithm, &k.Algorithm}} {
		switch {
		case *part.in == "":
			*part.in = part.told
		case part.told != "" && !strings.EqualFold(strings.TrimSuffix(*part.in, "."), strings.TrimSuffix(part.told, ".")):
			return k, fmt.Errorf("%sit has another %s, %s: leave the setting out", from, part.setting, *part.in)
		}
	}
	if k.Algorithm == "hmac-sha1" || k.Algorithm == "hmac-md5" {
		return k, fmt.Errorf("%s%s is too weak to be taken: make another key, with tsig-keygen -a hmac-sha256", from, k.Algorithm)
	}
	if k.Name != "" { // what is wrong beside
		_, err = dnsupdate.New(dnsupdate.Options{Server: u.Server, Key: k})
	}
	if err != nil {
		return k, errors.New(from + strings.TrimPrefix(err.Error(), "dns update: "))
	}
	return k, nil
}

// publisher is what publishes records by updates; nil: nothing does.
func (u *DNSUpdate) publisher() (acme.DNSPublisher, error) {
	if u.Server == "" {
		return nil, nil
	}
	key, err := u.key()
	if err != nil {
		return nil, fmt.Errorf("%skey: %w", dnsUpdatePath, err)
	}
	return dnsupdate.New(dnsupdate.Options{
		Server: u.Server, Key: key, Zone: u.Zone, TTL: time.Duration(u.TTL), Nameservers: u.Nameservers, Resolver: u.Resolver, Timeout: time.Duration(u.Timeout),
	})
}
