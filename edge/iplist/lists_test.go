package iplist

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gatehouse/internal/edgetest"
	"gatehouse/routes"
)

// A listServer is an https server whose answer a test changes.
type listServer struct {
	*httptest.Server
	answer  atomic.Pointer[http.HandlerFunc]
	asked   atomic.Int64
	matched atomic.Int64 // requests with If-None-Match
}

func newListServer(t *testing.T, text string) *listServer {
	t.Helper()
	s := &listServer{}
	s.say(text)
	s.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		if r.Header.Get("If-None-Match") != "" {
			s.matched.Add(1)
		}
		(*s.answer.Load())(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

// say has the server answer with a list, under an ETag.
func (s *listServer) say(text string) {
	s.do(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"`+text+`"`)
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(text))
	})
}

func (s *listServer) do(f http.HandlerFunc) { s.answer.Store(&f) }

func (s *listServer) tls() *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return &tls.Config{RootCAs: pool}
}

func newLists(t *testing.T, o Options) *Lists {
	t.Helper()
	l, err := NewLists(o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// run has Lists follow their lists until the test ends, or stop is called.
func (l *Lists) run(t *testing.T) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
	t.Cleanup(stop)
	return stop
}

func judge(r *Rules, text string) Verdict { return r.Judge(netip.MustParseAddr(text)) }

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAllowWinsOverDeny(t *testing.T) {
	t.Parallel()
	l := newLists(t, Options{})
	file := filepath.Join(t.TempDir(), "office.txt")
	write(t, file, "198.51.100.0/24\n")
	r := l.Open("", &routes.Addresses{Allow: []string{"192.0.2.0/24", "file:" + file}, Deny: []string{"192.0.2.7", "203.0.113.0/24", "2001:db8::/32"}})
	for text, want := range map[string]Verdict{
		"192.0.2.7": Allowed, // although the network in deny is the longer one
		"192.0.2.8": Allowed, "198.51.100.1": Allowed,
		"203.0.113.5": Denied, "2001:db8::5": Denied, "::ffff:203.0.113.5": Denied,
		"10.0.0.1": Unlisted, "2001:db9::": Unlisted,
	} {
		if got := judge(r, text); got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
	all := l.Open("", &routes.Addresses{Allow: []string{"192.0.2.0/24"}, Deny: []string{"all"}})
	if judge(all, "192.0.2.1") != Allowed || judge(all, "10.0.0.1") != Denied || judge(all, "2001:db8::1") != Denied {
		t.Error("deny: [all]")
	}
	if alone := l.Open("", &routes.Addresses{Allow: []string{"192.0.2.0/24"}}); judge(alone, "10.0.0.1") != Unlisted {
		t.Error("an allow alone denies")
	}
	if l.Open("", nil) != nil || l.Open("", &routes.Addresses{}) != nil || judge(nil, "10.0.0.1") != Unlisted {
		t.Error("nothing says something")
	}
}

func TestAFileIsReadAgainAndABadOneChangesNothing(t *testing.T) {
	t.Parallel()
	dir, file := t.TempDir(), filepath.Join(t.TempDir(), "drop.txt")
	write(t, file, "192.0.2.1\n")
	var log edgetest.Output
	var changes atomic.Int64
	registry := prometheus.NewRegistry()
	o := Options{
		Dir: dir, Logger: slog.New(slog.NewTextHandler(&log, nil)), Registerer: registry, Changed: func() { changes.Add(1) },
	}
	l := newLists(t, o)
	a := &routes.Addresses{Deny: []string{"file:" + file}}
	r := l.Open("", a)
	if judge(r, "192.0.2.1") != Denied || problemOf(r) != nil {
		t.Fatal(problemOf(r))
	}
	stop := l.run(t)

	write(t, file, "192.0.2.2\n192.0.2.3\n")
	edgetest.WaitFor(t, "the file to be read again", func() bool { return judge(r, "192.0.2.2") == Denied })
	if judge(r, "192.0.2.1") != Unlisted {
		t.Error("the old list is still in force")
	}
	edgetest.WaitFor(t, "the change to be told", func() bool { return changes.Load() == 1 })

	write(t, file, "192.0.2.4\nnonsense\n")
	edgetest.WaitFor(t, "the bad file to be noticed", func() bool { return problemOf(r) != nil })
	if err := problemOf(r).Error(); !strings.Contains(err, file+": the last good one is in force: line 2: ") {
		t.Error(err)
	}
	if judge(r, "192.0.2.2") != Denied || judge(r, "192.0.2.4") != Unlisted {
		t.Error("a bad list changed what is in force")
	}
	edgetest.WaitFor(t, "the log", func() bool { return strings.Contains(log.String(), "list of addresses not usable") })
	if got := gauge(t, registry, "gatehouse_address_lists_failing"); got != 1 {
		t.Errorf("%v lists fail", got)
	}
	stop()

	// After a restart the last good form is in force, whatever the file says.
	o.Registerer = nil
	again := newLists(t, o)
	r2 := again.Open("", a)
	if judge(r2, "192.0.2.3") != Denied || problemOf(r2) == nil {
		t.Error("the last good form is lost", problemOf(r2))
	}
	again.run(t)
	write(t, file, "192.0.2.5\n")
	edgetest.WaitFor(t, "the mended file", func() bool { return judge(r2, "192.0.2.5") == Denied && problemOf(r2) == nil })

	// Nobody names it any more: nothing is kept.
	again.Close(r2)
	edgetest.WaitFor(t, "the last good form to be removed", func() bool { left, err := os.ReadDir(dir); return err == nil && len(left) == 0 })
}

func TestAListThatNeverWasGoodIsEmptyAndSaysSo(t *testing.T) {
	t.Parallel()
	l := newLists(t, Options{})
	file := filepath.Join(t.TempDir(), "absent.txt")
	r := l.Open("", &routes.Addresses{Deny: []string{"file:" + file, "192.0.2.1"}})
	if err := problemOf(r); err == nil || !strings.Contains(err.Error(), file+" is not in force, and counts as empty: cannot be read: no such file") {
		t.Error(err)
	}
	if judge(r, "192.0.2.1") != Denied || judge(r, "192.0.2.2") != Unlisted {
		t.Error("the other entries do not act")
	}
	l.run(t)
	write(t, file, "192.0.2.2")
	edgetest.WaitFor(t, "the file", func() bool { return judge(r, "192.0.2.2") == Denied })
}

func TestAURLIsAskedAgainAndKeptOnDisk(t *testing.T) {
	t.Parallel()
	server := newListServer(t, "192.0.2.1\n")
	o := Options{Dir: t.TempDir(), TLS: server.tls(), Refresh: 20 * time.Millisecond}
	l := newLists(t, o)
	a := &routes.Addresses{Deny: []string{server.URL + "/drop.txt?key=secret"}}
	r := l.Open("", a)
	if judge(r, "192.0.2.1") != Denied {
		t.Fatal(problemOf(r))
	}
	stop := l.run(t)
	edgetest.WaitFor(t, "a question whether it has changed", func() bool { return server.matched.Load() > 0 })
	server.say("192.0.2.2\n")
	edgetest.WaitFor(t, "the new list", func() bool { return judge(r, "192.0.2.2") == Denied && judge(r, "192.0.2.1") == Unlisted })

	for name, answer := range map[string]struct {
		do     http.HandlerFunc
		reason string
	}{
		"an error":      {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, "the server answers 500"},
		"a page":        {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>down</html>")) }, "line 1"},
		"nothing":       {func(http.ResponseWriter, *http.Request) {}, "no network"},
		"another place": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/x", http.StatusFound) }, "redirects"},
		"half of an anser": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "99")
			_, _ = w.Write([]byte("10.0.0.1\n"))
		}, "cannot be fetched"},
		"too much": {func(w http.ResponseWriter, _ *http.Request) {
			line := []byte(strings.Repeat("#", 1<<20) + "\n")
			for range MaxListBytes>>20 + 1 {
				if _, err := w.Write(line); err != nil {
					return
				}
			}
		}, "more than 16 MiB"},
	} {
		server.do(answer.do)
		edgetest.WaitFor(t, name, func() bool { err := problemOf(r); return err != nil && strings.Contains(err.Error(), answer.reason) })
		if err := problemOf(r).Error(); strings.Contains(err, "secret") || !strings.Contains(err, "the last good one is in force") {
			t.Errorf("%s: %s", name, err)
		}
		if judge(r, "192.0.2.2") != Denied || judge(r, "10.0.0.1") != Unlisted {
			t.Errorf("%s changed what is in force", name)
		}
	}
	stop()

	// A restart while the server is away.
	server.Close()
	again := newLists(t, o)
	if judge(again.Open("", a), "192.0.2.2") != Denied {
		t.Error("the last good form is lost")
	}
}

func problemOf(r *Rules) error { return errors.Join(r.Problems()...) }

func TestTheDialerDecidesWhereAListMayBe(t *testing.T) {
	t.Parallel()
	server := newListServer(t, "192.0.2.1\n")
	refused := errors.New("ours")
	l := newLists(t, Options{TLS: server.tls(), Dial: func(context.Context, string, string) (net.Conn, error) { return nil, refused }})
	r := l.Open("", &routes.Addresses{Deny: []string{server.URL}})
	if err := problemOf(r); !errors.Is(err, refused) || server.asked.Load() != 0 {
		t.Error(err, server.asked.Load())
	}
}

func TestDocumentsShareAListAndItsNetworks(t *testing.T) {
	t.Parallel()
	server := newListServer(t, "192.0.2.1\n")
	dir := t.TempDir()
	l := newLists(t, Options{Dir: dir, TLS: server.tls()})
	tenant := &routes.Addresses{Deny: []string{server.URL}}
	first, second := l.Open("", tenant), l.Open("", tenant) // of two of its vhosts
	other := l.Open("", &routes.Addresses{Allow: []string{server.URL}})
	if first != second || first == other || server.asked.Load() != 1 {
		t.Errorf("asked %d times", server.asked.Load())
	}
	l.Close(first)
	l.Close(other)
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 || len(l.held()) != 1 {
		t.Error(left, err)
	}
	l.Close(second)
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 || len(l.held()) != 0 {
		t.Error(left, err)
	}
}

func gauge(t *testing.T, registry *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}
