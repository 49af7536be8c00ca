package main

import (
	"context"
	"net"
	"net/netip"
	"os"
	"strconv"
	"time"

	"gatehouse/internal/redisconn"
	"gatehouse/routes"
)

// ownAddress reports whether an address is one of our listeners, our socket or
// our Redis: a backend there would be a loop, or a way to the routes of all
// tenants. All forms of an address are one. It is asked when a connection to a
// backend is opened, not for each request.
func (n *node) ownAddress(network, address string) bool {
	lookup := n.lookupHost
	if lookup == nil {
		lookup = lookupHost
	}
	return n.isOwn(network, address, net.InterfaceAddrs, lookup)
}

// isOwn is ownAddress by what interfaces says of this machine, and lookup of a Redis that is called by a name.
func (n *node) isOwn(network, address string, interfaces func() ([]net.Addr, error), lookup func(host string) ([]netip.Addr, error)) bool {
	if network == "unix" {
		return n.ownSocket(address)
	}
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return true // what cannot be read cannot be told from ours
	}
	ap = netip.AddrPortFrom(routes.PlainAddress(ap.Addr()), ap.Port())
	for _, ln := range []net.Listener{n.http, n.https, n.admin} {
		if ln != nil && listensAt(ln.Addr(), ap, interfaces) {
			return true
		}
	}
	return n.redisListensAt(ap, interfaces, lookup)
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
// very one, or any address of this machine if it listens on all. What stands at
// its port of another address is not ours: a program on loopback behind a
// listener on the public address.
func listensAt(listener net.Addr, ap netip.AddrPort, interfaces func() ([]net.Addr, error)) bool {
	own, ok := listener.(*net.TCPAddr)
	if !ok || own.Port != int(ap.Port()) {
		return false
	}
	address := own.AddrPort().Addr()
	return address.IsUnspecified() && onThisMachine(ap.Addr(), interfaces) || routes.PlainAddress(address) == ap.Addr()
}

// onThisMachine reports whether a plain address leads to this machine.
func onThisMachine(address netip.Addr, interfaces func() ([]net.Addr, error)) bool {
	if address.IsLoopback() || address.IsUnspecified() {
		return true
	}
	mine, err := interfaces()
	if err != nil {
		return true // not knowing is no reason to open a loop
	}
	for _, a := range mine {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil && routes.PlainAddress(prefix.Addr()) == address {
			return true
		}
	}
	return false
}

// redisListensAt compares with all addresses of a server, and with all of this
// machine if one of them is: which of them it listens on nobody has told us. It
// looks names up only for an address at Redis' own port.
func (n *node) redisListensAt(ap netip.AddrPort, interfaces func() ([]net.Addr, error), lookup func(host string) ([]netip.Addr, error)) bool {
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
		addresses, err := lookup(host)
		if err != nil {
			return true // at Redis' port, and perhaps Redis
		}
		for _, a := range addresses {
			if a = routes.PlainAddress(a); a == ap.Addr() || onThisMachine(a, interfaces) && onThisMachine(ap.Addr(), interfaces) {
				return true
			}
		}
	}
	return false
}

func lookupHost(host string) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}
