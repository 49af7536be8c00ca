package routes

import (
	"fmt"
	"net/netip"
)

// NeverBackend reports whether an address must not be a backend, whatever is
// configured: link-local (with the metadata services of clouds, which hand out
// credentials), fd00:ec2::254, multicast and unspecified ones, also within
// ::ffff:0:0/96 and 64:ff9b::/96. A zone does not matter.
func NeverBackend(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if nat64.Contains(a) { // the IPv4 address stands in the last four bytes (RFC 6052 §2.2)
		bytes := a.As16()
		a = netip.AddrFrom4([4]byte(bytes[12:]))
	}
	return a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified() || a == metadataV6
}

var (
	nat64      = netip.MustParsePrefix("64:ff9b::/96")
	metadataV6 = netip.MustParseAddr("fd00:ec2::254")
)

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
