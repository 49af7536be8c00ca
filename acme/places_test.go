package acme

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// slowDNS is a DNSPublisher whose records take their time to be with all servers.
type slowDNS struct {
	takes time.Duration

	mu                  sync.Mutex
	now, most, presents int
	there               map[string]bool
}

func (d *slowDNS) Present(ctx context.Context, record, value string) error {
	d.mu.Lock()
	d.presents++
	d.now++
	d.most = max(d.most, d.now)
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.now--
	}()
	select {
	case <-time.After(d.takes):
	case <-ctx.Done():
		return ctx.Err()
	}
	if strings.Contains(record, "refused") {
		return fmt.Errorf("dns update: %s is refused", record)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.there[record+value] = true
	return nil
}

func (d *slowDNS) CleanUp(_ context.Context, record, value string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.there, record+value)
	return nil
}

// A record may take minutes to be with all servers of its zone, and an order has ten: those of a set are not waited for one after the other.
func TestRecordsOfASetAreWaitedForTogether(t *testing.T) {
	for refused := range 3 {
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			ca := newCountingCA(t, func() time.Duration { return time.Second })
			dns := &slowDNS{takes: 2 * time.Minute, there: map[string]bool{}}
			m := newManager(t, Options{
				Data: dir, Issuer: IssuerACME, DNS: dns, ACME: ACME{Directory: countingDirectory, Challenge: challengeDNS}, HTTPPort: noPort, TLSPort: noPort,
			})
			ca.serve(m)
			var names []string
			for n := range 12 {
				names = append(names, fmt.Sprintf("n%d.test", n))
				if n < refused {
					names[n] = fmt.Sprintf("refused%d.test", n)
				}
			}
			m.Update(oneOf("set.test", names...))
			m.issuer.process(t.Context(), "set.test")
			if dns.presents != 12 || dns.most != mostPlaces || len(dns.there) > 0 {
				t.Errorf("%d records, %d at a time, left: %v", dns.presents, dns.most, dns.there)
			}
			f, err := m.issuer.vault.failure(t.Context(), "set.test")
			if want := max(refused, 12*(1-min(refused, 1))); err != nil || len(f.Failed) != want {
				t.Errorf("with %d that are refused it failed for %q (%v), want %d", refused, f.Failed, err, want)
			}
			for _, name := range names {
				if n := len(ca.failures(name)); (n == 1) != (refused == 0) {
					t.Errorf("with %d that are refused the issuer looked %d times for %s", refused, n, name)
				}
			}
		})
	}
}

// A name and its wildcard have their records at the same place, one after the other.
func TestAnswersAtOnePlaceFollowEachOther(t *testing.T) {
	var mu sync.Mutex
	there := map[string]bool{}
	all := []*answer{{name: "a.test", place: "a.test"}, {name: "b.test", place: "b.test"}, {name: "*.a.test", place: "a.test"}}
	seen := 0
	atEachPlace(all, func(z *answer) {
		mu.Lock()
		if there[z.place] {
			t.Errorf("%s comes while another one is at work there", z.name)
		}
		there[z.place] = true
		seen++
		mu.Unlock()
		time.Sleep(time.Millisecond) // for others to come
		mu.Lock()
		there[z.place] = false
		mu.Unlock()
	})
	if seen != len(all) {
		t.Errorf("%d of %d", seen, len(all))
	}
}
