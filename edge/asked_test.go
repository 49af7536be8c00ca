package edge

import (
	"fmt"
	"hash/maphash"
	"slices"
	"testing"

	"gatehouse/routes"
)

func TestAskedHostsAreTold(t *testing.T) {
	var s Server
	s.asked.note("before.test", nil)
	if got := s.Asked(); len(got) != 0 {
		t.Errorf("got %v before anybody wanted to know", got)
	}
	s.RememberAsked(true)
	s.asked.note("a.test", nil)
	s.asked.note("a.test", nil)
	if got := s.Asked(); !slices.Equal(got, []string{"a.test"}) {
		t.Errorf("got %v", got)
	}
	if got := s.Asked(); len(got) != 0 {
		t.Errorf("got %v a second time", got)
	}
	s.asked.note("b.shop.test", &routes.Route{Name: "*.shop.test"})
	got := s.Asked()
	if slices.Sort(got); !slices.Equal(got, []string{"*.shop.test", "b.shop.test"}) {
		t.Errorf("got %v of a host that a wildcard answers for", got)
	}
	s.asked.note("c.test", nil)
	s.RememberAsked(false)
	s.asked.note("d.test", nil)
	if got := s.Asked(); len(got) != 0 {
		t.Errorf("got %v when nobody wanted to know any more", got)
	}
}

// Strangers who make hosts up fill what is free, and take no place from a site that is asked for, before or after them.
func TestUnknownHostsPushOutNoKnownOnes(t *testing.T) {
	var s Server
	s.RememberAsked(true)
	flood := func() {
		for i := range 100_000 {
			s.asked.note(fmt.Sprintf("unknown%d.test", i), nil)
			s.asked.note(fmt.Sprintf("made-up%d.shop.test", i), &routes.Route{Name: "*.shop.test"})
		}
	}
	sites := []string{"*.shop.test"}
	for i := range 20 {
		sites = append(sites, fmt.Sprintf("site%d.test", i))
	}
	ask := func(sites []string) {
		for _, name := range sites {
			s.asked.note(name, &routes.Route{Name: name})
		}
	}
	ask(sites[:10])
	flood()
	ask(sites[10:])
	got := s.Asked()
	if len(got) != askedPlaces {
		t.Errorf("a flood has left %d hosts, want %d", len(got), askedPlaces)
	}
	for _, name := range sites {
		if !slices.Contains(got, name) {
			t.Errorf("%s was pushed out", name)
		}
	}
}

// sameWays returns so many names that have the same places.
func sameWays(n int) (names []string) {
	sets := uint64(askedPlaces / askedWays)
	for i := 0; len(names) < n; i++ {
		if name := fmt.Sprintf("busy%d.test", i); maphash.String(askedSeed, name)%sets == 0 {
			names = append(names, name)
		}
	}
	return names
}

func TestBusyHostsInTheSamePlacesCostNoAllocation(t *testing.T) {
	var s Server
	s.RememberAsked(true)
	for _, known := range []bool{false, true} {
		var all []func()
		for _, name := range sameWays(2 * askedWays) {
			var route *routes.Route
			if known {
				route = &routes.Route{Name: name}
			}
			all = append(all, func() { s.asked.note(name, route) })
			s.asked.note(name, route)
		}
		if n := testing.AllocsPerRun(100, func() {
			for _, note := range all {
				note()
			}
		}); n > 0 {
			t.Errorf("hosts that are remembered or have no place cost %v allocations (known: %v)", n, known)
		}
	}
}

func BenchmarkAskedHosts(b *testing.B) {
	for _, hosts := range []int{1, 2, 2 * askedWays} {
		b.Run(fmt.Sprint(hosts, " in the same places"), func(b *testing.B) {
			var s Server
			s.RememberAsked(true)
			names := sameWays(hosts)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				s.asked.note(names[i%hosts], nil)
			}
		})
	}
}
