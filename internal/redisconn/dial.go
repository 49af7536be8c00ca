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

// A dialer makes every connection of a Client, and knows its servers: those of the URL, those of the topology that was believed
// last, and those that it has connections with. An address that was a server's before may be a stranger's now, who must not be sent
// the password. Safe for concurrent use.
type dialer struct {
	tls   *tls.Config // nil: plain
	named []string

	mu       sync.Mutex
	believed []string
	open     map[string]int // connections, those that are being made among them
}

func newDialer(o *Options) (*dialer, error) {
	d := &dialer{named: o.Addrs, open: map[string]int{}}
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
	conn, err := d.connect(ctx, network, addr)
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

// connect connects, and counts the connection until it is closed.
func (d *dialer) connect(ctx context.Context, network, addr string) (net.Conn, error) {
	d.count(addr, 1)
	at := addr
	closed := sync.OnceFunc(func() {
		d.count(addr, -1)
		if at != addr {
			d.count(at, -1)
		}
	})
	conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if err != nil {
		closed()
		return nil, err
	}
	if at = conn.RemoteAddr().String(); at != addr { // a name may lead elsewhere by now, or to one of many at a time
		d.count(at, 1)
	}
	if tcp, is := conn.(*net.TCPConn); is {
		return &counted{tcp, closed}, nil
	}
	closed()
	return nil, errors.Join(fmt.Errorf("redis: no TCP connection: %s", network), conn.Close())
}

func (d *dialer) count(addr string, by int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open[addr] += by; d.open[addr] == 0 {
		delete(d.open, addr)
	}
}

// A counted connection says that it is closed. It has all that go-redis looks for in one of TCP.
type counted struct {
	*net.TCPConn
	closed func()
}

func (c *counted) Close() error {
	c.closed()
	return c.TCPConn.Close()
}

// believe takes the servers of a topology in the place of those of the one before.
func (d *dialer) believe(servers []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.believed = servers
}

// trusted are the servers that may be asked for the topology.
func (d *dialer) trusted() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return sorted(d.named, d.believed)
}

func sorted(lists ...[]string) []string {
	all := slices.Concat(lists...)
	slices.Sort(all)
	return slices.Compact(all)
}

// Servers are the host:port of the servers that the URL names, of those that Sentinels or a Cluster name at present, and of all that
// there are connections with, those by name under their addresses, too; sorted.
func (c *Client) Servers() []string {
	d := c.dialer
	d.mu.Lock()
	defer d.mu.Unlock()
	return sorted(d.named, d.believed, slices.Collect(maps.Keys(d.open)))
}
