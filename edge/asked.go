package edge

import (
	"hash/maphash"
	"strings"
	"sync/atomic"
)

// askedPlaces bounds how many hosts are remembered: a flood of unknown ones takes
// places from others for a moment, and no memory.
const askedPlaces = 1024

// asked remembers hosts that were asked for, known or not, for a source of routes
// that has to be looked at for them. Until somebody wants to know it costs
// a request one load. The zero value is ready. Safe for concurrent use.
type asked struct {
	wanted atomic.Bool
	places [askedPlaces]atomic.Pointer[string]
}

var askedSeed = maphash.MakeSeed()

func (a *asked) note(host string) {
	if !a.wanted.Load() {
		return
	}
	place := &a.places[maphash.String(askedSeed, host)%askedPlaces]
	if there := place.Load(); there != nil && *there == host {
		return
	}
	kept := strings.Clone(host) // it outlives the request
	place.Store(&kept)
}

// Asked returns hosts, canonical, that were asked for since the last call, known
// or not: of at most 1,024 those that came last. The first call returns none: from then on they are
// remembered.
func (s *Server) Asked() []string {
	if !s.asked.wanted.Swap(true) {
		return nil
	}
	var hosts []string
	for i := range s.asked.places {
		if host := s.asked.places[i].Swap(nil); host != nil {
			hosts = append(hosts, *host)
		}
	}
	return hosts
}
