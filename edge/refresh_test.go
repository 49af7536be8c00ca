package edge

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	dto "github.com/prometheus/client_model/go"

	"gatehouse/cache"
	"gatehouse/edge/overload"
	"gatehouse/internal/edgetest"
)

// refreshed is how often a stale hit had that result.
func refreshed(t testing.TB, n *node, result string) float64 {
	t.Helper()
	var m dto.Metric
	if err := n.metrics.refreshes.WithLabelValues(result).Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}

// A client who asks for all pages of a site when they are stale has the backend asked for some of them at a time, and gets all.
func TestAttackStalePagesAreNotAskedForAllAtOnce(t *testing.T) {
	const pages = 4 * mostRefreshesTenant
	var blocking atomic.Bool
	var now, most, asked atomic.Int32
	goOn := make(chan struct{})
	b := edgetest.NewBackendWith(t, edgetest.BackendOptions{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !blocking.Load() {
			w.Header().Set("Age", "1005")
		} else {
			asked.Add(1)
			for m, old := now.Add(1), most.Load(); m > old && !most.CompareAndSwap(old, m); old = most.Load() {
			}
			defer now.Add(-1)
			select {
			case <-goOn:
			case <-r.Context().Done():
			}
		}
		w.Header().Set("Cache-Control", "max-age=1000, stale-while-revalidate=6000")
		fmt.Fprintf(w, "page, %v", blocking.Load())
	})})
	n := start(t, shopSite(b.URL, "cache: {enabled: true}"), func(o *Options) { o.Limits.KeepAliveRequests = -1 })
	c := edgetest.Dial(t, n.http)
	all := func(body, status string) {
		t.Helper()
		for i := range pages {
			a := c.Do("GET", head("GET", "www.shop.test", fmt.Sprint("/", i))+"\r\n")
			if string(a.Body) != body || !strings.Contains(a.Header.Get("Cache-Status"), status) {
				t.Fatalf("page %d: %q, %q", i, a.Body, a.Header.Get("Cache-Status"))
			}
		}
	}
	all("page, false", "stored")
	blocking.Store(true)
	all("page, false", "detail=stale-while-revalidate")
	edgetest.WaitFor(t, "as many requests as may be", func() bool { return now.Load() == mostRefreshesTenant })
	all("page, false", "detail=stale-while-revalidate")
	// What was put off is tried by the next hit, without a pause.
	if most.Load() > mostRefreshesTenant || refreshed(t, n, refreshBusy) < 2*(pages-mostRefreshesTenant) {
		t.Errorf("%d requests at a time; put off %v times", most.Load(), refreshed(t, n, refreshBusy))
	}
	close(goOn)
	edgetest.WaitFor(t, "all pages anew", func() bool {
		for i := range pages {
			c.Do("GET", head("GET", "www.shop.test", fmt.Sprint("/", i))+"\r\n")
		}
		return refreshed(t, n, refreshDone) == pages
	})
	all("page, true", "hit; ttl=")
	if asked.Load() != pages {
		t.Errorf("%d requests for %d pages", asked.Load(), pages)
	}
	edgetest.WaitFor(t, "all to be given back", func() bool {
		n.refreshes.mu.Lock()
		defer n.refreshes.mu.Unlock()
		return n.refreshes.all == 0 && len(n.refreshes.of) == 0
	})
}

func TestRefreshesAreBoundedForAllAndForEach(t *testing.T) {
	var f refreshes
	for tenant := range mostRefreshes / mostRefreshesTenant {
		for range mostRefreshesTenant {
			if !f.take(fmt.Sprint(tenant)) {
				t.Fatal("within the bounds")
			}
		}
		if f.take(fmt.Sprint(tenant)) {
			t.Fatal("beyond the bound of a tenant")
		}
	}
	if f.take("another") {
		t.Error("beyond the bound of all")
	}
	f.release("0")
	if !f.take("another") || f.take("0") {
		t.Error("what is given back is there for others")
	}
}

func TestNothingIsRefreshedWhileMemoryIsShort(t *testing.T) {
	var level atomic.Int32 // of overload.Level
	var asked atomic.Int32
	b := edgetest.NewBackendWith(t, edgetest.BackendOptions{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=10, stale-while-revalidate=60")
		if asked.Add(1) == 1 {
			w.Header().Set("Age", "15")
		}
		fmt.Fprint(w, "version ", asked.Load())
	})})
	n := start(t, shopSite(b.URL, "cache: {enabled: true}"), func(o *Options) { o.Overload = func() overload.Level { return overload.Level(level.Load()) } })
	n.get(t, "www.shop.test", "/")
	level.Store(int32(overload.NoKeepAlive))
	for range 2 {
		if a := n.get(t, "www.shop.test", "/"); string(a.Body) != "version 1" || !strings.Contains(a.Header.Get("Cache-Status"), "; hit") {
			t.Errorf("%q, %q", a.Body, a.Header.Get("Cache-Status"))
		}
	}
	if asked.Load() != 1 || refreshed(t, n, refreshMemory) != 2 {
		t.Errorf("the backend was asked %d times, put off %v", asked.Load(), refreshed(t, n, refreshMemory))
	}
	level.Store(int32(overload.Normal))
	edgetest.WaitFor(t, "the new version", func() bool { return string(n.get(t, "www.shop.test", "/").Body) == "version 2" })
}

// A purge between a stale hit and the request behind it: that it is found good brings nothing back.
func TestPurgeOvertakesTheRequestBehindAHit(t *testing.T) {
	for _, purged := range []bool{false, true} {
		n, _ := handled(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", `"1"`)
			w.Header().Set("Cache-Control", "max-age=1000, stale-while-revalidate=6000")
			if r.Header.Get("If-None-Match") != "" {
				w.WriteHeader(304)
				return
			}
			w.Header().Set("Age", "1005")
			fmt.Fprint(w, "page")
		}, "")
		n.get(t, "www.shop.test", "/")
		r := n.hold(t, "serveCached", head("GET", "www.shop.test", "/")+"\r\n")
		c := &r.cached
		c.begin(r)
		c.lookup = c.store.Lookup(&c.request, c.policy)
		l := cache.Lookup{MayStore: true, Stale: c.lookup.Entry, Forward: cache.ForwardStale}
		flight := c.store.Lead(&c.request, &l)
		if flight == nil || !c.lookup.Refresh {
			t.Fatalf("nothing to refresh: %+v", c.lookup)
		}
		behind := r.copy()
		if purged {
			n.store.Purge(cache.Purge{Kind: cache.PurgeAll})
		}
		if err := behind.fetch(l, flight); err != nil {
			t.Error(err)
		}
		flight.Abandon()
		behind.done()
		l = c.store.Lookup(&c.request, c.policy)
		if hit := l.Entry != nil && l.TTL > 0; hit == purged {
			t.Errorf("purged %v: a fresh hit %v (%s)", purged, hit, l.Forward)
		}
	}
}
