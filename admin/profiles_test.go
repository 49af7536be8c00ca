package admin_test

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"gatehouse/admin"
	"gatehouse/admin/admintest"
	"gatehouse/internal/edgetest"
)

func isProfile(t *testing.T, what, text string) {
	t.Helper()
	if err := edgetest.CheckProfile([]byte(text)); err != nil {
		t.Errorf("%s: %v", what, err)
	}
}

func TestProfilesAreTakenOnSocketAndLoopback(t *testing.T) {
	n := admintest.Start(t, twoTenants, admin.Options{Node: "n1"})
	for where, c := range map[string]*caller{"socket": onSocket(t, n), "loopback": onTCP(t, n.Public)} {
		var text string
		want(t, where+" index", c.call("GET", "/debug/pprof/", "", &text), 200)
		for _, name := range []string{"profile", "trace", "heap", "allocs", "goroutine", "threadcreate", "block", "mutex"} {
			contains(t, where+" index", text, name)
		}
		for _, name := range []string{"heap", "heap?gc=1", "allocs", "goroutine", "threadcreate"} {
			want(t, where+" "+name, c.call("GET", "/debug/pprof/"+name, "", &text), 200)
			isProfile(t, where+" "+name, text)
		}
		want(t, where+" stacks", c.call("GET", "/debug/pprof/goroutine?debug=2", "", &text), 200)
		contains(t, where+" stacks", text, "goroutine ", "admin.(*API)")
		want(t, where+" symbol", c.call("POST", "/debug/pprof/symbol", "0x1", &text), 200)
		contains(t, where+" symbol", text, "num_symbols: 1")
		// Secrets may have been given as flags.
		want(t, where+" command line", c.call("GET", "/debug/pprof/cmdline", "", &text), 404)
	}
}

func TestTimedProfiles(t *testing.T) {
	c := onSocket(t, admintest.Start(t, "", admin.Options{}))
	var text string
	for _, name := range []string{"profile", "mutex", "block", "allocs"} {
		want(t, name, c.call("GET", "/debug/pprof/"+name+"?seconds=1", "", &text), 200)
		isProfile(t, name, text)
	}
	want(t, "what is recorded of mutexes afterwards", runtime.SetMutexProfileFraction(-1), 0)
	want(t, "trace", c.call("GET", "/debug/pprof/trace?seconds=1", "", &text), 200)
	contains(t, "trace", text[:min(len(text), 16)], "go 1.", " trace")
}

func TestProfileIsBounded(t *testing.T) {
	c := onTCP(t, admintest.Start(t, "", admin.Options{}).Public)
	for target, says := range map[string]string{
		"profile?seconds=61": "seconds=61: want a whole number from 1 to 60",
		"trace?seconds=3600": "from 1 to 60",
		"trace?seconds=0.5":  "from 1 to 60",
		"heap?seconds=61":    "from 1 to 60",
		"heap?seconds=-1":    "from 1 to 60",
		"heap?seconds=ten":   "seconds=ten: want",
		"mutex":              "add ?seconds=10",
		"block?debug=1":      "add ?seconds=10",
	} {
		var text string
		want(t, target, c.call("GET", "/debug/pprof/"+target, "", &text), 400)
		contains(t, target, text, says)
	}
	var text string
	want(t, "rebound name", c.call("GET", "/debug/pprof/heap", "", &text, "Host", "evil.example.com"), 421)
	want(t, "method", c.call("POST", "/debug/pprof/heap", "", &text), 405)
}

func TestOneProfileAtATime(t *testing.T) {
	var log edgetest.Output
	n := admintest.Start(t, "", admin.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	ctx, leave := context.WithCancel(t.Context())
	long := make(chan error, 1)
	go func() {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.Public+"/debug/pprof/profile?seconds=60", nil)
		if err == nil {
			var resp *http.Response
			if resp, err = onTCP(t, n.Public).http.Do(req); err == nil { // its head comes with its end
				resp.Body.Close()
			}
		}
		long <- err
	}()
	edgetest.WaitFor(t, "the profile to begin", func() bool { return strings.Contains(log.String(), "taking a profile") })
	var text string
	for _, target := range []string{"profile?seconds=1", "trace", "heap"} {
		want(t, target, onSocket(t, n).call("GET", "/debug/pprof/"+target, "", &text), 409)
		contains(t, target, text, "another profile is being taken")
	}
	leave() // whoever leaves makes room for others
	if err := <-long; err == nil {
		t.Error("a profile of a minute has ended at once")
	}
	edgetest.WaitFor(t, "the next one", func() bool { return onSocket(t, n).call("GET", "/debug/pprof/heap", "", &text) == 200 })
}

// The admin listener may be open to a network for its metrics.
func TestProfilesAreNotForOtherMachines(t *testing.T) {
	public := admin.New(admin.Options{}).Public()
	for peer, status := range map[string]int{
		"192.0.2.1:40000": 403, "[2001:db8::1]:40000": 403, "10.0.0.1:40000": 403, "": 403, "@": 403,
		"127.0.0.1:40000": 200, "127.3.2.1:40000": 200, "[::1]:40000": 200, "[::ffff:127.0.0.1]:40000": 200,
	} {
		r := httptest.NewRequest(http.MethodGet, "http://localhost/debug/pprof/", nil)
		r.RemoteAddr = peer
		w := httptest.NewRecorder()
		public.ServeHTTP(w, r)
		want(t, peer, w.Code, status)
		if status == 403 {
			want(t, peer, w.Header().Get("X-Go-Pprof"), "1") // has go tool pprof show the reason
			contains(t, peer, w.Body.String(), "ask over loopback")
		}
	}
}

// A server's ReadTimeout is for requests, not for how long their answers take.
func TestProfileOutlastsTheServersReadTimeout(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	const short = 100 * time.Millisecond
	server := &http.Server{Handler: admin.New(admin.Options{}).Public(), ReadTimeout: short, ReadHeaderTimeout: short}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	defer func() { server.Close(); <-done }()
	var text string
	want(t, "status", onTCP(t, "http://"+l.Addr().String()).call("GET", "/debug/pprof/goroutine?seconds=1", "", &text), 200)
	isProfile(t, "goroutine", text)
}
