package edge

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"gatehouse/edge/wire"
	"gatehouse/routes"
)

// ruleNever is the rule of routes.NeverBackend.
const ruleNever = "link-local, metadata, multicast or unspecified"

// A deniedError is why an address is not dialled. It is for the operator; the visitor sees that of a backend that cannot be reached.
type deniedError struct{ address, rule string }

func (e *deniedError) Error() string {
	return e.address + " is never used as a backend: " + e.rule
}

// dial opens a connection to a backend. The check sees the address that is connected to, so
// a name cannot change between check and use (DNS rebinding).
func (s *Server) dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{Control: func(network, address string, _ syscall.RawConn) error {
		rule := s.deniedBy(network, address)
		if rule == "" {
			return nil
		}
		s.metrics.deniedBackends.Inc()
		return &deniedError{address, rule}
	}}
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	wire.LimitUnsent(conn)
	return conn, nil
}

// dialForList is dial for the server of a list of addresses, which must not be where no backend may be.
func (s *Server) dialForList(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := s.dial(ctx, network, address)
	if denied, ok := errors.AsType[*deniedError](err); ok {
		return nil, fmt.Errorf("no list is fetched from %s, where no backend may be: %s", denied.address, denied.rule)
	}
	return conn, err
}

// deniedBy returns the rule that forbids an address; "": none.
func (s *Server) deniedBy(network, address string) string {
	if network != "unix" {
		ap, err := netip.ParseAddrPort(address)
		if err != nil {
			return "it cannot be read: " + err.Error()
		}
		if routes.NeverBackend(ap.Addr()) {
			return ruleNever
		}
	}
	if s.opts.Denied == nil {
		return ""
	}
	return s.opts.Denied(network, address)
}
