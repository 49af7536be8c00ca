package cache

import (
	"fmt"
	"testing"
)

// of is a GET of a vhost.
func of(s *Store, tenant, path string) *Request {
	req := get(path)
	req.Key = AppendKey(nil, tenant, "www."+tenant+".test", "https", "www."+tenant+".test", path)
	req.Vhost = s.Vhost(tenant, "www."+tenant+".test")
	return req
}

// What one vhost's visitors post refuses no other's answers, and parts no other's flights.
func TestAttackPostsOfOneVhostRefuseNoFillsOfAnother(t *testing.T) {
	s, _ := newStore(t, 8<<20)
	var fills []*Request
	var flights []*Flight
	for i := range 500 {
		req := of(s, "shop", fmt.Sprint("/", i))
		s.Lookup(req, &Policy{})
		fills = append(fills, req)
		flights = append(flights, lead(t, s, of(s, "shop", fmt.Sprint("/flight/", i))))
	}
	for i := range 30_000 {
		post := of(s, "evil", fmt.Sprint("/", i))
		s.Answered(post, head(), &Changes{})
	}
	for i, req := range fills {
		if !put(t, s, req, answer(200, fresh...), "page") {
			t.Fatalf("answer %d is refused", i)
		}
	}
	for i, f := range flights {
		if wait(t, s, of(s, "shop", fmt.Sprint("/flight/", i))) != f {
			t.Fatalf("flight %d is parted", i)
		}
		f.Leave()
		f.Abandon()
	}
	if s.Vhost("shop", "www.shop.test").invalidated.slots.Load() != nil {
		t.Error("a vhost without invalidations has a table of them")
	}
}

// The table of a vhost grows with its invalidations, up to a bound, and forgets none.
func TestInvalidationsAreNotForgottenWhereTheTableGrows(t *testing.T) {
	s, _ := newStore(t, 8<<20)
	v := s.Vhost("shop", "www.shop.test")
	running := make([]*Request, 2000)
	for i := range running {
		running[i] = of(s, "shop", fmt.Sprint("/", i))
		s.Lookup(running[i], &Policy{})
	}
	for _, req := range running {
		invalidate(s, req)
	}
	for i := range 4 * mostSlots {
		invalidate(s, of(s, "shop", fmt.Sprint("/other/", i%100))) // few slots: the others keep what they have
	}
	if n := len(*v.invalidated.slots.Load()); n > mostSlots || n <= firstSlots {
		t.Errorf("%d slots", n)
	}
	for i, req := range running {
		if put(t, s, req, answer(200, fresh...), "page") {
			t.Fatalf("answer %d is stored although it was invalidated", i)
		}
	}
	later := of(s, "shop", "/1")
	s.Lookup(later, &Policy{})
	if !put(t, s, later, answer(200, fresh...), "page") {
		t.Error("what was asked for afterwards is refused")
	}
}
