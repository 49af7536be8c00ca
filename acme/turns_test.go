package acme

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// The records of one tenant take their time; all others are there at once.
type slowTenantDNS struct{ slowDNS }

func (d *slowTenantDNS) Present(ctx context.Context, record, value string) error {
	if !strings.HasSuffix(record, ".slow.test.") {
		return nil
	}
	return d.slowDNS.Present(ctx, record, value)
}

// One tenant's slow orders take half of the workers at most: another one's is made meanwhile.
func TestSlowOrdersOfOneTenantHoldUpNoOthers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		ca := newCountingCA(t, asSoon)
		dns := &slowTenantDNS{slowDNS{takes: 15 * time.Second, there: map[string]bool{}}}
		m := newManager(t, Options{
			Data: dir, Issuer: IssuerACME, DNS: dns, ACME: ACME{Directory: countingDirectory, Challenge: challengeDNS}, HTTPPort: noPort, TLSPort: noPort,
			Tenant: func(host string) string { return strings.TrimPrefix(parent(host), "*.") },
		})
		ca.serve(m)
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { m.issuer.run(ctx) })
		var slow []Change
		for n := range 16 {
			slow = append(slow, Change{Name: fmt.Sprintf("n%d.slow.test", n)})
		}
		m.Update(slow)
		time.Sleep(2 * time.Second) // of the bubble's time
		begun := time.Now()
		m.Update([]Change{{Name: "www.quick.test"}})
		time.Sleep(5 * time.Minute)
		cancel()
		running.Wait()
		if looked := ca.failures("www.quick.test"); len(looked) == 0 || looked[0].Sub(begun) > 5*time.Second {
			t.Errorf("the other tenant's order came to its end at %v, want within 5 s of %v", looked, begun)
		}
		for _, c := range slow {
			if len(ca.failures(c.Name)) != 1 {
				t.Errorf("%s was ordered %d times", c.Name, len(ca.failures(c.Name)))
			}
		}
		if dns.most != ownersMost {
			t.Errorf("%d orders of one tenant at a time, want %d", dns.most, ownersMost)
		}
	})
}

// A third owner does not wait until two have nothing left, and each has his keys in their order, two at a time.
func TestScheduleHasOwnersTakeTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		got, now := map[string][]string{}, map[string]int{}
		moved := false
		ownerOf := func(key string) string {
			if key == "c-moved" && !moved {
				return "a"
			}
			return key[:1]
		}
		s := newTurns(2, ownerOf)
		start := time.Now()
		for n := range 20 {
			s.set(fmt.Sprintf("a%02d", n), start.Add(time.Duration(n)))
			s.set(fmt.Sprintf("b%02d", n), start.Add(time.Duration(n)))
		}
		s.set("c-moved", start.Add(-1))
		s.set("a-dropped", start)
		s.drop("a-dropped")
		moved = true
		ctx, cancel := context.WithCancel(t.Context())
		var workers sync.WaitGroup
		for range 4 {
			workers.Go(func() {
				s.work(ctx, func(key string) {
					mu.Lock()
					got[key[:1]] = append(got[key[:1]], key)
					if now[key[:1]]++; now[key[:1]] > 2 {
						t.Errorf("%d of %s are under way", now[key[:1]], key[:1])
					}
					mu.Unlock()
					time.Sleep(10 * time.Second)
					mu.Lock()
					now[key[:1]]--
					mu.Unlock()
				})
			})
		}
		time.Sleep(time.Second)
		s.set("c-new", time.Now())
		time.Sleep(20 * time.Second)
		mu.Lock()
		if len(got["c"]) != 2 {
			t.Errorf("after two turns the third owner has had %q", got["c"])
		}
		mu.Unlock()
		time.Sleep(5 * time.Minute)
		cancel()
		workers.Wait()
		for _, owner := range []string{"a", "b"} {
			firsts := slices.Clone(got[owner])
			slices.Sort(firsts)
			if len(firsts) != 20 || got[owner][0] > owner+"01" || got[owner][19] < owner+"18" {
				t.Errorf("%s was handed %q", owner, got[owner])
			}
		}
		if len(s.owners) != 0 || len(s.items) != 0 || len(s.queue) != 0 {
			t.Errorf("left are %v %v", s.owners, s.items)
		}
	})
}
