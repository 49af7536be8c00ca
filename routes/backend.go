package routes

import (
	"fmt"
	"net/netip"
	"slices"
)

// NeverBackend reports whether an address must not be a backend, whatever is
// configured: link-local ones, metadata services of clouds (which hand out
// credentials to whoever asks), multicast, broadcast and unspecified ones, in all
// the forms that PlainAddress reads.
func NeverBackend(a netip.Addr) bool {
	if localNAT64.Contains(a.WithZone("")) && leadsToMetadata(a.As16()) {
		return true
	}
	a = PlainAddress(a)
	return a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified() || thisNetwork.Contains(a) || slices.Contains(neverBackends, a)
}

// neverBackends are the metadata services that are not link-local (169.254.169.254 is), and broadcast.
var neverBackends = []netip.Addr{
	netip.MustParseAddr("fd00:ec2::254"),      // AWS
	netip.MustParseAddr("fd00:ec2::23"),       // AWS: EKS Pod Identity, beside 169.254.170.23
	netip.MustParseAddr("fd20:ce::254"),       // Google
	netip.MustParseAddr("168.63.129.16"),      // Azure: certificates and settings of the machine
	netip.MustParseAddr("100.100.100.200"),    // Alibaba
	netip.MustParseAddr("fd00:100::100:200"),  // Alibaba
	netip.MustParseAddr("192.0.0.192"),        // Oracle, Classic
	netip.MustParseAddr("fd00:c1::a9fe:a9fe"), // Oracle
	netip.MustParseAddr("fd00:a9fe:a9fe::1"),  // Akamai (Linode)
	netip.MustParseAddr("fd00:42::42"),        // Scaleway
	netip.AddrFrom4([4]byte{255, 255, 255, 255}),
}

var (
	thisNetwork = netip.MustParsePrefix("0.0.0.0/8") // RFC 1122 §3.2.1.3: means the machine itself, where it means anything

	nat64      = netip.MustParsePrefix("64:ff9b::/96")   // RFC 6052 §2.1
	localNAT64 = netip.MustParsePrefix("64:ff9b:1::/48") // RFC 8215
	compatible = netip.MustParsePrefix("::/96")          // RFC 4291 §2.5.5.1
	sixToFour  = netip.MustParsePrefix("2002::/16")      // RFC 3056 §2
)

// shortNAT64 is where an IPv4 address stands behind a prefix of 48, 56 or 64 bits (RFC 6052 §2.2): whoever translates may have chosen any
// in that of RFC 8215. PlainAddress reads it behind 96 bits.
var shortNAT64 = [...][4]int{{6, 7, 9, 10}, {7, 9, 10, 11}, {9, 10, 11, 12}}

func leadsToMetadata(b [16]byte) bool {
	for _, at := range shortNAT64 {
		v4 := netip.AddrFrom4([4]byte{b[at[0]], b[at[1]], b[at[2]], b[at[3]]})
		if v4.IsLinkLocalUnicast() || slices.Contains(neverBackends, v4) {
			return true
		}
	}
	return false
}

// PlainAddress returns the address that a leads to, without its zone: the IPv4
// address where it only stands in an IPv6 form of it (mapped, NAT64, 6to4,
// compatible), else a itself.
func PlainAddress(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	bytes := a.As16()
	switch {
	case nat64.Contains(a), localNAT64.Contains(a), compatible.Contains(a) && !a.IsUnspecified() && !a.IsLoopback():
		return netip.AddrFrom4([4]byte(bytes[12:]))
	case sixToFour.Contains(a):
		return netip.AddrFrom4([4]byte(bytes[2:6]))
	}
	return a
}

// checkBackend reads an address and refuses one that would never be dialled.
func checkBackend(raw string) error {
	a, err := ParseAddress(raw)
	if err != nil {
		return err
	}
	if ip, err := netip.ParseAddr(a.Host); err == nil && NeverBackend(ip) {
		return fmt.Errorf("bad backend %q: %s is never used as a backend (link-local, metadata, multicast, unspecified)", raw, a.Host)
	}
	return nil
}
