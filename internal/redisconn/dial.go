package redisconn

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"sync"
)

// TLSFiles are PEM files for the connections of a rediss URL. The zero value
// means: the roots of the system, no client certificate.
type TLSFiles struct {
	// CA vouches for the servers in place of the system's roots. Read once.
	CA string
	// Cert and Key are shown to servers that ask for a client certificate; both
	// or neither. Read with each connection, so that renewed ones act.
	Cert, Key string
}

// config reads the files. A file that is missing or no PEM is an error that names it.
func (f TLSFiles) config() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.CA != "" {
		pem, err := os.ReadFile(f.CA)
		if err != nil {
			return nil, err
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s: no certificate in PEM form", f.CA)
		}
	}
	if (f.Cert == "") != (f.Key == "") {
		return nil, errors.New("a client certificate needs both its file and its key's")
	}
	if f.Cert == "" {
		return c, nil
	}
	load := func() (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
		if err != nil {
			return nil, fmt.Errorf("%s, %s: %w", f.Cert, f.Key, err)
		}
		return &pair, nil
	}
	if _, err := load(); err != nil {
		return nil, err
	}
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	return c, nil
}

// A dialer makes every connection of a Client, and remembers where to. Safe for
// concurrent use.
type dialer struct {
	tls *tls.Config // nil: plain

	mu      sync.Mutex
	servers map[string]struct{}
}

func newDialer(o *Options) (*dialer, error) {
	d := &dialer{servers: map[string]struct{}{}}
	for _, addr := range o.Addrs {
		d.servers[addr] = struct{}{}
	}
	if !o.TLS {
		if o.Files != (TLSFiles{}) {
			return nil, errors.New("redis: certificates are for TLS: write rediss:// in place of redis://")
		}
		return d, nil
	}
	var err error
	if d.tls, err = o.Files.config(); err != nil {
		return nil, fmt.Errorf("redis: TLS: %w", err)
	}
	return d, nil
}

// quick is dial within DialTimeout.
func (d *dialer) quick(ctx context.Context, network, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, DialTimeout)
	defer cancel()
	return d.dial(ctx, network, addr)
}

// dial connects, and verifies the server's name where there is TLS.
func (d *dialer) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	d.mu.Lock()
	d.servers[addr] = struct{}{}
	d.mu.Unlock()
	conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if err != nil || d.tls == nil {
		return conn, err
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	config := d.tls.Clone()
	config.ServerName = host
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close() // the handshake may have done so
		return nil, fmt.Errorf("TLS with %s: %w", addr, err)
	}
	return secure, nil
}

// Servers are the host:port of the servers that the URL names and of all that
// Sentinels or a Cluster have led to since, sorted.
func (c *Client) Servers() []string {
	c.dialer.mu.Lock()
	defer c.dialer.mu.Unlock()
	return slices.Sorted(maps.Keys(c.dialer.servers))
}
