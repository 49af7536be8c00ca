package edge

import (
	"hash/maphash"
	"strings"
	"sync/atomic"

	"gatehouse/routes"
)

const (
	// askedPlaces bounds how many hosts are remembered between two calls of Asked: a flood of unknown ones takes no memory.
	askedPlaces = 1024
	// askedWays is how many of the places a host may have.
	askedWays = 4
)

// asked remembers hosts that were asked for, known or not, for a source of routes
// that has to be looked at for them. Until somebody wants to know it costs
// a request one load, and then nothing is allocated for a host that is remembered, or has no place. The zero value is ready. Safe for
// concurrent use.
type asked struct {
	wanted atomic.Bool
	places [askedPlaces / askedWays][askedWays]atomic.Pointer[askedHost]
}

// An askedHost is a name that was asked for; known: it is a route's.
type askedHost struct {
	name  string
	known bool
}

var askedSeed = maphash.MakeSeed()

// note remembers a host and the route that answers for it; nil: none does.
func (a *asked) note(host string, route *routes.Route) {
	if !a.wanted.Load() {
		return
	}
	if route != nil {
		a.keep(route.Name, true)
		if route.Name == host {
			return
		}
	}
	a.keep(host, false)
}

// keep gives a name a place that is free or, if it is known, that of one which is not: whoever makes names up takes none from sites. Among equals
// the first stays.
func (a *asked) keep(name string, known bool) {
	ways := &a.places[maphash.String(askedSeed, name)%uint64(len(a.places))]
	var place *atomic.Pointer[askedHost]
	var was *askedHost
	for i := range ways {
		there := ways[i].Load()
		switch {
		case there == nil:
			if place == nil || was != nil {
				place, was = &ways[i], nil
			}
		case there.name == name:
			return
		case known && !there.known && place == nil:
			place, was = &ways[i], there
		}
	}
	if place != nil {
		place.CompareAndSwap(was, &askedHost{strings.Clone(name), known}) // a host's outlives the request
	}
}

// RememberAsked has hosts be remembered for Asked, or not any more. In the beginning they are not.
func (s *Server) RememberAsked(on bool) {
	s.asked.wanted.Store(on)
	if !on {
		s.Asked()
	}
}

// Asked returns hosts, canonical, that were asked for since the last call, and the names of the routes that answered: at most 1,024, of
// which those that are a route's name come first where there are more.
func (s *Server) Asked() []string {
	var hosts []string
	for i := range s.asked.places {
		for j := range s.asked.places[i] {
			if there := s.asked.places[i][j].Swap(nil); there != nil {
				hosts = append(hosts, there.name)
			}
		}
	}
	return hosts
}
