package cache

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
)

// visitors ask a store for pages of a tenant, as often as a Zipf distribution has it, and fill what is missing.
type visitors struct {
	s     *Store
	v     *Vhost
	zipf  *rand.Zipf
	r     *rand.Rand
	sizes []int
	hits  int
	asked int
}

func newVisitors(s *Store, tenant string, pages uint64) *visitors {
	r := rand.New(rand.NewPCG(1, uint64(len(tenant))))
	z := &visitors{s: s, v: s.Vhost(tenant, "www."+tenant+".test"), r: r, zipf: rand.NewZipf(r, 1.01, 1, pages-1)}
	for range pages {
		z.sizes = append(z.sizes, 200+r.IntN(4000)+r.IntN(2)*r.IntN(20_000))
	}
	return z
}

func (z *visitors) ask(page uint64, size int) {
	req := &Request{
		Method: "GET", Header: head(), Vhost: z.v,
		Key: AppendKey(nil, z.v.tenant.name, z.v.name, "https", z.v.name, fmt.Sprint("/", page)),
	}
	z.asked++
	if z.s.Lookup(req, &Policy{}).Entry != nil {
		z.hits++
		return
	}
	resp := answer(200, fresh...)
	// A refusal is a miss next time: that is what is measured.
	_ = z.s.Put(NewEntry(req, resp, Decide(req, resp, &Policy{}), nil, 300, make([]byte, size), ""))
}

func (z *visitors) visit() {
	page := z.zipf.Uint64()
	z.ask(page, z.sizes[page])
}

func (z *visitors) flood() { z.ask(z.r.Uint64(), 2000+z.r.IntN(8000)) }

func (z *visitors) ratio() float64 { return 100 * float64(z.hits) / float64(z.asked) }

// A tenant who floods the store with pages that nobody asks for again, or with as many as he has, takes nothing from the one
// who keeps to his share.
func TestAttackAFloodOfOneTenantLeavesAnothersPages(t *testing.T) {
	if raceEnabled {
		t.Skip("it is about a ratio, and takes ten times as long; the models run with the race detector")
	}
	const memory, pages, rounds = 8 << 20, 10_000, 20_000
	alone := func(memory int64) float64 {
		s, _ := newStore(t, memory)
		z := newVisitors(s, "shop", pages)
		for range rounds {
			z.visit()
		}
		z.hits, z.asked = 0, 0
		for range rounds {
			z.visit()
		}
		return z.ratio()
	}
	idle, half := alone(memory), alone(memory/2)
	for name, attack := range map[string]func(z *visitors){"unique": (*visitors).flood, "repeated": (*visitors).visit} {
		t.Run(name, func(t *testing.T) {
			s, _ := newStore(t, memory)
			z, other := newVisitors(s, "shop", pages), newVisitors(s, "evil", 10*pages)
			for range rounds {
				z.visit()
			}
			z.hits, z.asked = 0, 0
			for range rounds {
				z.visit()
				for range 5 {
					attack(other)
				}
			}
			t.Logf("hits: %.1f %% under attack, %.1f %% alone with half of the memory, %.1f %% with all; holds %d of %d bytes, the other %d",
				z.ratio(), half, idle, z.v.tenant.bytes.Load(), s.Stats().Bytes, other.v.tenant.bytes.Load())
			if z.ratio() < half-1 {
				t.Errorf("the hit ratio falls from %.1f to %.1f %%", half, z.ratio())
			}
			if st := s.Stats(); st.Bytes > memory*135/100 {
				t.Errorf("%d bytes are stored of %d", st.Bytes, memory)
			}
		})
	}
}

// shareless is a tenant that holds a page and has no share of its own.
func shareless(t *testing.T, s *Store, name string) *Tenant {
	t.Helper()
	v := s.Vhost(name, "www."+name+".test")
	req := get("/" + name)
	req.Vhost = v
	if !fill(t, s, req, answer(200, fresh...), name) {
		t.Fatal("not stored")
	}
	return v.tenant
}

func TestShareOfATenantThatHoldsNothingCountsForNothing(t *testing.T) {
	const memory, given = 64 << 20, 8 << 20
	s, _ := newStore(t, memory)
	var idle []*Tenant
	for i := range 20 {
		idle = append(idle, s.Vhost(fmt.Sprint("idle", i), "www").Tenant())
		s.SetShare(idle[i], given)
	}
	a, b := shareless(t, s, "a"), shareless(t, s, "b")
	want := func(share int64, when string) {
		t.Helper()
		if s.shareOf(a) != share || s.shareOf(b) != share {
			t.Errorf("%s: %d and %d, want %d", when, s.shareOf(a), s.shareOf(b), share)
		}
	}
	want(memory/2, "while the others hold nothing")
	s.SetShare(b, 0)
	want(memory/2, "after a share of nothing")

	one := get("/one")
	one.Vhost = s.Vhost("idle0", "www")
	fill(t, s, one, answer(200, fresh...), "one")
	want((memory-given)/2, "when one of them holds something")
	s.SetShare(idle[0], 2*given)
	want((memory-2*given)/2, "when its share changes")
	s.SetShare(idle[0], 0)
	want(memory/3, "when it gives it back")
	s.SetShare(idle[0], given)
	s.drop(s.stored(s.hash(one.Key), one.Key))
	want(memory/2, "when it holds nothing again")
	if q := &s.quotas; q.given.Load() != 0 || q.givers.Load() != 0 || q.active.Load() != 2 {
		t.Errorf("%d bytes given to %d of %d", q.given.Load(), q.givers.Load(), q.active.Load())
	}
}

// What counts is right whatever comes beside what.
func TestSharesChangeWhileTenantsComeAndGo(t *testing.T) {
	q := &quotas{}
	tenants := make([]Tenant, 4)
	var all sync.WaitGroup
	for w := range 8 {
		all.Go(func() {
			for i := range 2000 {
				one := &tenants[(i+w)%len(tenants)]
				switch w % 2 {
				case 0:
					q.book(one, 10)
					q.book(one, -10)
				default:
					one.share.Store(int64(i % 3))
					q.recount(one)
				}
			}
		})
	}
	all.Wait()
	if q.active.Load() != 0 || q.given.Load() != 0 || q.givers.Load() != 0 {
		t.Errorf("nobody holds anything: %d active, %d bytes given to %d", q.active.Load(), q.given.Load(), q.givers.Load())
	}
	for i := range tenants {
		tenants[i].share.Store(5)
		q.book(&tenants[i], 1)
	}
	if q.active.Load() != 4 || q.given.Load() != 20 || q.givers.Load() != 4 {
		t.Errorf("all hold something: %d active, %d bytes given to %d", q.active.Load(), q.given.Load(), q.givers.Load())
	}
}

// Tenants who have a share and store nothing take no protection from those who keep to theirs.
func TestAttackIdleSharesDoNotVoidTheQuota(t *testing.T) {
	if raceEnabled {
		t.Skip("it is about a ratio, and takes ten times as long")
	}
	const memory, pages, rounds = 8 << 20, 10_000, 10_000
	hits := func(idle int) float64 {
		s, _ := newStore(t, memory)
		for i := range idle {
			s.SetShare(s.Vhost(fmt.Sprint("idle", i), "www").Tenant(), 1<<10)
		}
		z, other := newVisitors(s, "shop", pages), newVisitors(s, "evil", 10*pages)
		for range rounds {
			z.visit()
		}
		z.hits, z.asked = 0, 0
		for range rounds {
			z.visit()
			for range 5 {
				other.visit()
			}
		}
		return z.ratio()
	}
	if without, with := hits(0), hits(9); with < without-1 {
		t.Errorf("hits under attack: %.1f %% without and %.1f %% with idle tenants that have a share", without, with)
	}
}

// What is asked for anew is the same page: its uses are neither forgotten nor, but for the time that passes, fewer.
func TestUsesOutlastAReplacement(t *testing.T) {
	for name, between := range map[string]func(*Store, *Request){
		"it is refreshed":   func(*Store, *Request) {},
		"it is invalidated": func(s *Store, req *Request) { s.Invalidate(req.Key) },
		"it is purged":      func(s *Store, _ *Request) { s.Purge(Purge{Kind: PurgeAll, Soft: true}) },
	} {
		s, _ := newStore(t, 8<<20)
		v := s.Vhost("shop", "www.shop.test")
		ask := func(path string) *Request {
			req := get(path)
			req.Vhost = v
			return req
		}
		uses := func(path string) int32 {
			req := ask(path)
			return s.stored(s.hash(req.Key), req.Key).uses.Load()
		}
		fill(t, s, ask("/hot"), answer(200, fresh...), "hot")
		for range 50 {
			wantHit(t, s, ask("/hot"), "hot")
		}
		for range 3 {
			req := ask("/hot")
			between(s, req)
			s.Lookup(req, &Policy{})
			put(t, s, req, answer(200, fresh...), "hot")
		}
		if got := uses("/hot"); got < 50 {
			t.Errorf("%s: %d uses, want 50", name, got)
		}
		fill(t, s, ask("/cold"), answer(200, fresh...), "cold")
		wantHit(t, s, ask("/cold"), "cold")
		if got := s.valued()[0]; string(got.variants[0].Body) != "hot" {
			t.Errorf("%s: the page that is asked for most is not written first", name)
		}
		v.tenant.halvings.Add(2)
		req := ask("/hot")
		s.Lookup(req, &Policy{})
		put(t, s, req, answer(200, fresh...), "hot")
		if got := uses("/hot"); got < 12 || got > 15 {
			t.Errorf("%s: %d uses after two halvings", name, got)
		}
	}
}

// Of two keys that share a hash one takes the other's place, and not its uses.
func TestUsesOfAnotherKeyAreNotTakenOver(t *testing.T) {
	s, _ := newStore(t, 8<<20)
	s.hash = func([]byte) uint64 { return 42 }
	fill(t, s, get("/a"), answer(200, fresh...), "a")
	for range 5 {
		wantHit(t, s, get("/a"), "a")
	}
	fill(t, s, get("/b"), answer(200, fresh...), "b")
	if o := s.stored(42, get("/b").Key); o.uses.Load() != 0 {
		t.Errorf("%d uses", o.uses.Load())
	}
}
