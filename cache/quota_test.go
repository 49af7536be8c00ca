package cache

import (
	"fmt"
	"math/rand/v2"
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
