package main

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
)

func TestDemoSaysWhyTheServerDidNotStartAndLeavesNothing(t *testing.T) {
	before := runServer
	runServer = func(context.Context, *Config, io.Writer, *inheritance) error { return errors.New("port in use") }
	t.Cleanup(func() { runServer = before })
	t.Setenv("TMPDIR", t.TempDir())
	for _, check := range []bool{false, true} {
		var out strings.Builder
		err := runDemo(context.Background(), &out, check, "")
		if err == nil || !strings.Contains(err.Error(), "port in use") {
			t.Errorf("check %v: got %v", check, err)
		}
	}
	left, err := os.ReadDir(os.TempDir())
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestDemoEndsSoonAndSaysHow: Ctrl-C says at once what it waits for and what cuts it, and
// waits for nobody who would have to see first that the demo leaves.
func TestDemoEndsSoonAndSaysHow(t *testing.T) {
	before := runServer
	t.Cleanup(func() { runServer = before })
	var limits Limits
	runServer = func(ctx context.Context, cfg *Config, _ io.Writer, _ *inheritance) error {
		limits = cfg.Limits
		ln, err := net.Listen("tcp", cfg.Listen.Admin)
		if err != nil {
			return err
		}
		return serveToy(ctx, ln, "node") // it is ready, as the demo waits for
	}
	t.Setenv("TMPDIR", t.TempDir())
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	out := &said{word: "Ctrl-C ends the demo", then: cancel}
	if err := runDemo(ctx, out, false, ""); err != nil {
		t.Fatal(err)
	}
	contains(t, "what it says", out.text.String(), "Ending: open requests have up to 5s. Ctrl-C again cuts them.")
	want(t, "time in which it goes on accepting", edgeLimits(&limits).DrainAccept, -1)
	want(t, "time that requests have", edgeLimits(&limits).DrainGrace, 5*time.Second)
}

// said calls then once word has been written.
type said struct {
	text strings.Builder
	word string
	then func()
}

func (s *said) Write(p []byte) (int, error) {
	n, err := s.text.Write(p)
	if strings.Contains(s.text.String(), s.word) {
		s.then()
	}
	return n, err
}

func TestDemoPortsAreFreeAndDiffer(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	busy := ln.Addr().(*net.TCPAddr).Port
	ports, err := demoPorts(busy, busy, 0)
	if err != nil {
		t.Fatal(err)
	}
	if slices.Contains(ports, busy) || ports[0] == ports[1] || ports[1] == ports[2] || ports[0] == ports[2] {
		t.Errorf("got %v while %d is taken", ports, busy)
	}
	for _, p := range ports {
		free, err := net.Listen("tcp", loopback(p))
		if err != nil {
			t.Errorf("port %d is not free: %v", p, err)
			continue
		}
		free.Close()
	}
}

func TestShellQuote(t *testing.T) {
	for in, want := range map[string]string{
		"a/b.pem": "a/b.pem", "": "''", "a b": "'a b'", "it's": `'it'\''s'`, "q=<script>": "'q=<script>'", "$(x)": "'$(x)'",
	} {
		if got := shellQuote(in); got != want {
			t.Errorf("shellQuote(%q) = %s, want %s", in, got, want)
		}
	}
}

// newCheckSite returns a site whose "server" is answer behind real TLS.
func newCheckSite(t *testing.T, answer http.Handler) *demoSite {
	t.Helper()
	ca := edgetest.NewCA(t)
	leaf := ca.Issue(t, "*.demo.localhost")
	server := edgetest.NewBackendWith(t, edgetest.BackendOptions{
		TLS: &tls.Config{Certificates: []tls.Certificate{leaf.TLS}}, Handler: answer,
	})
	site, err := newDemoSite(context.Background(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := site.close(); err != nil {
			t.Error(err)
		}
	})
	_, port, _ := net.SplitHostPort(server.Addr)
	site.cfg.Listen.HTTPS = server.Addr
	if _, err := fmt.Sscan(port, &site.cfg.Listen.PublicHTTPS); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(site.caFile()), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(site.caFile(), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Cert.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return site
}

// standIn answers as the demo expects of the server, except in what broken
// names. The real server behind the demo is tested in e2e.
func standIn(broken string) http.Handler {
	stored, uploads := "", 0
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Request-Id", "demo-1")
		shop := strings.HasPrefix(r.Host, demoShop)
		if shop && r.FormValue("q") != "" && broken != "waf" {
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, "request demo-1 was blocked")
			return
		}
		if broken == "backend" && shop {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		if r.URL.Path == "/upload" {
			if uploads++; uploads != 2 { // the second time, it is allowed
				w.WriteHeader(http.StatusForbidden)
			}
			_, _ = io.WriteString(w, `{"bytes":36}`)
			return
		}
		if r.URL.Path == "/api/price" {
			status := "gatehouse; hit"
			if stored == "" || broken == "cache" {
				status = "gatehouse; fwd=uri-miss; stored"
				stored = fmt.Sprintf(`{"site":"shop","n":%q}`, r.RemoteAddr)
			}
			w.Header().Set("Cache-Status", status)
			_, _ = io.WriteString(w, stored)
			return
		}
		name := "blog"
		if shop {
			name = "shop"
		}
		_, _ = io.WriteString(w, "Welcome to "+name)
	})
}

// TestDemoCheckNamesTheStepThatFailed runs the printed lines against a server
// that lacks one thing; once with curl, once with the client of our own.
func TestDemoCheckNamesTheStepThatFailed(t *testing.T) {
	for _, ownClient := range []bool{false, true} {
		for _, broken := range []string{"", "waf", "cache", "backend"} {
			t.Run(fmt.Sprintf("broken %s, own client %v", broken, ownClient), func(t *testing.T) {
				site := newCheckSite(t, standIn(broken))
				site.self = "true" // the verb of the last step is not what is tested here
				if ownClient {
					site.curl.path = ""
				} else if site.curl.path == "" {
					t.Skip("no curl on this machine; the other half of the test runs without")
				}
				var out strings.Builder
				err := checkDemo(context.Background(), &out, site)
				want := broken
				if want == "" {
					want = "tuning" // the stand-in cannot be tuned: every step before it was fine
				}
				if err == nil || err.Error() != "demo check: step "+want+" failed" {
					t.Errorf("got %v\n%s", err, &out)
				}
			})
		}
	}
}
