package loadtest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
)

// An origin is where connections lead: an address, and a server name if it speaks
// TLS. All clients share it, and with it the TLS sessions.
type origin struct {
	address string      // checked: an IP address and a port
	tls     *tls.Config // nil: plain
	name    string      // for messages: "shop.test:443"

	prime    sync.Once // see primed
	primeErr error
}

// origins makes one origin for each address and server name, before the load begins.
type origins struct {
	plan *compiled
	all  map[string]*origin // by scheme and authority
	at   map[string]*origin // by scheme, address and server name
	// addresses are the checked ones; what has been looked up once is dialled, so that
	// a name cannot change where it leads after the check.
	addresses map[string]string
	dialer    net.Dialer
}

func newOrigins(c *compiled) *origins {
	return &origins{
		plan: c, all: map[string]*origin{}, at: map[string]*origin{}, addresses: map[string]string{},
		dialer: net.Dialer{Timeout: c.Timeout, KeepAlive: -1},
	}
}

// of returns the origin of a URL's scheme and authority.
func (o *origins) of(ctx context.Context, secure bool, authority string) (*origin, error) {
	key := authority
	if secure {
		key = "s:" + authority
	}
	if known := o.all[key]; known != nil {
		return known, nil
	}
	host, port := splitAuthority(authority, secure)
	dial := net.JoinHostPort(host, port)
	if o.plan.Connect != "" {
		dial = o.plan.Connect
	}
	address, err := o.lookUp(ctx, dial)
	if err != nil {
		return nil, err
	}
	name := "" // plain connections of one address are as good as each other
	if secure {
		name = "s:" + host
	}
	same := address + " " + name
	if o.at[same] == nil {
		made := &origin{address: address, name: net.JoinHostPort(host, port)}
		if secure {
			made.tls = o.config(host)
		}
		o.at[same] = made
	}
	o.all[key] = o.at[same]
	return o.at[same], nil
}

func splitAuthority(authority string, secure bool) (host, port string) {
	host, port, err := net.SplitHostPort(authority)
	if err != nil {
		host, port = strings.Trim(authority, "[]"), ""
	}
	switch {
	case port != "":
	case secure:
		port = "443"
	default:
		port = "80"
	}
	return strings.TrimSuffix(host, "."), port
}

// lookUp returns the address to dial; on this machine, unless the plan allows others.
func (o *origins) lookUp(ctx context.Context, hostport string) (string, error) {
	if known, ok := o.addresses[hostport]; ok {
		return known, nil
	}
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		return "", planf("connect %s: want HOST:PORT", hostport)
	}
	ctx, cancel := context.WithTimeout(ctx, o.plan.Timeout)
	defer cancel()
	addresses, err := lookUp(ctx, host)
	if err != nil {
		return "", fmt.Errorf("look up %s: %w; --connect HOST:PORT says where to connect to", host, bareDNS(err))
	}
	if len(addresses) == 0 {
		return "", fmt.Errorf("look up %s: it has no address", host)
	}
	chosen := addresses[0].Unmap()
	for _, a := range addresses {
		a = a.Unmap()
		if !o.plan.Public && !a.IsLoopback() {
			return "", &NotOwnedError{Host: host, Address: a}
		}
		if a.Is4() && !chosen.Is4() {
			chosen = a // servers of tests listen there more often
		}
	}
	number, err := net.DefaultResolver.LookupPort(ctx, "tcp", port)
	if err != nil {
		return "", planf("port %q: want a number", port)
	}
	address := netip.AddrPortFrom(chosen, uint16(number)).String()
	o.addresses[hostport] = address
	return address, nil
}

// lookUp resolves a name. Those that end in .localhost are this machine (RFC 6761
// §6.3), as for curl and browsers, whatever the system's resolver knows of them.
func lookUp(ctx context.Context, host string) ([]netip.Addr, error) {
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}, nil
	}
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// bareDNS takes the name off, which stands beside it.
func bareDNS(err error) error {
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return errors.New(dns.Err)
	}
	return err
}

// A NotOwnedError is why Run refuses a target outside this machine (Plan.Public).
type NotOwnedError struct {
	Host    string
	Address netip.Addr
}

func (e *NotOwnedError) Error() string {
	if e.Host == e.Address.String() {
		return e.Host + notOwned
	}
	return fmt.Sprintf("%s (%s)", e.Host, e.Address) + notOwned
}

const notOwned = " is no loopback address: a load that its owner has not agreed to is an attack"

func (o *origins) config(host string) *tls.Config {
	c := &tls.Config{
		ServerName: host, RootCAs: o.plan.Roots, InsecureSkipVerify: o.plan.Insecure,
		NextProtos: []string{"http/1.1"},
	}
	if o.plan.HTTP == "2" {
		c.NextProtos = []string{"h2"}
	}
	if o.plan.Curve != "" {
		c.CurvePreferences = []tls.CurveID{curveIDs[o.plan.Curve]}
	}
	if o.plan.TLS == "resumed" {
		c.ClientSessionCache = &sessions{}
	}
	return c
}

// sessions keeps the newest TLS session of one origin.
type sessions struct {
	mu  sync.Mutex
	got *tls.ClientSessionState
}

// Get returns the newest session.
func (s *sessions) Get(string) (*tls.ClientSessionState, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got, s.got != nil
}

// Put keeps a session; nil forgets it.
func (s *sessions) Put(_ string, state *tls.ClientSessionState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = state
}
