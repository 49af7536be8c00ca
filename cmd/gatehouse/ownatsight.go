package main

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// ownAtSight is ownAddress for whoever asks of many addresses: what it knows of this machine may be some seconds old, and a Redis that is
// called by a name is not found.
func (n *node) ownAtSight(network, address string) bool {
	return n.isOwn(network, address, n.interfaces.addresses, atSight)
}

// atSight is lookupHost that asks nobody: of names it knows localhost alone.
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
