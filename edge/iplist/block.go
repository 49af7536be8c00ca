package iplist

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"

	"gatehouse/routes"
)

// A Block keeps a network out for a while, on all nodes.
type Block struct {
	// Network has no bits beyond its prefix, and IPv4 is not in the form of IPv6.
	Network netip.Prefix
	// Tenant is for whose vhosts it acts; empty: for all vhosts.
	Tenant string
	// Until is when it ends; zero: when it is removed.
	Until time.Time
	// Added is since when it is there; By and Note say who wanted it, and why.
	Added    time.Time
	By, Note string
}

// Bounds of blocks.
const (
	// MaxBlocks is of all scopes together: more networks belong into a list.
	MaxBlocks = 10_000
	// MaxNote is of By and of Note, in bytes.
	MaxNote = 200
	// MaxBlockTime is the longest block that ends by itself.
	MaxBlockTime = 366 * 24 * time.Hour
)

// Check refuses what is no block that others could be told of.
func (b *Block) Check() error {
	switch {
	case !b.Network.IsValid() || b.Network != b.Network.Masked() || b.Network.Addr().Is4In6():
		return fmt.Errorf("bad network %q", b.Network)
	case len(b.Note) > MaxNote || len(b.By) > MaxNote:
		return fmt.Errorf("a note, and who wants a block, are %d bytes at most", MaxNote)
	case !utf8.ValidString(b.Note) || !utf8.ValidString(b.By):
		return errors.New("a note is UTF-8 text")
	}
	if b.Tenant != "" {
		return routes.CheckTenantName(b.Tenant)
	}
	return nil
}

// Over reports whether the block has ended.
func (b *Block) Over(now time.Time) bool { return !b.Until.IsZero() && !now.Before(b.Until) }

// compareBlocks orders those of everybody first, then by tenant and network.
func compareBlocks(a, b Block) int {
	return cmp.Or(
		strings.Compare(a.Tenant, b.Tenant), a.Network.Addr().Compare(b.Network.Addr()), cmp.Compare(a.Network.Bits(), b.Network.Bits()))
}

// A scope is a network for one tenant's vhosts, or for all: no two blocks have the same.
type scope struct {
	tenant  string
	network netip.Prefix
}

func (b *Block) scope() scope { return scope{b.Tenant, b.Network} }
