package main

import (
	"fmt"
	"net/netip"
	"strings"

	"gatehouse/routes"
)

// The words of backends.deny and backends.allow.
const (
	wordLoopback = "loopback" // the machine itself
	wordPrivate  = "private"  // RFC 1918, RFC 6598, RFC 4193
	wordUnix     = "unix"     // sockets of this machine: at loopback's trust, and no network
)

var namedNetworks = map[string][]netip.Prefix{
	wordLoopback: {netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")},
	wordPrivate: {
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"),
		netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("fc00::/7"),
	},
	wordUnix: nil,
}

// A Network is what backends.deny and backends.allow list: a CIDR, an address, or
// one of the words loopback, private and unix.
type Network struct {
	text     string
	prefixes []netip.Prefix
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (n *Network) UnmarshalText(text []byte) error {
	word := string(text)
	if prefixes, ok := namedNetworks[word]; ok {
		*n = Network{word, prefixes}
		return nil
	}
	var c CIDR
	if err := c.UnmarshalText(text); err != nil {
		if strings.ContainsAny(word, ".:/") {
			return err
		}
		return fmt.Errorf("bad network %q: want a CIDR, such as \"10.0.0.0/8\", loopback, private or unix", word)
	}
	*n = Network{c.String(), []netip.Prefix{c.Prefix}}
	return nil
}

// MarshalText implements encoding.TextMarshaler.
func (n Network) MarshalText() ([]byte, error) { return []byte(n.text), nil }

// String returns the network as it was written.
func (n Network) String() string { return n.text }

// has reports whether the address of a connection to a backend is in the network.
func (n Network) has(network string, a netip.Addr) bool {
	if network == "unix" {
		return n.text == wordUnix
	}
	for _, p := range n.prefixes {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// denies returns the entry of Deny that an address is in, unless one of Allow has
// it, too; "": none. For unix the address is not looked at.
func (b *BackendsConfig) denies(network string, a netip.Addr) string {
	a = routes.PlainAddress(a)
	for _, allowed := range b.Allow {
		if allowed.has(network, a) {
			return ""
		}
	}
	for _, denied := range b.Deny {
		if denied.has(network, a) {
			return denied.text
		}
	}
	return ""
}

// ruleOwn is the rule against addresses of the node itself.
const ruleOwn = "it is this node's own listener, socket or Redis"

// denied says by which rule an address must not be a backend; "": it may.
func (n *node) denied(network, address string) string {
	return n.ruleAgainst(network, address, n.ownAddress)
}

func (n *node) ruleAgainst(network, address string, isOwn func(network, address string) bool) string {
	if isOwn(network, address) {
		return ruleOwn
	}
	var ip netip.Addr
	if network != "unix" {
		ap, err := netip.ParseAddrPort(address)
		if err != nil {
			return "it cannot be read: " + err.Error()
		}
		ip = ap.Addr()
	}
	return n.cfg.Backends.ruleAgainst(network, ip)
}

// ruleAgainst is denies, in words.
func (b *BackendsConfig) ruleAgainst(network string, a netip.Addr) string {
	entry := b.denies(network, a)
	if entry == "" {
		return ""
	}
	return "backends.deny has " + entry
}

// deniedBackends warns of backends that rule says are never dialled. What stands behind names is only known when they are.
func deniedBackends(v *routes.Vhost, rule func(network, address string) string) (out routes.Problems) {
	for i, b := range v.Backends {
		address, err := routes.ParseAddress(b.URL)
		if err != nil { // reported already
			continue
		}
		network, dialled := address.Network()
		if _, err := netip.ParseAddr(address.Host); network != "unix" && err != nil {
			continue
		}
		why := rule(network, dialled)
		switch why {
		case "":
			continue
		case ruleOwn:
			why += ": requests that come here are answered 502; name another"
		default:
			why += ": requests that come here are answered 502; allow it in backends.allow, or name another"
		}
		out = append(out, &routes.Problem{Field: "backends[" + itoa(i) + "]", Reason: why})
	}
	return out
}

// denied warns of backends that the settings deny.
func (c *checker) denied() {
	for _, cfg := range c.settings {
		c.warnOfVhosts(func(v *routes.Vhost) routes.Problems {
			return deniedBackends(v, func(network, address string) string {
				ap, _ := netip.ParseAddrPort(address) // none of a socket
				return cfg.Backends.ruleAgainst(network, ap.Addr())
			})
		})
	}
}
