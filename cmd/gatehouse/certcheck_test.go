package main

import (
	"os"
	"strings"
	"testing"

	"gatehouse/internal/edgetest"
)

// Nodes that share a Redis and no keys order the same names over and over, which issuers refuse.
func TestCheckWarnsOfNodesThatEachOrderForThemselves(t *testing.T) {
	t.Chdir(t.TempDir())
	sealed := "\nseal_keys: [\"" + strings.Repeat("0f", 32) + "\"]"
	for settings, warned := range map[string]bool{
		"routes: redis://127.0.0.1\ncertificates: {issuer: acme}":          true,
		"redis: redis://127.0.0.1\ncertificates: {issuer: acme}":           true,
		"routes: redis://127.0.0.1\ncertificates: {issuer: internal}":      false,
		"routes: redis://127.0.0.1\ncertificates: {issuer: acme}" + sealed: false,
		"certificates: {issuer: acme}":                                     false,
	} {
		write(t, configFile, settings+"\n")
		code, out, _ := invoke(t, "check", configFile)
		want(t, settings+out, code, exitOK)
		if strings.Contains(out, "certificates.issuer: there are no seal_keys") != warned {
			t.Errorf("%s:\n%s\nwant a warning: %v", settings, out, warned)
		}
	}
}

func TestCheckWarnsOfWildcardsThatAreNeverOrdered(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "conf.d/shop.yaml", "vhosts:\n  www.shop.test: {aliases: [\"*.blog.test\"], backends: [\"http://127.0.0.1:9000\"]}\n  \"*.shop.test\": {backends: [\"http://127.0.0.1:9000\"]}\n  \"*.shop.test/blog\": {backends: [\"http://127.0.0.1:9000\"]}\n")
	if err := os.WriteFile("hook", []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for settings, warnings := range map[string]int{
		"certificates: {issuer: acme}":                           2,
		"certificates: {issuer: acme, acme: {dns_hook: ./hook}}": 0,
		"certificates: {issuer: acme, acme: {dns_update: {server: ns1.test, key_name: acme, key: " + updateSecret + "}}}": 0,
		"node: n1": 0,
	} {
		write(t, configFile, settings+"\n")
		_, out, _ := invoke(t, "check")
		if n := strings.Count(out, "orders of wildcards need certificates.acme.dns_hook"); n != warnings {
			t.Errorf("%s: %d warnings, want %d\n%s", settings, n, warnings, out)
		}
	}
}

// Who asks for a type of key and serves files would wait for it in vain.
func TestCheckWarnsOfATypeOfKeyBesideCertificateFiles(t *testing.T) {
	t.Chdir(t.TempDir())
	pair := edgetest.NewCA(t).Issue(t, "www.shop.test")
	write(t, "a.pem", string(pair.CertPEM)+string(pair.KeyPEM))
	for vhost, warns := range map[string]bool{
		"{key_type: rsa, certificate: {cert: ../a.pem, key: ../a.pem}}": true,
		"{certificate: {cert: ../a.pem, key: ../a.pem}}":                false,
		"{key_type: rsa}": false,
	} {
		write(t, "conf.d/shop.yaml", "vhosts:\n  www.shop.test: {backends: [\"http://127.0.0.1:9000\"], tls: "+vhost+"}\n")
		_, out, _ := invoke(t, "check", "conf.d")
		if got := strings.Contains(out, "tls.key_type: nothing is ordered while the files of tls.certificate serve"); got != warns {
			t.Errorf("%s: a warning: %v\n%s", vhost, got, out)
		}
	}
}
