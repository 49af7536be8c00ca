package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/internal/edgetest"
)

const appName = "app.test"

// A nameTest is a resolver whose name server, and whose clock, the test has in its hands.
type nameTest struct {
	*Resolver
	server *edgetest.NameServer
	clock  atomic.Int64
	told   chan Lookup
}

func withNames(t *testing.T) *nameTest {
	n := &nameTest{server: edgetest.StartNameServer(t), told: make(chan Lookup, 100)}
	n.Resolver = NewResolver(ResolverOptions{Lookup: n.server.Lookup, Observe: func(l Lookup) { n.told <- l }})
	n.now = func() time.Duration { return time.Duration(n.clock.Load()) }
	t.Cleanup(n.Close)
	return n
}

func (n *nameTest) pass(d time.Duration) { n.clock.Add(int64(d)) }

func (n *nameTest) pool(t *testing.T, port int, adjust ...func(*Options)) *Pool {
	o := Options{Address: fmt.Sprintf("http://%s:%d", appName, port), Resolver: n.Resolver, Owner: "tenant shop"}
	for _, f := range adjust {
		f(&o)
	}
	return newPool(t, o)
}

// onAddresses has a backend at one port of each loopback address, which answers with its address.
func onAddresses(t *testing.T, addresses ...string) (port int, backends map[string]*backend) {
	t.Helper()
	scripts := map[string]func(*session){}
	for _, a := range addresses {
		scripts[a] = func(s *session) {
			for s.request() != nil && s.say(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(a), a)) {
			}
		}
	}
	return scriptsOn(t, scripts)
}

// scriptsOn has a backend at one port of each loopback address.
func scriptsOn(t *testing.T, scripts map[string]func(*session)) (port int, backends map[string]*backend) {
	t.Helper()
	for range 10 {
		backends = map[string]*backend{}
		port = 0
		for a, script := range scripts {
			ln, err := net.Listen("tcp", fmt.Sprintf("%s:%d", a, port))
			if err != nil { // the port is another's there
				break
			}
			port = ln.Addr().(*net.TCPAddr).Port
			backends[a] = serveOn(t, ln, script)
		}
		if len(backends) == len(scripts) {
			return port, backends
		}
	}
	t.Fatal("no port is free on all addresses")
	return 0, nil
}

func wantFrom(t *testing.T, p *Pool, address string) {
	t.Helper()
	if _, got, err := fetch(t, p, get("/")); err != nil || got != address {
		t.Errorf("answer of %q, %v, want that of %s", got, err, address)
	}
}

// A name that leads elsewhere is followed within the time that an answer is believed, kept connections and all.
func TestAChangedNameIsFollowed(t *testing.T) {
	t.Parallel()
	n := withNames(t)
	port, backends := onAddresses(t, "127.0.0.1", "127.0.0.2")
	n.server.Set(appName, "127.0.0.1")
	p := n.pool(t, port)
	wantFrom(t, p, "127.0.0.1")
	<-n.told
	n.server.Set(appName, "127.0.0.2")
	n.pass(refreshAfter - 1)
	wantFrom(t, p, "127.0.0.1") // and asks nobody
	n.pass(1)
	wantFrom(t, p, "127.0.0.1") // which asks, behind it
	if l := <-n.told; !l.Changed || l.Err != nil {
		t.Errorf("lookup: %+v", l)
	}
	for range 3 {
		wantFrom(t, p, "127.0.0.2")
	}
	if asked := n.server.Asked(appName); asked != 2 {
		t.Errorf("%d questions, want 2", asked)
	}
	if old := backends["127.0.0.1"].conns.Load(); old != 1 {
		t.Errorf("%d connections to the old address, want 1", old)
	}
}

// Requests go to all addresses, and not to one that refuses while others take them.
func TestAllAddressesAreUsedAndOneThatRefusesIsPassedOver(t *testing.T) {
	t.Parallel()
	n := withNames(t)
	port, backends := onAddresses(t, "127.0.0.1", "127.0.0.2", "127.0.0.3")
	n.server.Set(appName, "127.0.0.1", "127.0.0.2", "127.0.0.3")
	var dials sync.Map // by address
	p := n.pool(t, port, func(o *Options) {
		o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			host, _, _ := net.SplitHostPort(address)
			count, _ := dials.LoadOrStore(host, new(atomic.Int64))
			count.(*atomic.Int64).Add(1)
			return new(net.Dialer).DialContext(ctx, network, address)
		}
	})
	spread := func(requests int) map[string]int {
		got := map[string]int{}
		for range requests {
			_, from, err := fetch(t, p, get("/"))
			if err != nil {
				t.Fatal(err)
			}
			got[from]++
		}
		return got
	}
	spread(1)
	if got := spread(9); got["127.0.0.1"] != 3 || got["127.0.0.2"] != 3 || got["127.0.0.3"] != 3 {
		t.Errorf("9 requests went to %v", got)
	}
	backends["127.0.0.2"].Close()
	p.mu.Lock()
	for _, c := range p.idle {
		if c.address == netip.MustParseAddr("127.0.0.2") {
			_ = c.raw.Close()
		}
	}
	p.mu.Unlock()
	dials.Clear()
	if got := spread(12); got["127.0.0.2"] != 0 || got["127.0.0.1"] < 3 || got["127.0.0.3"] < 3 {
		t.Errorf("with one down, 12 requests went to %v", got)
	}
	if tried, ok := dials.Load("127.0.0.2"); !ok || tried.(*atomic.Int64).Load() != 1 {
		t.Error("the address that refuses was not tried, or more than once in ten seconds")
	}
	n.pass(passedOver)
	spread(3)
	if tried, _ := dials.Load("127.0.0.2"); tried.(*atomic.Int64).Load() != 2 {
		t.Error("after ten seconds it was not tried again")
	}
}

// Whatever happens to the name servers, what was known last goes on serving, without a wait; but not for ever.
func TestTheLastGoodAddressesAreUsedWhileNameServersFail(t *testing.T) {
	t.Parallel()
	port, _ := onAddresses(t, "127.0.0.1")
	for what, c := range map[string]struct {
		fail func(*edgetest.NameServer)
		keep time.Duration
	}{
		"SERVFAIL": {func(s *edgetest.NameServer) { s.Fail(appName) }, keepSilent},
		"NXDOMAIN": {func(s *edgetest.NameServer) { s.Remove(appName) }, keepAbsent},
		"no data":  {func(s *edgetest.NameServer) { s.Set(appName) }, keepAbsent},
	} {
		t.Run(what, func(t *testing.T) {
			n := withNames(t)
			n.server.Set(appName, "127.0.0.1")
			p := n.pool(t, port)
			wantFrom(t, p, "127.0.0.1")
			<-n.told
			c.fail(n.server)
			n.pass(refreshAfter)
			wantFrom(t, p, "127.0.0.1")
			if l := <-n.told; l.Err == nil || l.Changed || len(l.Addresses) != 1 {
				t.Errorf("lookup: %+v", l)
			}
			n.pass(c.keep - time.Minute)
			wantFrom(t, p, "127.0.0.1")
			<-n.told
			n.pass(2 * time.Minute)
			_, _, err := fetch(t, p, &Request{Method: "GET", Target: "/", Host: "x", Fresh: true})
			var up *Error
			if !errors.As(err, &up) || up.Op != OpConnect || up.Sent {
				t.Errorf("long after that: %v", err)
			}
			<-n.told
			n.server.Set(appName, "127.0.0.1")
			n.pass(retryUnknown)
			wantFrom(t, p, "127.0.0.1")
		})
	}
}

// A name that nobody has asked for yet is looked up once, however many requests wait for it.
func TestEqualFirstLookupsAreOne(t *testing.T) {
	t.Parallel()
	n := withNames(t)
	port, _ := onAddresses(t, "127.0.0.1")
	n.server.Set(appName, "127.0.0.1")
	ask, asked := make(chan struct{}), atomic.Int64{}
	n.opts.Lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
		asked.Add(1)
		<-ask
		return n.server.Lookup(ctx, host)
	}
	pools := []*Pool{n.pool(t, port), n.pool(t, port)}
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if _, _, err := fetch(t, pools[i%2], get("/")); err != nil {
				t.Error(err)
			}
		})
	}
	edgetest.WaitFor(t, "the lookup", func() bool { return asked.Load() > 0 })
	close(ask)
	wg.Wait()
	if asked.Load() != 1 {
		t.Errorf("%d lookups", asked.Load())
	}
}

func TestAnUnknownNameFailsWithoutALookupForEachRequest(t *testing.T) {
	t.Parallel()
	n := withNames(t)
	p := n.pool(t, 80)
	for range 5 {
		_, _, err := fetch(t, p, get("/"))
		if err == nil || !strings.Contains(err.Error(), "no such host") {
			t.Fatalf("error %v", err)
		}
	}
	if asked := n.server.Asked(appName); asked != 1 {
		t.Errorf("%d questions within a second", asked)
	}
}

func TestANameIsForgottenWithItsLastPool(t *testing.T) {
	r := NewResolver(ResolverOptions{})
	defer r.Close()
	open := func(owner string) *Pool {
		p, err := NewPool(Options{Address: "http://" + appName, Resolver: r, Owner: owner})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	a, b, other := open("a"), open("a"), open("b")
	if a.spread.name != b.spread.name || a.spread.name == other.spread.name {
		t.Error("names are not shared by owner")
	}
	a.Close()
	a.Close()
	if len(r.names) != 2 {
		t.Errorf("%d names, want 2", len(r.names))
	}
	b.Close()
	other.Close()
	if len(r.names) != 0 || len(r.slots) != 0 {
		t.Errorf("%d names and %d owners are left", len(r.names), len(r.slots))
	}
}

// bubble runs f with a name whose lookups are the test's, on a clock that stands still while anybody works.
func bubble(t *testing.T, lookup func(context.Context, string) ([]netip.Addr, error), f func(t *testing.T, n *name)) {
	synctest.Test(t, func(t *testing.T) {
		r := NewResolver(ResolverOptions{Lookup: lookup})
		defer r.Close()
		f(t, r.hold("tenant shop", appName))
	})
}

// Slow name servers hold nobody up who asks for a name that is known, and a change is followed within 35 s all the same.
func TestSlowLookupsNeverDelayANameThatIsKnown(t *testing.T) {
	first, second := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	var now atomic.Pointer[netip.Addr]
	now.Store(&first)
	bubble(t, func(context.Context, string) ([]netip.Addr, error) {
		a := *now.Load()
		time.Sleep(4 * time.Second)
		return []netip.Addr{a}, nil
	}, func(t *testing.T, n *name) {
		ask := func() netip.Addr {
			begun := time.Now()
			got, err := n.resolve(t.Context())
			if took := time.Since(begun); err != nil || took != 0 {
				t.Fatalf("%v after %v", err, took)
			}
			return got[0]
		}
		if got, err := n.resolve(t.Context()); err != nil || got[0] != first {
			t.Fatalf("%v, %v", got, err)
		}
		for range 60 {
			ask()
			time.Sleep(time.Second)
		}
		now.Store(&second)
		changed := time.Now()
		for ask() != second {
			time.Sleep(time.Second / 10)
		}
		if took := time.Since(changed); took > 35*time.Second {
			t.Errorf("the change was followed after %v", took)
		}
	})
}

// What was known before a silence is asked for again first, but not waited for longer than a moment.
func TestANameThatNobodyUsedIsAskedForBeforeItIsUsed(t *testing.T) {
	addresses := []netip.Addr{netip.MustParseAddr("10.0.0.1")}
	var takes atomic.Int64
	bubble(t, func(ctx context.Context, _ string) ([]netip.Addr, error) {
		select {
		case <-time.After(time.Duration(takes.Load())):
			return addresses, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}, func(t *testing.T, n *name) {
		if _, err := n.resolve(t.Context()); err != nil {
			t.Fatal(err)
		}
		addresses = []netip.Addr{netip.MustParseAddr("10.0.0.2")}
		time.Sleep(time.Hour)
		takes.Store(int64(coldWait / 2))
		if got, err := n.resolve(t.Context()); err != nil || got[0] != addresses[0] {
			t.Errorf("after an hour: %v, %v", got, err)
		}
		time.Sleep(time.Hour)
		takes.Store(int64(time.Minute))
		begun := time.Now()
		if got, err := n.resolve(t.Context()); err != nil || got[0] != addresses[0] || time.Since(begun) != coldWait {
			t.Errorf("with silent name servers: %v, %v after %v", got, err, time.Since(begun))
		}
		time.Sleep(lookupTime) // that lookup has failed
		begun = time.Now()
		if _, err := n.resolve(t.Context()); err != nil || time.Since(begun) != 0 {
			t.Errorf("the next one: %v after %v", err, time.Since(begun))
		}
		time.Sleep(keepSilent)
		if got, err := n.resolve(t.Context()); err == nil {
			t.Errorf("a day later: %v", got)
		}
	})
}

// An owner whose name servers are slow keeps lookups of his own waiting, and nobody else's.
func TestLookupsAtATimeAreBoundedByOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var under, most atomic.Int64
		r := NewResolver(ResolverOptions{Lookup: func(ctx context.Context, host string) ([]netip.Addr, error) {
			if strings.HasPrefix(host, "fast") {
				return []netip.Addr{netip.MustParseAddr("10.0.0.1")}, nil
			}
			most.Store(max(most.Load(), under.Add(1)))
			defer under.Add(-1)
			<-ctx.Done()
			return nil, ctx.Err()
		}})
		defer r.Close()
		for i := range 50 {
			go func() {
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				if _, err := r.hold("slow", fmt.Sprint("slow", i, ".test")).resolve(ctx); err == nil {
					t.Error("a name server that does not answer gave addresses")
				}
			}()
		}
		synctest.Wait()
		begun := time.Now()
		if _, err := r.hold("other", "fast.test").resolve(t.Context()); err != nil || time.Since(begun) != 0 {
			t.Errorf("another's name: %v after %v", err, time.Since(begun))
		}
		time.Sleep(10 * time.Second)
		if most.Load() != lookupsAtOnce {
			t.Errorf("%d lookups at a time, want %d", most.Load(), lookupsAtOnce)
		}
	})
}

func TestTheNextAddressCostsNoAllocation(t *testing.T) {
	n := withNames(t)
	n.server.Set(appName, "127.0.0.1", "127.0.0.2")
	p := n.pool(t, 80)
	if _, err := p.spread.name.resolve(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := testing.AllocsPerRun(100, func() { p.spread.next() }); got != 0 {
		t.Errorf("%v allocations", got)
	}
}
