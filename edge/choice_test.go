package edge

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"gatehouse/edge/balance"
	"gatehouse/edge/upstream"
	"gatehouse/internal/edgetest"
)

// named starts backends that answer with their names, a, b, c, ….
func named(t testing.TB, n int) (backends []*edgetest.Backend, urls string) {
	t.Helper()
	for i := range n {
		b := edgetest.NewBackendWith(t, edgetest.BackendOptions{Name: string(rune('a' + i))})
		backends = append(backends, b)
		urls += ", " + b.URL
	}
	return backends, urls[2:]
}

// who asks, and says who answered.
func (n *node) who(t testing.TB, host, target string, fields ...string) string {
	t.Helper()
	got := n.get(t, host, target, fields...)
	if got.Status != 200 {
		t.Fatalf("%s%s: status %d", host, target, got.Status)
	}
	return got.Header.Get("X-Backend")
}

// behindProxy has the tests' clients be a trusted proxy.
func behindProxy(o *Options) { o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} }

// members are those of the shop's site.
func (n *node) members() []*backendMember {
	return n.table.Match("www.shop.test").Compiled().(*site).pool.Members()
}

func TestWeightsActThroughTheEdge(t *testing.T) {
	backends, _ := named(t, 2)
	n := start(t, shopSite(fmt.Sprintf("%s, {url: %s, weight: 3}", backends[0].URL, backends[1].URL), "balance: round_robin"))
	for range 40 {
		n.who(t, "www.shop.test", "/")
	}
	if got := backends[1].Deliveries(""); got != 30 {
		t.Errorf("the one of weight 3 got %d of 40", got)
	}
	n.apply(t, shopSite(fmt.Sprintf("%s, {url: %s, weight: 1}", backends[0].URL, backends[1].URL), "balance: round_robin"))
	before := backends[1].Deliveries("")
	for range 40 {
		n.who(t, "www.shop.test", "/")
	}
	if got := backends[1].Deliveries("") - before; got != 20 {
		t.Errorf("of weight 1, it got %d of 40", got)
	}
}

// PythonAnywhere's "fun bug": a name in another case was another backend.
func TestHashesDoNotGoByCase(t *testing.T) {
	for _, count := range []int{3, 7} {
		_, urls := named(t, count)
		n := start(t, "vhosts:\n  \"*\":\n    balance: hash_host\n    backends: ["+urls+"]\n  path.test:\n    balance: hash_path_segment\n    backends: ["+urls+"]\n")
		seen := map[string]bool{}
		for i := range 12 {
			host := fmt.Sprintf("IronHand%d.Example", i)
			who := n.who(t, host, "/")
			for _, same := range []string{strings.ToLower(host), strings.ToUpper(host) + ":8080", host + "."} {
				if got := n.who(t, same, "/"); got != who {
					t.Errorf("%s is at %s, %s at %s", host, who, same, got)
				}
			}
			segment := fmt.Sprintf("Fred%d", i)
			at := n.who(t, "path.test", "/"+segment)
			seen[who], seen[at] = true, true
			for _, same := range []string{"/" + strings.ToLower(segment), "/" + segment + "/other", "/%46red" + segment[4:] + "?q", "//" + segment} {
				if got := n.who(t, "path.test", same); got != at {
					t.Errorf("/%s is at %s, %s at %s", segment, at, same, got)
				}
			}
		}
		if len(seen) != count && count == 3 {
			t.Errorf("only %v are used", seen)
		}
	}
}

func TestHashIPGoesByTheClient(t *testing.T) {
	_, urls := named(t, 5)
	n := start(t, shopSite(urls, "balance: hash_ip"), behindProxy)
	ask := func(client string) string { return n.who(t, "www.shop.test", "/", "X-Forwarded-For: "+client) }
	seen := map[string]bool{}
	for i := range 30 {
		client := fmt.Sprintf("192.0.2.%d", i)
		who := ask(client)
		seen[who] = true
		if again := ask(client); again != who {
			t.Errorf("%s went to %s, then to %s", client, who, again)
		}
	}
	if len(seen) < 3 {
		t.Errorf("30 clients went to %v", seen)
	}
	if ask("2001:db8::1") != ask("2001:db8::ffff:1") {
		t.Error("two addresses of one /64 go to two backends")
	}
}

func cookieOf(t *testing.T, got *edgetest.RawAnswer) (cookie, attributes string) {
	t.Helper()
	cookie, attributes, _ = strings.Cut(got.Header.Get("Set-Cookie"), "; ")
	return cookie, attributes
}

func TestStickyClientsStayAtTheirBackend(t *testing.T) {
	backends, urls := named(t, 3)
	const settings = "sticky: {cookie: node}"
	n := start(t, shopSite(urls, settings, "balance: round_robin"))
	first := n.get(t, "www.shop.test", "/")
	cookie, attributes := cookieOf(t, first)
	who := first.Header.Get("X-Backend")
	if attributes != "Path=/; HttpOnly; SameSite=Lax" || len(cookie) != len("node=")+20 {
		t.Fatalf("Set-Cookie %q; %q", cookie, attributes)
	}
	for range 6 {
		got := n.get(t, "www.shop.test", "/", "Cookie: a=b; "+cookie+"; c=d")
		if got.Header.Get("X-Backend") != who || got.Header.Get("Set-Cookie") != "" {
			t.Fatalf("with its cookie it went to %s, not %s, and was told %q", got.Header.Get("X-Backend"), who, got.Header.Get("Set-Cookie"))
		}
	}
	if got := n.get(t, "www.shop.test", "/", "Cookie: node=nobody"); got.Header.Get("Set-Cookie") == "" {
		t.Error("a cookie of nobody is not replaced")
	}

	// Another node with the same key, and the backends in another order, takes it.
	key := StickyKey{1, 2, 3}
	n.SetStickyKey(key)
	cookie, _ = cookieOf(t, n.get(t, "www.shop.test", "/"))
	other := start(t, shopSite(backends[2].URL+", "+backends[0].URL+", "+backends[1].URL, settings))
	other.SetStickyKey(key)
	if a, b := n.who(t, "www.shop.test", "/", "Cookie: "+cookie), other.who(t, "www.shop.test", "/", "Cookie: "+cookie); a != b {
		t.Errorf("one node takes it for %s, another for %s", a, b)
	}

	// Out, or drained, its clients go elsewhere and stay there.
	for what, change := range map[string]func(m *backendMember, out bool){
		"drained": func(m *backendMember, out bool) { m.State().SetDrained(out) },
		"ejected": func(m *backendMember, out bool) {
			a := n.table.Match("www.shop.test").Compiled().(*site).pool.Begin(m)
			defer a.Done()
			a.Report(map[bool]balance.Outcome{true: balance.Unreachable, false: balance.Answered}[out])
		},
	} {
		at := n.who(t, "www.shop.test", "/", "Cookie: "+cookie)
		var m *backendMember
		for i := range backends {
			if string(rune('a'+i)) == at {
				m = n.members()[i]
			}
		}
		change(m, true)
		got := n.get(t, "www.shop.test", "/", "Cookie: "+cookie)
		moved, _ := cookieOf(t, got)
		if got.Header.Get("X-Backend") == at || moved == "" || moved == cookie {
			t.Errorf("%s: it went to %s and was told %q", what, got.Header.Get("X-Backend"), moved)
		}
		if again := n.who(t, "www.shop.test", "/", "Cookie: "+moved); again != got.Header.Get("X-Backend") {
			t.Errorf("%s: then it went to %s", what, again)
		}
		change(m, false)
	}
}

// By equal cookies whoever visits two sites could tell that both have one backend. A vhost without tenant is its own.
func TestStickyCookiesDoNotTellThatTwoTenantsHaveOneBackend(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	var yaml strings.Builder
	yaml.WriteString("vhosts:\n")
	for host, tenant := range map[string]string{"a.shop.test": "tenant: shop, ", "b.shop.test": "tenant: shop, ", "www.other.test": "tenant: other, ", "none.test": "", "free.test": ""} {
		fmt.Fprintf(&yaml, "  %s: {%sbackends: [%s], sticky: {cookie: node}}\n", host, tenant, b.URL)
	}
	n := start(t, yaml.String())
	n.SetStickyKey(StickyKey{1, 2, 3})
	hosts := map[string]string{} // by the cookie
	for _, host := range []string{"a.shop.test", "www.other.test", "none.test", "free.test"} {
		cookie, _ := cookieOf(t, n.get(t, host, "/"))
		if other := hosts[cookie]; cookie == "" || other != "" {
			t.Errorf("%s and %s have the cookie %q", host, other, cookie)
		}
		hosts[cookie] = host
	}
	if cookie, _ := cookieOf(t, n.get(t, "b.shop.test", "/")); hosts[cookie] != "a.shop.test" {
		t.Errorf("two vhosts of one tenant have different cookies")
	}
}

// The cookie is each client's own: what is stored has none, and a hit goes to no backend.
func TestTheStickyCookieIsNotStored(t *testing.T) {
	b := edgetest.NewBackendWith(t, edgetest.BackendOptions{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		_, _ = io.WriteString(w, "page")
	})})
	n := start(t, shopSite(b.URL, "sticky: {cookie: node}", "cache: {enabled: true}"))
	if got := n.get(t, "www.shop.test", "/"); !strings.Contains(got.Header.Get("Cache-Status"), "stored") || got.Header.Get("Set-Cookie") == "" {
		t.Errorf("Cache-Status %q, Set-Cookie %q", got.Header.Get("Cache-Status"), got.Header.Get("Set-Cookie"))
	}
	if got := n.get(t, "www.shop.test", "/"); !strings.Contains(got.Header.Get("Cache-Status"), "hit") || got.Header.Get("Set-Cookie") != "" {
		t.Errorf("Cache-Status %q, Set-Cookie %q", got.Header.Get("Cache-Status"), got.Header.Get("Set-Cookie"))
	}
}

func TestTheStickyCookieIsSecureOverTLS(t *testing.T) {
	b := edgetest.NewBackend(t)
	n := start(t, shopSite(b.URL, "sticky: {cookie: node}"), behindProxy)
	if _, attributes := cookieOf(t, n.get(t, "www.shop.test", "/", "X-Forwarded-Proto: https")); !strings.HasSuffix(attributes, "; Secure") {
		t.Errorf("attributes %q", attributes)
	}
}

// The dead one of two costs no client a thing: what cannot be reached is tried by one request in ten seconds and more. `make faults` asks
// ten thousand times.
func TestADeadOneOfTwoIsNoticedByNobody(t *testing.T) {
	backends, urls := named(t, 2)
	n := start(t, shopSite(urls))
	backends[0].Stop()
	c := edgetest.Dial(t, n.http)
	requests := 1000
	if os.Getenv("GATEHOUSE_FAULTS") == "full" { // `make faults` runs
		requests = 10_000
	}
	for i := range requests {
		if i%500 == 499 {
			c = edgetest.Dial(t, n.http) // before keepalive_requests ends it
		}
		if got := c.Do("GET", head("GET", "www.shop.test", "/")+"\r\n"); got.Status != 200 {
			t.Fatalf("request %d: status %d", i, got.Status)
		}
	}
	if left, why := n.members()[0].State().Ejected(); left == 0 || why != balance.Unreachable {
		t.Errorf("ejected for %v, for %v", left, why)
	}
	if taken := n.retries(t, "taken"); taken > 3 { // one, unless the machine is so slow that the ejection ended
		t.Errorf("%v retries", taken)
	}
	n.waitFor(t, n.log, "backend ejected")
}

// Five answers in a row that say that there is none eject, and what is known survives a change of the route that
// keeps the backend, wherever it then stands in the list.
func TestFailuresEjectAndARouteChangeForgetsNothing(t *testing.T) {
	var bad atomic.Bool
	bad.Store(true)
	failing := edgetest.NewBackendWith(t, edgetest.BackendOptions{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Backend", "failing")
		if bad.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})})
	_, urls := named(t, 2)
	n := start(t, shopSite(failing.URL+", "+urls, "balance: round_robin"))
	failed := 0
	for range 60 {
		if n.get(t, "www.shop.test", "/").Status == 503 {
			failed++
		}
	}
	if failed != 5 {
		t.Errorf("%d requests failed, want 5", failed)
	}
	n.apply(t, shopSite(urls+", "+failing.URL, "balance: round_robin", "timeouts: {connect: 4s}"))
	for range 10 {
		if who := n.who(t, "www.shop.test", "/"); who == "failing" {
			t.Fatal("the change has brought it back")
		}
	}
	if left, why := n.members()[2].State().Ejected(); left == 0 || why != balance.Failed {
		t.Errorf("ejected for %v, for %v", left, why)
	}
}

// What one tenant's requests find says nothing of another tenant's backend, be it the same.
func TestNoTenantEjectsAnothersBackend(t *testing.T) {
	_, urls := named(t, 2)
	vhost := func(host, tenant string) string {
		return "  " + host + ":\n    tenant: " + tenant + "\n    backends: [" + urls + "]\n"
	}
	n := start(t, "vhosts:\n"+vhost("www.shop.test", "shop")+vhost("b.shop.test", "shop")+vhost("www.rival.test", "rival"))
	for _, host := range []string{"www.shop.test", "b.shop.test", "www.rival.test"} {
		n.who(t, host, "/")
	}
	pool := n.table.Match("www.shop.test").Compiled().(*site).pool
	a := pool.Begin(pool.Members()[0])
	defer a.Done()
	a.Report(balance.Unreachable)
	for host, want := range map[string]bool{"www.shop.test": true, "b.shop.test": true, "www.rival.test": false} {
		left, _ := n.table.Match(host).Compiled().(*site).pool.Members()[0].State().Ejected()
		if (left > 0) != want {
			t.Errorf("%s: ejected for %v", host, left)
		}
	}
}

func TestWhatARoundTripSaysOfItsBackend(t *testing.T) {
	status := func(code int) *upstream.Response { return &upstream.Response{Status: code} }
	for _, c := range []struct {
		answer *upstream.Response
		err    error
		want   balance.Outcome
	}{
		{status(200), nil, balance.Answered},
		{status(404), nil, balance.Answered},
		{status(500), nil, balance.Answered}, // the application's word, from a backend that runs
		{status(502), nil, balance.Failed},
		{status(503), nil, balance.Failed},
		{status(504), nil, balance.Failed},
		{nil, &upstream.Error{Op: upstream.OpConnect, Err: syscall.ECONNREFUSED}, balance.Unreachable}, // TLS, too
		{nil, &upstream.Error{Op: upstream.OpConnect, Err: context.DeadlineExceeded, Timeout: true}, balance.Unreachable},
		{nil, &upstream.Error{Op: upstream.OpConnect, Err: syscall.EMFILE}, balance.Unknown},
		{nil, &upstream.Error{Op: upstream.OpConnect, Err: context.Canceled}, balance.Unknown},
		{nil, &upstream.Error{Op: upstream.OpHead, Err: syscall.ECONNRESET}, balance.Failed},
		{nil, &upstream.Error{Op: upstream.OpHead, Err: syscall.ECONNRESET, Stale: true}, balance.Unknown},
		{nil, &upstream.Error{Op: upstream.OpHead, Err: context.DeadlineExceeded, Timeout: true}, balance.Failed},
		{nil, &upstream.Error{Op: upstream.OpProtocol, Err: io.ErrUnexpectedEOF}, balance.Failed},
		{nil, &upstream.Error{Op: upstream.OpBody, Err: io.ErrUnexpectedEOF}, balance.Unknown},
		{nil, &upstream.Error{Op: upstream.OpWrite, Err: upstream.ErrBadRequest}, balance.Unknown},
		{nil, errBodyTooLarge, balance.Unknown},
	} {
		if got := backendOutcome(c.answer, c.err); got != c.want {
			t.Errorf("%v %v: %v, want %v", c.answer, c.err, got, c.want)
		}
	}
}

// All drained is 503 with Retry-After, and nothing reaches them.
func TestDrainedBackendsGetNothing(t *testing.T) {
	backends, urls := named(t, 2)
	n := start(t, shopSite(urls))
	n.who(t, "www.shop.test", "/")
	n.members()[0].State().SetDrained(true)
	before := backends[0].Deliveries("")
	for range 20 {
		n.who(t, "www.shop.test", "/")
	}
	if got := backends[0].Deliveries("") - before; got != 0 {
		t.Errorf("the drained one got %d requests", got)
	}
	n.members()[1].State().SetDrained(true)
	if got := n.get(t, "www.shop.test", "/"); got.Status != 503 || got.Header.Get("Retry-After") == "" {
		t.Errorf("with both drained: status %d, Retry-After %q", got.Status, got.Header.Get("Retry-After"))
	}
}

// PythonAnywhere's table: three backends of four workers that take 50 ms each do 2.7 times as much as one, at 100 at a time.
// BenchmarkBackends prints the rates.
func BenchmarkBackends(b *testing.B) {
	for _, count := range []int{1, 2, 3} {
		b.Run(fmt.Sprint(count), func(b *testing.B) {
			urls := ""
			for range count {
				workers := make(chan struct{}, 4)
				backend := edgetest.NewBackendWith(b, edgetest.BackendOptions{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
					workers <- struct{}{}
					time.Sleep(50 * time.Millisecond)
					<-workers
				})})
				urls += ", " + backend.URL
			}
			n := start(b, shopSite(urls[2:]))
			begin := time.Now()
			var left atomic.Int64
			left.Store(int64(b.N))
			done := make(chan int, 100)
			for range cap(done) {
				go func() {
					c, failed := edgetest.Dial(b, n.http), 0
					for left.Add(-1) >= 0 {
						if c.Do("GET", head("GET", "www.shop.test", "/")+"\r\n").Status != 200 {
							failed++
						}
					}
					done <- failed
				}()
			}
			failed := 0
			for range cap(done) {
				failed += <-done
			}
			b.ReportMetric(float64(b.N)/time.Since(begin).Seconds(), "requests/s")
			b.ReportMetric(float64(failed), "failed")
			if text := n.log.String(); text != "" {
				b.Log(text)
			}
		})
	}
}
