package main

import (
	"context"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"time"

	"gatehouse/internal/redisconn"
)

// ownAddress reports whether an address is one of our listeners, our socket or
// our Redis: a backend there would be a loop, or a way to the routes of all
// tenants. It is asked when a connection to a backend is opened, not for each
// request.
func (n *node) ownAddress(network, address string) bool {
	return n.isOwn(network, address, net.InterfaceAddrs, lookUp)
}

// ownAtSight is ownAddress for whoever asks of many addresses: what it knows of this machine may be some seconds old, and a Redis that is
// called by a name is not found.
func (n *node) ownAtSight(network, address string) bool {
	return n.isOwn(network, address, n.interfaces.addresses, atSight)
}

func (n *node) isOwn(network, address string, interfaces func() ([]net.Addr, error), lookUp func(host string) ([]netip.Addr, error)) bool {
	if network == "unix" {
		return n.ownSocket(address)
	}
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return true // what cannot be read cannot be told from ours
	}
	for _, ln := range []net.Listener{n.http, n.https, n.admin} {
		if ln != nil && listensAt(ln.Addr(), ap, interfaces) {
			return true
		}
	}
	return n.redisListensAt(ap, lookUp)
}

// ownSocket compares files, not paths: a link or another spelling leads there too.
func (n *node) ownSocket(path string) bool {
	own, err := os.Stat(n.cfg.Socket())
	if err != nil {
		return false // then it leads nowhere
	}
	other, err := os.Stat(path)
	return err == nil && os.SameFile(own, other)
}

// listensAt reports whether a listener takes connections to an address: that
// very one, or any address of this machine if it listens on all.
func listensAt(listener net.Addr, ap netip.AddrPort, interfaces func() ([]net.Addr, error)) bool {
	own, ok := listener.(*net.TCPAddr)
	if !ok || own.Port != int(ap.Port()) {
		return false
	}
	address := ap.Addr().Unmap()
	if !own.IP.IsUnspecified() {
		return own.AddrPort().Addr().Unmap() == address
	}
	if address.IsLoopback() {
		return true
	}
	mine, err := interfaces()
	if err != nil {
		return true // not knowing is no reason to open a loop
	}
	for _, a := range mine {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil && prefix.Addr().Unmap() == address {
			return true
		}
	}
	return false
}

// redisListensAt looks names up only for an address at Redis' own port.
func (n *node) redisListensAt(ap netip.AddrPort, lookUp func(host string) ([]netip.Addr, error)) bool {
	var servers []string
	for _, client := range []*redisconn.Client{n.redis, n.shared} {
		if client != nil { // also those that Sentinels or a Cluster lead to
			servers = append(servers, client.Servers()...)
		}
	}
	for _, server := range servers {
		host, port, err := net.SplitHostPort(server)
		if err != nil || port != strconv.Itoa(int(ap.Port())) {
			continue
		}
		addresses, err := lookUp(host)
		if err != nil {
			return true // at Redis' port, and perhaps Redis
		}
		for _, a := range addresses {
			if a.Unmap() == ap.Addr().Unmap() {
				return true
			}
		}
	}
	return false
}

func lookUp(host string) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// atSight is lookUp that asks nobody: of names it knows localhost alone.
func atSight(host string) ([]netip.Addr, error) {
	if host == "localhost" { // RFC 6761 §6.3
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}, nil
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return nil, nil
	}
	return []netip.Addr{a}, nil
}

// interfaces are the addresses of this machine, for whoever asks often: the kernel is asked once in interfacesAge. The zero value is ready, and safe for
// concurrent use.
type interfaces struct {
	mu   sync.Mutex
	at   time.Time
	have []net.Addr
	err  error
}

const interfacesAge = 10 * time.Second

func (i *interfaces) addresses() ([]net.Addr, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.at.IsZero() || time.Since(i.at) > interfacesAge {
		i.have, i.err = net.InterfaceAddrs()
		i.at = time.Now()
	}
	return i.have, i.err
}
