package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestRedisTLSNeedsFilesAndAURLWithTLS(t *testing.T) {
	pem := filepath.Join(t.TempDir(), "a.pem")
	if err := os.WriteFile(pem, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for text, problem := range map[string]string{
		"routes: 'rediss://h'\nredis_tls: {ca: '" + pem + "', cert: '" + pem + "', key: '" + pem + "'}\n": "",
		"redis: 'rediss+cluster://h'\nredis_tls: {ca: '" + pem + "'}\n":                                   "",
		"routes: 'redis://h'\nredis_tls: {ca: '" + pem + "'}\n":                                           "redis_tls: neither routes nor redis is a URL with TLS",
		"routes: 'rediss://h'\nredis_tls: {ca: none.pem}\n":                                               "redis_tls.ca: ",
		"routes: 'rediss://h'\nredis_tls: {cert: '" + pem + "'}\n":                                        "redis_tls: a client certificate needs both cert and key",
	} {
		_, problems := load(t, text, nil, nil)
		if problem == "" {
			want(t, text, len(problems), 0)
			continue
		}
		contains(t, text, problems.Error(), problem)
	}
}
