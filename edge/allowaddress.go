package edge

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"sync"

	"gatehouse/edge/iplist"
	"gatehouse/routes"
)

// Who decided about an address, as counted.
const (
	byVhost   = "vhost"
	byTenant  = "tenant"
	byProcess = "process"
	byBlock   = "block"
)

// What the record says of an address.
const (
	addressUnlisted  = "in no list"
	addressByVhost   = "allowed by the vhost"
	addressByTenant  = "allowed by the tenant"
	addressByProcess = "allowed by the process"
)

// An addressRefusal is why a client is not served: made once, since whoever is blocked may ask often. Visitors are told none of it.
type addressRefusal struct {
	*httpError
	by string
}

func refuseAddress(by, cause string) addressRefusal {
	return addressRefusal{&httpError{status: 403, reason: "the request was refused", cause: errors.New(cause)}, by}
}

var (
	deniedByVhost   = refuseAddress(byVhost, "the client's address is in addresses.deny of the vhost")
	deniedByTenant  = refuseAddress(byTenant, "the client's address is in addresses.deny of the tenant")
	deniedByProcess = refuseAddress(byProcess, "the client's address is in addresses.deny of the process")
	deniedByBlock   = refuseAddress(byBlock, "the client's address is blocked")
)

// siteAddresses are a site's rules and its tenant's, until they are given back; a site without any has none.
type siteAddresses struct {
	vhost, tenant *iplist.Rules

	from *iplist.Lists
	once sync.Once
}

// allowAddress refuses clients whose address may not ask. The nearest document that knows the address decides: the vhost's, its
// tenant's (or the defaults), the process's. Blocks come last, so that whoever is allowed anywhere cannot be blocked by mistake.
func (s *Server) allowAddress(next handler) handler {
	return func(r *request) error {
		refusal, why := s.judgeAddress(r.site, r.Client.Addr())
		if refusal != nil {
			r.record.Address = refusal.cause.Error()
			s.metrics.denied.WithLabelValues(r.site.meter.tenant, refusal.by).Inc()
			return refusal.httpError
		}
		r.record.Address = why
		return next(r)
	}
}

// judgeAddress returns why a client is refused, or else what let it pass. It takes no lock and allocates nothing.
func (s *Server) judgeAddress(st *site, a netip.Addr) (refusal *addressRefusal, why string) {
	if st.addresses != nil {
		switch st.addresses.vhost.Judge(a) {
		case iplist.Allowed:
			return nil, addressByVhost
		case iplist.Denied:
			return &deniedByVhost, ""
		}
		switch st.addresses.tenant.Judge(a) {
		case iplist.Allowed:
			return nil, addressByTenant
		case iplist.Denied:
			return &deniedByTenant, ""
		}
	}
	switch s.addresses.process.Judge(a) {
	case iplist.Allowed:
		return nil, addressByProcess
	case iplist.Denied:
		return &deniedByProcess, ""
	}
	if s.opts.Blocks.Blocked(a, st.tenant) {
		return &deniedByBlock, ""
	}
	return nil, addressUnlisted
}

// addresses are what allowAddress asks beside blocks, and what cuts tunnels whose client is refused meanwhile.
type addresses struct {
	lists   *iplist.Lists
	process *iplist.Rules
	wake    chan struct{} // tunnels are to be compared with what is in force

	makers sync.WaitGroup
	mu     sync.Mutex
	making map[string]bool // owners whose sites are being made for the sake of their tunnels
}

func (s *Server) openAddresses() (err error) {
	s.addresses.wake = make(chan struct{}, 1)
	s.addresses.lists, err = iplist.NewLists(iplist.Options{
		Dir: s.opts.AddressLists, Refresh: s.opts.AddressRefresh, Dial: s.dialForList, TLS: s.opts.BackendTLS,
		Registerer: s.opts.Registerer, Logger: s.log, Changed: s.addressesChanged,
	})
	if err != nil {
		return fmt.Errorf("lists of addresses: %w", err)
	}
	s.addresses.process = s.addresses.lists.Open("", s.opts.Addresses)
	if s.opts.Blocks != nil {
		s.opts.Blocks.OnChange(s.addressesChanged)
	}
	return nil
}

// holdAddresses has a site hold its rules. A site that nobody gives back gives back when it is no longer in use, see backends.hold.
func (s *Server) holdAddresses(st *site) {
	lists, vhost, tenant := s.addresses.lists, st.settings.VhostAddresses, st.settings.TenantAddresses
	if vhost.Empty() && tenant.Empty() {
		return
	}
	out := &siteAddresses{from: lists}
	var reading sync.WaitGroup // together: each may wait for servers of lists
	reading.Go(func() { out.vhost = lists.Open(st.owner, vhost) })
	out.tenant = lists.Open(st.owner, tenant)
	reading.Wait()
	runtime.AddCleanup(st, (*siteAddresses).release, out)
	st.addresses = out
}

// release gives the rules back; a second call does nothing. a may be nil.
func (a *siteAddresses) release() {
	if a == nil {
		return
	}
	a.once.Do(func() {
		a.from.Close(a.vhost)
		a.from.Close(a.tenant)
	})
}

// addressesChanged has tunnels be compared with what is in force now. It does not block.
func (s *Server) addressesChanged() {
	select {
	case s.addresses.wake <- struct{}{}:
	default:
	}
}

// FollowAddresses has the lists of addresses read again, and cuts upgraded connections whose client is not served any more, until
// ctx ends. It returns nil.
func (s *Server) FollowAddresses(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- s.addresses.lists.Run(ctx) }()
	defer s.addresses.makers.Wait()
	for {
		select {
		case err := <-done:
			return err
		case <-s.addresses.wake:
			s.cutRefused(ctx)
		}
	}
}

// cutRefused ends the upgraded connections of clients that are refused now, and of sites that are suspended or removed. It waits for nothing: where the site of
// now has not been made yet, the one before decides until it has.
func (s *Server) cutRefused(ctx context.Context) {
	cut, unmade := 0, map[*routes.Route]struct{}{}
	for _, t := range s.tunnels.all() {
		now, next := s.siteNow(t.site)
		if next != nil {
			unmade[next] = struct{}{}
		}
		if refusal, _ := s.judgeAddress(now, t.client); refusal != nil || s.closed(t.site) != nil {
			_ = t.reset() // fails on one that has ended meanwhile
			cut++
		}
	}
	if cut > 0 {
		s.log.Info("upgraded connections cut: their clients are refused now, or their sites suspended or removed", "connections", cut)
	}
	s.makeSites(ctx, unmade)
}

// makeSites makes the sites of routes that nobody has asked for yet, and has tunnels be compared again: each owner's behind the others' backs, since
// making one may wait for servers of lists.
func (s *Server) makeSites(ctx context.Context, unmade map[*routes.Route]struct{}) {
	owned := map[string][]*routes.Route{}
	for route := range unmade {
		owner := ownerOf(route.Vhost.Tenant, route.Name)
		owned[owner] = append(owned[owner], route)
	}
	a := &s.addresses
	a.mu.Lock()
	defer a.mu.Unlock()
	for owner, all := range owned {
		if a.making[owner] {
			continue // it wakes us at its end
		}
		if a.making == nil {
			a.making = map[string]bool{}
		}
		a.making[owner] = true
		a.makers.Go(func() {
			for _, route := range all {
				if ctx.Err() == nil && s.table.Load().Vhost(route.Name) == route {
					_, _ = s.siteOf(route) // its error is for those who ask
				}
			}
			a.mu.Lock()
			delete(a.making, owner)
			a.mu.Unlock()
			s.addressesChanged()
		})
	}
}

// siteNow is the site that has taken a site's place; itself if none has, or none that can serve. next is its successor's route if
// that has no site yet, else nil. It does not block.
func (s *Server) siteNow(st *site) (now *site, next *routes.Route) {
	table := s.table.Load()
	if table == nil {
		return st, nil
	}
	route := table.Vhost(st.name)
	if route == nil || route.Vhost == nil {
		return st, nil
	}
	made, ok := route.Compiled().(*site)
	switch {
	case !ok:
		return st, route
	case made.err != nil:
		return st, nil
	}
	return made, nil
}

// hasAddresses reports whether a route's documents say which addresses are served. route may be nil.
func hasAddresses(route *routes.Route) bool {
	return route != nil && (route.Vhost != nil && route.Vhost.Addresses() != nil || route.Tenant != nil && route.Tenant.Addresses != nil)
}

// AddressProblems returns what is wrong with each of the lists that a vhost or its tenant names; nil: nothing, or nobody has asked for
// the vhost yet. It does not block.
func (s *Server) AddressProblems(vhost string) []error {
	table := s.table.Load()
	if table == nil {
		return nil
	}
	route := table.Vhost(vhost)
	if route == nil {
		return nil
	}
	st, ok := route.Compiled().(*site)
	if !ok || st.addresses == nil {
		return nil
	}
	return slices.Concat(st.addresses.vhost.Problems(), st.addresses.tenant.Problems())
}

// ProcessAddressProblems returns what is wrong with the lists that the process settings name; those of their defaults count once somebody has
// asked for a vhost that has them. It does not block.
func (s *Server) ProcessAddressProblems() []error {
	out := s.addresses.process.Problems()
	if s.opts.Defaults != nil {
		out = append(out, s.addresses.lists.Problems(s.opts.Defaults.Addresses)...)
	}
	return out
}
