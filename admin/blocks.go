package admin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"gatehouse/routes"
)

// Blocks adds, removes and lists blocked networks. It is safe for concurrent use.
type Blocks interface {
	// Add blocks a network, in the place of a block with the same network and tenant. It acts here when Add returns, and on the
	// nodes that share a Redis with this one within a second. After an error it does not act.
	Add(ctx context.Context, b Block) error
	// Remove ends a block and reports whether there was one.
	Remove(ctx context.Context, network netip.Prefix, tenant string) (was bool, err error)
	// List returns the blocks in force on this node, everybody's first.
	List() []Block
	// Problem returns why blocks of other nodes are not heard of; nil: they are, or there are none.
	Problem() error
	// Faults returns what stands in Redis among blocks and does not act as it stands there, some of it if that is much.
	Faults() []BlockFault
}

// A BlockFault is a field of blocks in Redis, or all of a key, that does not act: somebody has made it by hand.
type BlockFault struct {
	Key    string `json:"key,omitempty"`    // absent: all keys together
	Tenant string `json:"tenant,omitempty"` // absent: everybody's
	Field  string `json:"field,omitempty"`  // absent: all of the key
	Reason string `json:"reason"`
}

// String says where, and what.
func (f *BlockFault) String() string {
	switch {
	case f.Key == "":
		return f.Reason
	case f.Field == "":
		return f.Key + ": " + f.Reason
	}
	return fmt.Sprintf("%s: %q does not act: %s", f.Key, f.Field, f.Reason)
}

// A Block keeps a network out.
type Block struct {
	Network netip.Prefix `json:"network"`
	// Tenant is for whose vhosts it acts; empty: for all.
	Tenant string `json:"tenant,omitempty"`
	// Until is when it ends; absent: when it is removed.
	Until time.Time `json:"until,omitzero"`
	Added time.Time `json:"added,omitzero"`
	By    string    `json:"by,omitempty"`
	Note  string    `json:"note,omitempty"`
}

// MaxBlockTime is the longest block that ends by itself.
const MaxBlockTime = 366 * 24 * time.Hour

// A BlockRequest is the body of POST /blocks.
type BlockRequest struct {
	Network string `json:"network"` // an address or a CIDR
	Tenant  string `json:"tenant,omitempty"`
	// For is how long it lasts, MaxBlockTime at most. 0: until it is removed.
	For  routes.Duration `json:"for,omitempty"`
	Note string          `json:"note,omitempty"`
	By   string          `json:"by,omitempty"`
	// Callers are addresses that whoever wants it comes from, as far as the verb knows; over TCP the peer is one of them.
	Callers []netip.Addr `json:"callers,omitempty"`
	// Confirmed blocks what is refused otherwise, with status 409: a caller's own address, trusted proxies, everybody.
	Confirmed bool `json:"confirmed,omitempty"`
}

// A BlockResult is the answer of POST /blocks.
type BlockResult struct {
	Node  string `json:"node"`
	Block Block  `json:"block"`
}

// An UnblockRequest is the body of POST /blocks/remove.
type UnblockRequest struct {
	Network string `json:"network"`
	Tenant  string `json:"tenant,omitempty"`
	By      string `json:"by,omitempty"`
}

// A BlockList is the answer of GET /blocks.
type BlockList struct {
	Node   string    `json:"node"`
	Now    time.Time `json:"now"` // by the node's clock
	Blocks []Block   `json:"blocks"`
	// Problem is why blocks of other nodes may be missing; empty: none are.
	Problem string `json:"problem,omitempty"`
	// Faults are what does not act of that in Redis, at most 100.
	Faults []BlockFault `json:"faults,omitempty"`
}

// maxBlock bounds the JSON of a request.
const maxBlock = 64 << 10

// ErrUnsaved is wrapped by Blocks where a change acts, and only this node's file could not be written.
var ErrUnsaved = errors.New("this node's file lacks it")

var errNoBlocks = &apiError{http.StatusNotImplemented, "this node blocks no networks", nil}

func (a *API) addBlock(w http.ResponseWriter, r *http.Request) error {
	if a.opts.Blocks == nil {
		return errNoBlocks
	}
	var in BlockRequest
	if err := readJSON(w, r, maxBlock, &in); err != nil {
		return err
	}
	network, err := a.blockScope(in.Network, in.Tenant)
	if err != nil {
		return err
	}
	if in.For < 0 || time.Duration(in.For) > MaxBlockTime {
		return &apiError{http.StatusBadRequest, fmt.Sprintf("bad time %v: want 1s to %v, or none", in.For, routes.Duration(MaxBlockTime)), nil}
	}
	if !in.Confirmed {
		if doubts := a.doubts(network, append(in.Callers, peerOf(r)...)); len(doubts) > 0 {
			return &apiError{http.StatusConflict, fmt.Sprintf("%s is not blocked yet: %s", network, strings.Join(doubts, "; ")), nil}
		}
	}
	now := time.Now().UTC().Truncate(time.Second)
	b := Block{Network: network, Tenant: in.Tenant, Added: now, By: in.By, Note: in.Note}
	if in.For > 0 {
		b.Until = time.Now().UTC().Add(time.Duration(in.For)).Truncate(time.Millisecond)
	}
	err = a.opts.Blocks.Add(r.Context(), b)
	if err != nil && !errors.Is(err, ErrUnsaved) {
		return &apiError{http.StatusServiceUnavailable, fmt.Sprintf("%s is not blocked: %v", network, err), nil}
	}
	a.log.Info("network blocked", "network", network.String(), "tenant", in.Tenant, "for", in.For.String(), "by", in.By, "note", in.Note)
	if err != nil {
		return &apiError{http.StatusServiceUnavailable, fmt.Sprintf("%s is blocked: %v", network, err), nil}
	}
	return writeJSON(w, http.StatusOK, BlockResult{Node: a.opts.Node, Block: b})
}

func (a *API) removeBlock(w http.ResponseWriter, r *http.Request) error {
	if a.opts.Blocks == nil {
		return errNoBlocks
	}
	var in UnblockRequest
	if err := readJSON(w, r, maxBlock, &in); err != nil {
		return err
	}
	network, err := routes.ParseNetwork(in.Network)
	if err != nil {
		return &apiError{http.StatusBadRequest, err.Error(), nil}
	}
	was, err := a.opts.Blocks.Remove(r.Context(), network, in.Tenant)
	if err != nil && !errors.Is(err, ErrUnsaved) {
		return &apiError{http.StatusServiceUnavailable, fmt.Sprintf("%s is blocked as before: %v", network, err), nil}
	}
	if !was {
		return &apiError{http.StatusNotFound, a.noBlock(network, in.Tenant), nil}
	}
	a.log.Info("network not blocked any more", "network", network.String(), "tenant", in.Tenant, "by", in.By)
	if err != nil {
		return &apiError{http.StatusServiceUnavailable, fmt.Sprintf("%s is not blocked any more: %v", network, err), nil}
	}
	return writeJSON(w, http.StatusOK, BlockResult{Node: a.opts.Node, Block: Block{Network: network, Tenant: in.Tenant}})
}

// noBlock says that there is no such block, and which ones have addresses of it.
func (a *API) noBlock(network netip.Prefix, tenant string) string {
	text := "no block of " + network.String() + scopeText(tenant)
	for _, b := range a.opts.Blocks.List() {
		if b.Network.Overlaps(network) {
			return text + "; there is one of " + b.Network.String() + scopeText(b.Tenant)
		}
	}
	return text
}

func scopeText(tenant string) string {
	if tenant == "" {
		return " for everybody"
	}
	return " for tenant " + tenant
}

func (a *API) listBlocks(w http.ResponseWriter, r *http.Request) error {
	if a.opts.Blocks == nil {
		return errNoBlocks
	}
	out := BlockList{Node: a.opts.Node, Now: time.Now().UTC(), Blocks: []Block{}}
	tenant := r.URL.Query().Get("tenant")
	for _, b := range a.opts.Blocks.List() {
		if tenant == "" || b.Tenant == tenant {
			out.Blocks = append(out.Blocks, b)
		}
	}
	for _, f := range a.opts.Blocks.Faults() {
		if tenant == "" || f.Key == "" || f.Tenant == tenant {
			out.Faults = append(out.Faults, f)
		}
	}
	if err := a.opts.Blocks.Problem(); err != nil {
		out.Problem = err.Error()
	}
	return writeJSON(w, http.StatusOK, out)
}

// blockScope reads what a block is of.
func (a *API) blockScope(text, tenant string) (netip.Prefix, error) {
	network, err := routes.ParseNetwork(text)
	if err != nil {
		return netip.Prefix{}, &apiError{http.StatusBadRequest, err.Error(), nil}
	}
	if tenant == "" {
		return network, nil
	}
	if _, _, known := a.opts.Table().Tenant(tenant); known {
		return network, nil
	}
	for route := range a.opts.Table().Vhosts() { // one without a document
		if route.Vhost != nil && route.Vhost.Tenant == tenant {
			return network, nil
		}
	}
	return netip.Prefix{}, &apiError{http.StatusNotFound, "there is no tenant " + tenant, nil}
}

// doubts are the reasons why a block may be a slip.
func (a *API) doubts(network netip.Prefix, callers []netip.Addr) (out []string) {
	if network.Bits() == 0 {
		family := "IPv4"
		if network.Addr().Is6() {
			family = "IPv6"
		}
		out = append(out, "it is all of "+family)
	}
	for _, caller := range callers {
		if network.Contains(caller.Unmap().WithZone("")) {
			out = append(out, fmt.Sprintf("it has %s, from which you come", caller))
			break
		}
	}
	for _, proxy := range a.opts.TrustedProxies {
		if network.Overlaps(proxy) {
			out = append(out, fmt.Sprintf("it has addresses of trusted_proxies (%s)", proxy))
			break
		}
	}
	return out
}

// peerOf is the address that a request comes from; none on a socket.
func peerOf(r *http.Request) []netip.Addr {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return nil
	}
	addr, err := netip.ParseAddr(host)
	if err != nil || addr.IsLoopback() { // of a tunnel, which says nothing of who is at its other end
		return nil
	}
	return []netip.Addr{addr}
}
