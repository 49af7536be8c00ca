package wire

import (
	"hash/maphash"
	"net"
	"net/netip"
	"sync"
)

// shardCount is the number of locks that connections spread over.
const shardCount = 64

// peers counts connections per client. An IPv6 client is its /64: that is what
// one subscriber gets, and all of it is his to use as he likes. It is safe for
// concurrent use and holds an entry only for clients that have a connection.
type peers struct {
	seed   maphash.Seed
	shards [shardCount]struct {
		mu    sync.Mutex
		count map[netip.Addr]int
	}
}

func newPeers() *peers {
	p := &peers{seed: maphash.MakeSeed()}
	for i := range p.shards {
		p.shards[i].count = map[netip.Addr]int{}
	}
	return p
}

// enter counts one more, unless there are most already.
func (p *peers) enter(client netip.Addr, most int) bool {
	shard := &p.shards[maphash.Comparable(p.seed, client)%shardCount]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	n := shard.count[client]
	if n >= most {
		return false
	}
	shard.count[client] = n + 1
	return true
}

// leave counts one less.
func (p *peers) leave(client netip.Addr) {
	shard := &p.shards[maphash.Comparable(p.seed, client)%shardCount]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if n := shard.count[client]; n > 1 {
		shard.count[client] = n - 1
		return
	}
	delete(shard.count, client)
}

// len is the number of clients that are held.
func (p *peers) len() int {
	n := 0
	for i := range p.shards {
		p.shards[i].mu.Lock()
		n += len(p.shards[i].count)
		p.shards[i].mu.Unlock()
	}
	return n
}

// addrOf is an address as this package compares it: without port and zone, IPv4
// as such. The zero Addr if it is no IP address.
func addrOf(a net.Addr) netip.Addr {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return tcp.AddrPort().Addr().Unmap().WithZone("")
}

// clientOf is what an address's connections are counted under.
func clientOf(addr netip.Addr) netip.Addr {
	if !addr.Is6() {
		return addr
	}
	prefix, err := addr.Prefix(64)
	if err != nil {
		return addr // not of an IPv6 address
	}
	return prefix.Addr()
}
