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

// A line is what waits for turns in a test, whose order is exact: each says that its turn has come, and keeps it
// until the test lets it go.
type line struct {
	t    *testing.T
	all  *turns
	came chan came
	wait int // how many
	ends sync.WaitGroup
}

type came struct {
	name    string
	release func()
}

func newLine(t *testing.T) *line {
	l := &line{t: t, all: &turns{}, came: make(chan came, 100)}
	t.Cleanup(l.ends.Wait)
	return l
}

// now takes a turn that is free.
func (l *line) now(owner string, weight int) (release func()) {
	l.t.Helper()
	busy, _ := l.all.state()
	release, ok := l.all.take(owner, weight)
	if after, _ := l.all.state(); !ok || after != busy+1 {
		l.t.Fatalf("%s has no turn", owner)
	}
	return release
}

// join makes one more wait, behind those before.
func (l *line) join(name, owner string, weight int) {
	l.t.Helper()
	busy, _ := l.all.state()
	l.ends.Go(func() {
		release, ok := l.all.take(owner, weight)
		if !ok {
			release = func() {}
			name += " gave up"
		}
		l.came <- came{name, release}
	})
	l.wait++
	l.all.wait(l.t, busy, l.wait)
}

// order gives the turn back each time, and returns who had the next one, until nobody waits.
func (l *line) order(release func()) string {
	var names []string
	for release(); l.wait > 0; l.wait-- {
		next := <-l.came
		names = append(names, next.name)
		if len(l.came) > 0 {
			l.t.Error("two had one turn")
		}
		next.release()
	}
	return strings.Join(names, " ")
}

func (l *line) want(what, got, want string) {
	l.t.Helper()
	if got != want {
		l.t.Errorf("%s: %s, want %s", what, got, want)
	}
}

// However many tenants are flooded at once, all together they have a bounded number of turns, and get
// them in rotation: who sends more gets no more.
func TestTurnsOfManyTenantsAreBoundedAndInRotation(t *testing.T) {
	atOnce(t, 2)
	l := newLine(t)
	first, second := l.now("a", 0), l.now("b", 0)
	for i := range 4 {
		l.join(fmt.Sprint("f", i), "flooded", 0)
	}
	for i := range 3 {
		l.join(fmt.Sprint("t", i), fmt.Sprint("t", i), 0)
	}
	l.want("order", l.order(first), "f0 t0 t1 t2 f1 f2 f3")
	second()
	l.all.wait(t, 0, 0)
	if len(l.all.tenants) != 0 || l.all.waiting.Len() != 0 {
		t.Errorf("%d tenants are remembered", len(l.all.tenants))
	}
}

// One of the turns of all is for smaller requests, however many tenants send bigger ones.
func TestBiggerRequestsNeverHaveTheLastTurn(t *testing.T) {
	atOnce(t, 2)
	l := newLine(t)
	held := l.now("t0", bigWeight+1)
	for i := 1; i < 8; i++ {
		l.join(fmt.Sprint("t", i), fmt.Sprint("t", i), bigWeight+1)
	}
	for range 3 {
		l.now("ninth", bigWeight)()
	}
	l.now("t0", 0)()                                       // also of a tenant whose turns are all with bigger ones
	l.now("t1", 0)()                                       // or who waits
	l.want("order", l.order(held), "t2 t3 t4 t5 t6 t7 t1") // which had one meanwhile
}

// A tenant's smaller requests pass its bigger ones, but not for ever.
func TestSmallerRequestsPassBiggerOnesOfTheirTenant(t *testing.T) {
	atOnce(t, 2)
	l := newLine(t)
	mine, other := l.now("shop", 0), l.now("other", 0)
	for i := range 2 {
		l.join(fmt.Sprint("big", i), "shop", bigWeight+1)
	}
	for i := range 8 {
		l.join(fmt.Sprint("s", i), "shop", 0)
	}
	l.want("order", l.order(mine), "s0 s1 s2 big0 s3 s4 s5 big1 s6 s7")
	other()
}

// A tenant whose bigger request was passed over has the next turn for one, although other tenants' come
// whenever there is one and its own smaller ones keep it busy.
func TestBiggerRequestThatWasPassedOverIsOwedItsTurn(t *testing.T) {
	atOnce(t, 2)
	l := newLine(t)
	big, small := l.now("a", bigWeight+1), l.now("shop", 0)
	l.join("a's", "a", bigWeight+1)
	l.join("b's", "b", bigWeight+1)
	l.join("shop's", "shop", bigWeight+1)
	for i := range mostPassed + 1 {
		l.join(fmt.Sprint("s", i), "shop", 0)
	}
	turn := func(release func(), want string) func() {
		t.Helper()
		release()
		next := <-l.came
		l.want("next", next.name, want)
		l.wait--
		return next.release
	}
	for i := range mostPassed + 1 {
		small = turn(small, fmt.Sprint("s", i)) // the turn for bigger ones is not free
	}
	big() // and now it is, but shop has its turn
	l.all.wait(t, 1, l.wait)
	small = turn(small, "shop's")
	l.want("order", l.order(small), "a's b's")
}

// Who gives up leaves nothing behind: what was kept for him is another's.
func TestWhoGivesUpLeavesHisPlace(t *testing.T) {
	atOnce(t, 2)
	l := newLine(t)
	l.all.patience = time.Millisecond
	first, second := l.now("a", bigWeight+1), l.now("b", 0)
	for _, weight := range []int{0, bigWeight + 1} {
		if _, ok := l.all.take("a", weight); ok {
			t.Error("a third turn")
		}
	}
	first()
	second()
	if len(l.all.tenants) != 0 || l.all.waiting.Len() != 0 || l.all.owed != nil || l.all.big != 0 {
		t.Errorf("left behind: %+v", l.all)
	}
}

// Light bodies need no turn while few are inspected at a time, of one tenant and of all.
func TestLightBodiesNeedTurnsWhereTheyAreMany(t *testing.T) {
	atOnce(t, 2)
	var all turns
	tenant, total := lightAtOnce()
	if tenant != heavyWeight || total != 4*heavyWeight {
		t.Errorf("%d for a tenant, %d for all", tenant, total)
	}
	var leaves []func()
	for owner := range total / tenant {
		for range 2 {
			leave, ok := all.enter(fmt.Sprint(owner), tenant/2)
			if !ok {
				t.Fatal("no room")
			}
			leaves = append(leaves, leave)
		}
		if _, ok := all.enter(fmt.Sprint(owner), 1); ok {
			t.Error("a tenant has more than its share")
		}
	}
	if _, ok := all.enter("one more", 1); ok {
		t.Error("all have more than there is")
	}
	leaves[0]()
	leave, ok := all.enter("one more", 1)
	if !ok {
		t.Fatal("no room after one has left")
	}
	for _, leave := range append(leaves[1:], leave) {
		leave()
	}
	if len(all.tenants) != 0 || all.light != 0 {
		t.Errorf("%d tenants are remembered, weight %d", len(all.tenants), all.light)
	}
}

// Many small bodies at a time wait for their tenant's turns; its pages and other tenants' forms do not.
func TestManySmallBodiesWaitForTurns(t *testing.T) {
	atOnce(t, 2)
	b := edgetest.NewBackend(t)
	n := start(t, threeTenants(b.URL))
	release, ok := n.turns.take("tenant block", 0)
	leave, light := n.turns.enter("tenant block", heavyWeight-100)
	if !ok || !light {
		t.Fatal("no turn")
	}
	answered := make(chan int, 2)
	var senders sync.WaitGroup
	senders.Go(func() {
		answered <- n.sendBody(t, "block.test", "/sink", formType, "a="+strings.Repeat("word+", 40)).Status
	})
	senders.Go(func() { answered <- n.get(t, "block.test", "/bytes?n=1&q="+strings.Repeat("word+", 200)).Status })
	n.turns.wait(t, 1, 2)
	if got := n.get(t, "block.test", "/bytes?n=1", "User-Agent: test", "Accept: */*", "Cookie: "+strings.Repeat("name=0123456789abcdef; ", 60)); got.Status != 200 {
		t.Errorf("a page: status %d", got.Status)
	}
	if got := n.get(t, "detect.test", "/bytes?n=1&q="+strings.Repeat("word+", 200)); got.Status != 200 {
		t.Errorf("another tenant's long query: status %d", got.Status)
	}
	if got := n.sendBody(t, "detect.test", "/sink", formType, "a="+strings.Repeat("word+", 40)); got.Status != 200 {
		t.Errorf("another tenant's form: status %d", got.Status)
	}
	n.turns.wait(t, 1, 2)
	release()
	senders.Wait()
	leave()
	for range 2 {
		if got := <-answered; got != 200 {
			t.Errorf("after its turn: status %d", got)
		}
	}
}

// Vhosts without a tenant have turns of their own, as they have connections and events of their own.
func TestVhostsWithoutTenantHaveTurnsOfTheirOwn(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, "vhosts:\n  one.test: {backends: ["+b.URL+"], waf: {mode: block}}\n  two.test: {backends: ["+b.URL+"], waf: {mode: block}}\n")
	n.turns.patience = time.Millisecond
	most, _ := turnsAtOnce()
	for range most {
		release, ok := n.turns.take("vhost one.test", 0)
		if !ok {
			t.Fatal("no turn")
		}
		defer release()
	}
	for host, status := range map[string]int{"one.test": 503, "two.test": 200} {
		if got := n.sendBody(t, host, "/sink", formType, "a="+strings.Repeat("word+", 1000)); got.Status != status {
			t.Errorf("%s: status %d, want %d", host, got.Status, status)
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
			release, ok := n.turns.take("tenant "+strings.TrimSuffix(host, ".test"), 0)
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
		release, ok := n.turns.take("tenant block", 0)
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
