package upstream

import (
	"context"
	"crypto/tls"
	"net/netip"
)

// dial opens a fresh connection, TLS included, within Options.ConnectTimeout: to the wanted address of the backend's name, if
// that can be reached and its TLS is right.
func (p *Pool) dial(ctx context.Context, line *Lifeline, want netip.Addr) (*conn, error) {
	p.dials.Add(1)
	ctx, cancel := context.WithTimeout(ctx, p.opts.ConnectTimeout)
	defer cancel()
	if err := line.holdDial(cancel); err != nil {
		return nil, err
	}
	return p.open(ctx, want)
}

// connect opens a connection to a network address, TLS included.
func (p *Pool) connect(ctx context.Context, network, address string) (*conn, error) {
	raw, err := p.opts.Dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c := newConn(raw)
	c.maxHead, c.maxFields = p.opts.ResponseHeader, p.opts.ResponseFields
	if p.tls == nil {
		return c, nil
	}
	err = c.secure(func(tc *tls.Conn) error { return tc.HandshakeContext(ctx) }, p.tls)
	if err != nil {
		c.sever()
		return nil, err
	}
	return c, nil
}

// clientTLS completes the caller's configuration for one backend. It never weakens it.
func clientTLS(config *tls.Config, host string, sessions int) *tls.Config {
	if config == nil {
		config = &tls.Config{MinVersion: tls.VersionTLS12}
	} else {
		config = config.Clone()
	}
	if config.ServerName == "" {
		config.ServerName = host
	}
	if config.ClientSessionCache == nil && !config.SessionTicketsDisabled {
		config.ClientSessionCache = tls.NewLRUClientSessionCache(sessions)
	}
	config.NextProtos = []string{"http/1.1"} // a backend that chose h2 would not understand us
	return config
}
