package main

import (
	"path/filepath"
	"testing"
	"time"

	"gatehouse/acme/dnsupdate"
	"gatehouse/routes"
)

const updateSecret = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

func TestDNSUpdateIsReadWithItsKey(t *testing.T) {
	file := filepath.Join(t.TempDir(), "acme.key")
	write(t, file, "key \"acme\" {\n\talgorithm hmac-sha512;\n\tsecret \""+updateSecret+"\";\n};\n")
	secret := []byte("0123456789abcdef0123456789abcdef")
	for text, expected := range map[string]dnsupdate.Key{
		"key: file:" + file:                                             {Name: "acme", Algorithm: "hmac-sha512", Secret: secret},
		"key: file:" + file + ", key_name: Acme.":                       {Name: "acme", Algorithm: "hmac-sha512", Secret: secret},
		"key_name: other, key: " + updateSecret:                         {Name: "other", Secret: secret},
		"key_name: other, algorithm: HMAC-SHA384, key: " + updateSecret: {Name: "other", Algorithm: "hmac-sha384", Secret: secret},
	} {
		cfg, problems := load(t, "certificates: {issuer: acme, acme: {challenge: dns-01, dns_update: {server: ns1.shop.test, "+text+"}}}\n", nil, nil)
		if len(problems) > 0 {
			t.Error(text, problems)
			continue
		}
		u := &cfg.Certificates.ACME.DNSUpdate
		key, err := u.key()
		if err != nil || key.Name != expected.Name || key.Algorithm != expected.Algorithm || string(key.Secret) != string(expected.Secret) {
			t.Errorf("%s: %+v, %v", text, key, err)
		}
		if p, err := u.publisher(); p == nil || err != nil {
			t.Errorf("%s: %v, %v", text, p, err)
		}
	}
	cfg, problems := load(t, "", []string{
		"GATEHOUSE_CERTIFICATES_ACME_DNS_UPDATE_SERVER=[2001:db8::1]", "GATEHOUSE_CERTIFICATES_ACME_DNS_UPDATE_KEY_FILE=" + file,
		"GATEHOUSE_CERTIFICATES_ACME_DNS_UPDATE_NAMESERVERS=192.0.2.1, ns2.shop.test:5353, 2001:db8::2",
		"GATEHOUSE_CERTIFICATES_ACME_DNS_UPDATE_TIMEOUT=30s",
	}, nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	u := cfg.Certificates.ACME.DNSUpdate
	want(t, "server", u.Server, "[2001:db8::1]:53")
	want(t, "name servers", len(u.Nameservers), 3)
	want(t, "an address", u.Nameservers[0], "192.0.2.1:53")
	want(t, "a port", u.Nameservers[1], "ns2.shop.test:5353")
	want(t, "IPv6", u.Nameservers[2], "[2001:db8::2]:53")
	want(t, "timeout", u.Timeout, routes.Duration(30*time.Second))
	want(t, "ttl", u.TTL, routes.Duration(time.Minute))
	if p, err := defaultConfig().Certificates.ACME.DNSUpdate.publisher(); p != nil || err != nil {
		t.Errorf("nothing is set, and it publishes: %v, %v", p, err)
	}
}

func TestDNSUpdateThatCannotWorkIsSaidAtItsPlace(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "acme.key")
	write(t, file, "key \"acme\" {\n\talgorithm hmac-sha256;\n\tsecret \""+updateSecret+"\";\n};\n")
	write(t, filepath.Join(folder, "old.key"), "key \"acme\" { algorithm hmac-md5; secret \""+updateSecret+"\"; };\n")
	const key = "key_name: acme, key: " + updateSecret
	for text, message := range map[string]string{
		"{zone: shop.test}":                                               "certificates.acme.dns_update.server: updates need the server that takes them",
		"{server: ns1.test}":                                              "certificates.acme.dns_update.key: updates are signed: want file:PATH as tsig-keygen writes it",
		"{server: ns1.test, key: " + updateSecret + "}":                   "certificates.acme.dns_update.key_name: the key has no name",
		"{server: ns1.test, key_name: a..b, key: " + updateSecret + "}":   `certificates.acme.dns_update.key: key name "a..b" is no domain name`,
		"{server: ns1.test, key_name: k, key: file:" + file + "}":         "acme.key: it has another key_name, acme: leave the setting out",
		"{server: ns1.test, key: file:" + folder + "/old.key}":            "old.key: hmac-md5 is too weak to be taken: make another key, with tsig-keygen -a hmac-sha256",
		"{server: ns1.test, key: file:" + folder + "/absent}":             "absent: cannot be read: no such file or directory",
		"{server: ns1.test, key_name: k, key: file:" + folder + "}":       "certificates.acme.dns_update.key: ",
		"{server: ns1.test, algorithm: hmac-sha1, " + key + "}":           `1:65: certificates.acme.dns_update.algorithm: hmac-sha1 is too weak to be taken: make another key, with tsig-keygen -a hmac-sha256 (did you mean "hmac-sha256"?)`,
		"{server: ns1.test, algorithm: sha256, " + key + "}":              `algorithm: bad value "sha256": want hmac-sha256, hmac-sha384, hmac-sha512`,
		"{server: 'http://ns1.test', " + key + "}":                        `server: bad address "http://ns1.test": want host or host:port`,
		"{server: ':53', " + key + "}":                                    `server: bad address ":53": the host is missing`,
		"{server: ns1.test, nameservers: [ns2.test, 'a b'], " + key + "}": `nameservers: bad address "a b"`,
		"{server: ns1.test, timeout: 10m, " + key + "}":                   "timeout: bad time 10m: want 1s to 8m",
		"{server: ns1.test, ttl: 100ms, " + key + "}":                     "ttl: bad time 100ms: want 1s to 1d",
		"{server: ns1.test, keyname: acme, key: " + updateSecret + "}":    `unknown key "keyname" in certificates.acme.dns_update (did you mean "key_name"?)`,
		"{server: ns1.test, " + key + "}, dns_hook: /bin/true":            "certificates.acme.dns_update.server: certificates.acme.dns_hook publishes the records already: leave one of both out",
		"{}, challenge: dns-01":                                           "certificates.acme.dns_hook: dns-01 needs a program that publishes its records, or dns_update",
	} {
		_, problems := load(t, "certificates: {acme: {dns_update: "+text+"}}\n", nil, nil)
		contains(t, text, problems.Error(), message)
		for _, p := range problems {
			if p.Excerpt != "" {
				t.Errorf("%s: the line with the key is shown: %s", text, p.Excerpt)
			}
		}
	}
}
