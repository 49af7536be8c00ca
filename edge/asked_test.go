package edge

import (
	"fmt"
	"slices"
	"testing"
)

func TestAskedHostsAreTold(t *testing.T) {
	var s Server
	s.asked.note("before.test")
	if got := s.Asked(); len(got) != 0 {
		t.Errorf("got %v before anybody wanted to know", got)
	}
	s.asked.note("a.test")
	s.asked.note("a.test")
	if got := s.Asked(); !slices.Equal(got, []string{"a.test"}) {
		t.Errorf("got %v", got)
	}
	if got := s.Asked(); len(got) != 0 {
		t.Errorf("got %v a second time", got)
	}
	for i := range 100_000 {
		s.asked.note(fmt.Sprintf("unknown%d.test", i))
	}
	if n := len(s.Asked()); n > askedPlaces || n < askedPlaces/2 {
		t.Errorf("a flood has left %d hosts, want at most %d", n, askedPlaces)
	}
	host := "a.test"
	s.asked.note(host)
	if n := testing.AllocsPerRun(100, func() { s.asked.note(host) }); n > 0 {
		t.Errorf("a host that is remembered costs %v allocations", n)
	}
}
