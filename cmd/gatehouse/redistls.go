package main

import (
	"strings"

	"gatehouse/internal/redisconn"
	"gatehouse/routes"
)

// RedisTLS are PEM files for the connections of rediss:// URLs; all empty: the roots of the system, no client certificate.
type RedisTLS struct {
	CA   string `json:"ca" help:"PEM file of roots that vouch for Redis; empty: the system's"`
	Cert string `json:"cert" help:"PEM file of the client certificate for Redis"`
	Key  string `json:"key" help:"PEM file of its key"`
}

// redisOptions reads the URL of routes or redis, and adds the files where it is one with TLS.
func (c *Config) redisOptions(url string) (redisconn.Options, error) {
	o, err := redisconn.Parse(url)
	if err == nil && o.TLS {
		o.Files = redisconn.TLSFiles(c.RedisTLS)
	}
	return o, err
}

func (l *loader) checkRedisTLS() {
	t := &l.cfg.RedisTLS
	if *t == (RedisTLS{}) {
		return
	}
	for path, file := range map[string]*string{"redis_tls.ca": &t.CA, "redis_tls.cert": &t.Cert, "redis_tls.key": &t.Key} {
		if *file == "" {
			continue
		}
		*file = l.fromFile(path, *file)
		if _, err := routes.ReadFile(*file, maxSettings); err != nil {
			l.fail(path, unreadable(err), "")
		}
	}
	if (t.Cert == "") != (t.Key == "") {
		l.fail("redis_tls", "a client certificate needs both cert and key", "")
	}
	if !strings.HasPrefix(l.cfg.Routes, "rediss") && !strings.HasPrefix(l.cfg.Redis, "rediss") {
		l.fail("redis_tls", "neither routes nor redis is a URL with TLS: write rediss:// in place of redis://", "")
	}
}
