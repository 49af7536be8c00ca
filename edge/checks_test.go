package edge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
)

// checkAll runs the checks of this node until the test ends.
func (n *node) checkAll(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	n.Prober().Lead(true)
	go func() { ended <- n.Prober().Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
}

// A backend that is sick before any request has come gets none, one that is well again gets some, and a change of the route that
// keeps the check forgets nothing.
func TestActiveChecksTakeABackendOut(t *testing.T) {
	t.Parallel()
	var sick atomic.Bool
	sick.Store(true)
	var hosts atomic.Value
	b := edgetest.NewBackendWith(t, edgetest.BackendOptions{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" {
			w.Header().Set("X-Backend", "checked")
			return
		}
		hosts.Store(r.Host + " " + r.UserAgent())
		if sick.Load() {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})})
	_, urls := named(t, 2) // which know nothing of /healthz, and answer 200
	const check = "health: {path: /healthz, interval: 1s, rise: 1, fall: 1}"
	n := start(t, shopSite(b.URL+", "+urls, check, "balance: round_robin"))
	n.checkAll(t)
	edgetest.WaitFor(t, "it to be down", func() bool { return n.Prober().Down() == 1 })
	if got := hosts.Load(); got != "www.shop.test gatehouse-health" {
		t.Errorf("the check said %v", got)
	}
	got := n.Backends("", b.URL)
	if len(got) != 1 || got[0].Down == nil || !strings.Contains(got[0].Down.Reason, "GET /healthz: status 500, want 200-399") {
		t.Errorf("%+v", got)
	}
	for _, further := range []string{"compress: off", "timeouts: {connect: 1s}"} {
		for range 6 {
			if who := n.who(t, "www.shop.test", "/"); who == "checked" {
				t.Fatalf("%s: it gets a request", further)
			}
		}
		n.apply(t, shopSite(urls+", "+b.URL, check, "balance: round_robin", further))
	}
	sick.Store(false)
	c := edgetest.Dial(t, n.http)
	edgetest.WaitFor(t, "it to get requests again", func() bool {
		return c.Do("GET", head("GET", "www.shop.test", "/")+"\r\n").Header.Get("X-Backend") == "checked"
	})
	n.apply(t, shopSite(b.URL))
	if n.Prober().Digest() != "" {
		t.Error("it is checked without being told to")
	}
}

// A change of how a backend is checked does not bring it back into service.
func TestAChangeOfCheckSettingsLeavesABackendOut(t *testing.T) {
	t.Parallel()
	sick := edgetest.NewBackendWith(t, edgetest.BackendOptions{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Backend", "checked")
		if r.URL.Path == "/healthz" {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})})
	_, urls := named(t, 2)
	const check = "health: {path: /healthz, interval: 1s, rise: 1, fall: 1%s}"
	n := start(t, shopSite(sick.URL+", "+urls, fmt.Sprintf(check, ""), "balance: round_robin"))
	n.checkAll(t)
	edgetest.WaitFor(t, "it to be down", func() bool { return n.Prober().Down() == 1 })
	for _, further := range []string{", timeout: 900ms", ", status: 200", ", body: well"} {
		n.apply(t, shopSite(sick.URL+", "+urls, fmt.Sprintf(check, further), "balance: round_robin"))
		if got := n.Backends("", sick.URL); len(got) != 1 || got[0].Down == nil {
			t.Errorf("%s: %+v", further, got)
		}
		for range 6 {
			if who := n.who(t, "www.shop.test", "/"); who == "checked" {
				t.Fatalf("%s: it gets a request", further)
			}
		}
	}
}

// What a check finds wrong, it says.
func TestChecksSayWhatIsWrong(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackendWith(t, edgetest.BackendOptions{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/hangs":
			<-r.Context().Done()
		case "/401":
			w.WriteHeader(http.StatusUnauthorized)
		default:
			_, _ = io.WriteString(w, "all is well\n")
		}
	})})
	n := start(t, shopSite(b.URL), func(o *Options) {
		o.Denied = func(_, address string) string {
			if strings.HasSuffix(address, ":81") {
				return "ours"
			}
			return ""
		}
	})
	for _, c := range []struct{ settings, says string }{
		{"path: /", ""},
		{"path: /401, status: \"200,401\"", ""},
		{"path: /, body: is well", ""},
		{"path: /, body: is not", `GET /: "is not" is not in the body`},
		{"path: /401", "GET /401: status 401, want 200-399"},
		{"path: /hangs, timeout: 20ms", "backend head: "},
		{"path: /, host: app.test", ""},
	} {
		n.apply(t, shopSite(b.URL, "health: {"+c.settings+"}"))
		for _, target := range targetsOf(n.table.Match("www.shop.test")) {
			ctx, cancel := context.WithTimeout(t.Context(), target.Timeout)
			err := n.probeBackend(ctx, target)
			cancel()
			if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) && !strings.Contains(err.Error(), "no answer within 20ms") {
				t.Errorf("%s: %v", c.settings, err)
			}
		}
	}
	seen := b.Requests()
	if got := seen[len(seen)-1].Host; got != "app.test" {
		t.Errorf("Host %s", got)
	}
	for url, says := range map[string]string{"http://127.0.0.1:81": "never used as a backend", "http://127.0.0.1:1": "refused"} { // our own listener; nobody
		n.apply(t, shopSite(url, "health: {}"))
		target := targetsOf(n.table.Match("www.shop.test"))[0]
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		if err := n.probeBackend(ctx, target); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", url, err)
		}
		cancel()
	}
	// A name with a wildcard is no Host.
	n.apply(t, "vhosts:\n  \"*.any.test\":\n    backends: ["+b.URL+"]\n    health: {}\n")
	target := targetsOf(n.table.Match("x.any.test"))[0]
	if err := n.probeBackend(t.Context(), target); err != nil {
		t.Error(err)
	}
	seen = b.Requests()
	if got := seen[len(seen)-1].Host; got != b.Addr {
		t.Errorf("Host %s, want %s", got, b.Addr)
	}
}

// Checks look names up as requests do, and go on with the last good addresses while name servers fail: else a node that gets no
// requests would take a backend down for all.
func TestChecksGoByTheServersResolver(t *testing.T) {
	t.Parallel()
	b, dns := edgetest.NewBackend(t), edgetest.StartNameServer(t)
	dns.Set("app.internal.test", "127.0.0.1")
	_, port, err := net.SplitHostPort(b.Addr)
	if err != nil {
		t.Fatal(err)
	}
	n := start(t, shopSite("http://app.internal.test:"+port, "health: {}"), func(o *Options) { o.LookupHost = dns.Lookup })
	probe := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		return n.probeBackend(ctx, targetsOf(n.table.Match("www.shop.test"))[0])
	}
	if err := probe(); err != nil {
		t.Fatal(err)
	}
	dns.Fail("app.internal.test")
	if err := probe(); err != nil || dns.Asked("app.internal.test") != 1 {
		t.Errorf("%v after %d questions", err, dns.Asked("app.internal.test"))
	}
	if got := n.get(t, "www.shop.test", "/"); got.Status != 200 || dns.Asked("app.internal.test") != 1 {
		t.Errorf("status %d: requests do not know what checks know", got.Status)
	}
	target := targetsOf(n.table.Match("www.shop.test"))[0]
	n.apply(t, shopSite("http://app.internal.test:"+port))
	if err := n.probeBackend(t.Context(), target); !errors.Is(err, errNotChecked) {
		t.Errorf("a check of what is not checked any more: %v", err)
	}
}

// A name that a document may have leads to what no backend may be: checks do not connect there either.
func TestAttackChecksOfNamesThatLeadToMetadataServices(t *testing.T) {
	t.Parallel()
	dns, admin := edgetest.StartNameServer(t), edgetest.NewBackend(t)
	_, port, err := net.SplitHostPort(admin.Addr)
	if err != nil {
		t.Fatal(err)
	}
	n := start(t, shopSite(fmt.Sprintf("http://meta.internal.test, http://own.internal.test:%s", port), "health: {}"), func(o *Options) {
		o.LookupHost = dns.Lookup
		o.Denied = func(_, address string) string {
			if address == admin.Addr {
				return "ours"
			}
			return ""
		}
	})
	dns.Set("meta.internal.test", "169.254.169.254")
	dns.Set("own.internal.test", "127.0.0.1")
	for _, target := range targetsOf(n.table.Match("www.shop.test")) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		if err := n.probeBackend(ctx, target); err == nil || !strings.Contains(err.Error(), "never used as a backend") {
			t.Errorf("%s: %v", target.URL, err)
		}
		cancel()
	}
	if accepted, _ := admin.Connections(); accepted != 0 {
		t.Errorf("%d connections to what is denied", accepted)
	}
}
