package iplist

import (
	"bytes"
	"fmt"
	"net/netip"

	"github.com/gaissmai/bart"

	"gatehouse/routes"
)

// Networks is an immutable set of networks. The nil set is empty. It is safe for concurrent use.
type Networks struct {
	table bart.Lite
	count int // entries as they were given: some may lie in others
}

// NewNetworks returns the set of networks.
func NewNetworks(networks []netip.Prefix) *Networks {
	n := &Networks{count: len(networks)}
	for _, p := range networks {
		n.table.Insert(p)
	}
	return n
}

// Has reports whether an address is in one of the networks; an IPv4 address in the form of IPv6 (RFC 4291 §2.5.5.2) is asked
// for as IPv4, and a zone does not count. The invalid address is in none.
func (n *Networks) Has(a netip.Addr) bool { return n != nil && n.table.Contains(plain(a)) }

// plain is an address as networks are written.
func plain(a netip.Addr) netip.Addr {
	if a.Is4() { // nearly always, and copied faster
		return a
	}
	return a.Unmap().WithZone("")
}

// Len is how many entries the set was made of.
func (n *Networks) Len() int {
	if n == nil {
		return 0
	}
	return n.count
}

// The bounds of one list.
const (
	// MaxListBytes is of its text: 100,000 networks take two MiB.
	MaxListBytes = 16 << 20
	// MaxListNetworks is of its entries; so many take about 35 MB of memory.
	MaxListNetworks = 500_000
)

// A LineError says which line of a list is bad, from 1. Its text does not quote the line: a tenant's document may name a list that
// its owner may not read, and what is wrong with it is shown to him. Err does, for who can read the list.
type LineError struct {
	Line int
	Want string
	Err  error
}

func (e *LineError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Want) }

func (e *LineError) Unwrap() error { return e.Err }

// ParseList reads a list: one network or address per line, as routes.ParseNetwork takes it. What follows "#" or ";" is a comment, as
// the usual lists have it; empty lines do not count. One bad line makes the whole list bad, and is a *LineError: half of a list
// is not what its owner said.
func ParseList(text []byte) (*Networks, error) {
	if len(text) > MaxListBytes {
		return nil, fmt.Errorf("more than %d MiB", MaxListBytes>>20)
	}
	n, number := &Networks{}, 0
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	for line := range bytes.Lines(text) {
		number++
		if i := bytes.IndexAny(line, "#;"); i >= 0 {
			line = line[:i]
		}
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		p, err := routes.ParseNetwork(string(line))
		if err != nil {
			return nil, &LineError{number, `want an address or a network without bits beyond its prefix, such as "10.0.0.0/8"`, err}
		}
		if n.count++; n.count > MaxListNetworks {
			err := fmt.Errorf("more than %d networks", MaxListNetworks)
			return nil, &LineError{number, err.Error(), err}
		}
		n.table.Insert(p)
	}
	return n, nil
}
