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
	if s.Vhost("shop", "www.shop.test").invalidated.any.Load() {
		t.Error("a vhost without invalidations remembers some")
	}
}

// An invalidation refuses fills of its own key alone, however many there are of others at the time.
func TestInvalidationsRefuseNoFillsOfOtherKeys(t *testing.T) {
	s, _ := newStore(t, 8<<20)
	running := make([]*Request, 500)
	for i := range running {
		running[i] = of(s, "shop", fmt.Sprint("/", i))
		s.Lookup(running[i], &Policy{})
	}
	for i := range mostKept {
		invalidate(s, of(s, "shop", fmt.Sprint("/other/", i)))
	}
	for i, req := range running {
		if !put(t, s, req, answer(200, fresh...), "page") {
			t.Fatalf("answer %d is refused", i)
		}
	}
}

// A vhost remembers so many; of what is forgotten nothing is stored that was asked for before.
func TestInvalidationsThatAreForgottenRefuseAll(t *testing.T) {
	s, _ := newStore(t, 8<<20)
	i := &s.Vhost("shop", "www.shop.test").invalidated
	running := make([]*Request, 2000)
	for n := range running {
		running[n] = of(s, "shop", fmt.Sprint("/", n))
		s.Lookup(running[n], &Policy{})
	}
	for _, req := range running {
		invalidate(s, req)
	}
	for n := range 3 * mostKept {
		invalidate(s, of(s, "shop", fmt.Sprint("/other/", n)))
	}
	if len(i.young) > mostKept || len(i.old) > mostKept || i.floor == 0 {
		t.Errorf("%d and %d are remembered", len(i.young), len(i.old))
	}
	for n, req := range running {
		if put(t, s, req, answer(200, fresh...), "page") {
			t.Fatalf("answer %d is stored although it was invalidated", n)
		}
	}
	later := of(s, "shop", "/1")
	s.Lookup(later, &Policy{})
	if !put(t, s, later, answer(200, fresh...), "page") {
		t.Error("what was asked for afterwards is refused")
	}
}
