package edge

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
)

// waiting waits until that many have their turn and that many wait for it.
func (t *turns) wait(tb testing.TB, busy, waiting int) {
	tb.Helper()
	edgetest.WaitFor(tb, fmt.Sprintf("%d turns and %d who wait", busy, waiting), func() bool {
		b, w := t.state()
		return b == busy && w == waiting
	})
}

// atOnce sets the processors of a test.
func atOnce(t *testing.T, processors int) {
	before := runtime.GOMAXPROCS(processors)
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
}

func TestTurnsAtOnce(t *testing.T) {
	for processors, want := range map[int][2]int{1: {1, 2}, 2: {1, 2}, 4: {2, 3}, 8: {4, 6}, 64: {32, 48}} {
		t.Run(fmt.Sprint(processors), func(t *testing.T) {
			atOnce(t, processors)
			if tenant, all := turnsAtOnce(); [2]int{tenant, all} != want {
				t.Errorf("%d for a tenant, %d for all, want %v", tenant, all, want)
			}
		})
	}
}

// However many tenants are flooded at once, all together they have a bounded number of turns, and get
// them in rotation: who sends more gets no more.
func TestTurnsOfManyTenantsAreBoundedAndInRotation(t *testing.T) {
	atOnce(t, 2)
	var all turns
	var first []func()
	for _, tenant := range []string{"a", "b"} {
		release, ok := all.take(tenant)
		if !ok {
			t.Fatal("no turn")
		}
		first = append(first, release)
	}
	var order []string
	var mu sync.Mutex
	var wg sync.WaitGroup
	queued := 0
	join := func(tenant string) {
		wg.Go(func() {
			release, ok := all.take(tenant)
			if !ok {
				t.Error("gave up")
				return
			}
			if busy, _ := all.state(); busy > 2 {
				t.Errorf("%d turns at once", busy)
			}
			mu.Lock()
			order = append(order, tenant)
			mu.Unlock()
			release()
		})
		queued++
		all.wait(t, 2, queued)
	}
	for range 5 {
		join("flooded")
	}
	for i := range 4 {
		join(fmt.Sprint("t", i))
	}
	first[0]()
	first[1]()
	wg.Wait()
	all.wait(t, 0, 0)
	if len(all.tenants) != 0 || all.waiting.Len() != 0 {
		t.Errorf("%d tenants are remembered", len(all.tenants))
	}
	last := map[string]int{}
	for at, tenant := range order {
		last[tenant] = at
	}
	for i := range 4 { // two at once may overtake one another
		if at := last[fmt.Sprint("t", i)]; at > last["flooded"] {
			t.Errorf("t%d waited for all of the flood: %v", i, order)
		}
	}
}

// Who waits in vain gets 503 in block mode, and passes unseen in detect mode, which says so.
func TestWhoseTurnDoesNotCome(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, threeTenants(b.URL))
	n.turns.patience = time.Millisecond
	most, _ := turnsAtOnce()
	for host, status := range map[string]int{"block.test": 503, "detect.test": 200, "off.test": 200} {
		var releases []func()
		for range most {
			release, ok := n.turns.take(strings.TrimSuffix(host, ".test"))
			if !ok {
				t.Fatal("no turn")
			}
			releases = append(releases, release)
		}
		cookies := "Cookie: " + strings.Repeat("a=1; ", 1000)
		if got := n.get(t, host, "/bytes?n=1", "User-Agent: test", "Accept: */*", cookies); got.Status != status {
			t.Errorf("%s, a head: status %d, want %d", host, got.Status, status)
		}
		body := "a=" + strings.Repeat("word+", 1000)
		if got := n.sendBody(t, host, "/sink", formType, body); got.Status != status || status == 200 && !strings.Contains(string(got.Body), sumOf([]byte(body))) {
			t.Errorf("%s, a body: status %d, want %d", host, got.Status, status)
		}
		for _, release := range releases {
			release()
		}
	}
	n.turns.wait(t, 0, 0)
	n.waitFor(t, n.access, `"vhost":"detect.test","waf":"unseen"`)
	n.waitFor(t, n.log, "request not inspected")
}

// Heads that are dear to inspect take turns, and those of browsers do not.
func TestHeadWeight(t *testing.T) {
	browser := &request{Target: "/search?q=red+shoes&page=2", Fields: []field{
		{Name: []byte("User-Agent"), Value: []byte(strings.Repeat("u", 150))},
		{Name: []byte("Accept"), Value: []byte(strings.Repeat("a", 300))},
		{Name: []byte("Cookie"), Value: []byte(strings.Repeat("name=0123456789abcdef; ", 60))},
	}}
	if w := browser.headWeight(); w < 1<<10 || w > heavyWeight {
		t.Errorf("a browser with 1.4 KB of cookies weighs %d", w)
	}
	for name, r := range map[string]*request{
		"arguments":    {Target: "/?" + strings.Repeat("a=1&", 300)},
		"a long query": {Target: "/?a=" + strings.Repeat("x", 5000)},
		"a cookie":     {Target: "/", Fields: []field{{Name: []byte("cookie"), Value: []byte(strings.Repeat("x", 5000))}}},
		"cookies":      {Target: "/", Fields: []field{{Name: []byte("Cookie"), Value: []byte(strings.Repeat("a=1; ", 300))}}},
		"other fields": {Target: "/", Fields: []field{{Name: []byte("X-Long"), Value: []byte(strings.Repeat("x", 40000))}}},
	} {
		if w := r.headWeight(); w <= heavyWeight {
			t.Errorf("%s: %d", name, w)
		}
	}
}

// While one tenant is flooded with heads and bodies that are dear to inspect, no more of them than its turns are
// under inspection, and other tenants' requests are answered.
func TestFloodOfDearRequestsLeavesOtherTenantsServed(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, threeTenants(b.URL))
	most, _ := turnsAtOnce()
	var releases []func()
	for range most { // the flood's first ones, which take as long as the test does
		release, ok := n.turns.take("block")
		if !ok {
			t.Fatal("no turn")
		}
		releases = append(releases, release)
	}
	cookies := "Cookie: " + strings.Repeat("a=1; ", 1000)
	var wg sync.WaitGroup
	const flood = 12
	for i := range flood {
		wg.Go(func() {
			if i%2 == 0 {
				if got := n.get(t, "block.test", "/bytes?n=1", "User-Agent: test", "Accept: */*", cookies); got.Status != 200 {
					t.Errorf("a head: status %d", got.Status)
				}
				return
			}
			if got := n.sendBody(t, "block.test", "/sink", formType, "a="+strings.Repeat("word+", 1000)); got.Status != 200 {
				t.Errorf("a body: status %d", got.Status)
			}
		})
	}
	n.turns.wait(t, most, flood)
	for _, host := range []string{"detect.test", "own.test", "block.test"} { // the flooded tenant's light ones, too
		if got := n.get(t, host, "/bytes?n=1", "User-Agent: test", "Accept: */*"); got.Status != 200 {
			t.Errorf("%s: status %d", host, got.Status)
		}
	}
	if got := n.get(t, "detect.test", "/bytes?n=1", "User-Agent: test", "Accept: */*", cookies); got.Status != 200 {
		t.Errorf("another tenant's heavy request: status %d", got.Status)
	}
	n.turns.wait(t, most, flood)
	for _, release := range releases {
		release()
	}
	wg.Wait()
	n.turns.wait(t, 0, 0)
}
