package acme

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gatehouse/internal/edgetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds waits for a state; a test that reaches it has failed.
const patience = 60 * time.Second

// nameSet is a table of exact names that a test can change.
type nameSet struct {
	mu    sync.Mutex
	names map[string]bool
}

func knows(names ...string) *nameSet {
	s := &nameSet{names: make(map[string]bool)}
	for _, name := range names {
		s.names[name] = true
	}
	return s
}

func (s *nameSet) has(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.names[name] || s.names["*."+parent(name)]
}

func (s *nameSet) remove(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.names, name)
}

// changes are the additions that tell a manager of the names.
func (s *nameSet) changes() []Change {
	var all []Change
	for name := range s.names {
		all = append(all, Change{Name: name})
	}
	return all
}

func newManager(t testing.TB, o Options) *Manager {
	t.Helper()
	if o.Data == "" {
		o.Data = t.TempDir()
	}
	if o.Known == nil {
		o.Known = func(string) bool { return true }
	}
	m, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// run runs a manager until the test ends or the returned function is called.
func run(t testing.TB, m *Manager) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
		time.Sleep(5 * time.Millisecond) // between two polls of the state awaited
	}
}

func serverConfig(m *Manager) *tls.Config {
	return &tls.Config{
		NextProtos:     []string{"h2", "http/1.1", ALPNProto},
		GetCertificate: m.GetCertificate,
		WrapSession:    m.WrapSession,
		UnwrapSession:  m.UnwrapSession,
	}
}

// serveTLS accepts TLS connections on a loopback port and writes one byte to each,
// so that TLS 1.3 clients get their ticket.
func serveTLS(t testing.TB, config *tls.Config) string {
	t.Helper()
	ln, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer conn.Close()
				if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
					return
				}
				if _, err := conn.Write([]byte("!")); err == nil {
					_, _ = io.Copy(io.Discard, conn) // until the client leaves
				}
			})
		}
	})
	t.Cleanup(func() { ln.Close(); conns.Wait() })
	return ln.Addr().String()
}

// connect makes one connection and returns its state.
func connect(t testing.TB, addr string, config *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	dialer := &net.Dialer{Timeout: patience}
	conn, err := tls.DialWithDialer(dialer, "tcp", addr, config)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		return tls.ConnectionState{}, err
	}
	return conn.ConnectionState(), nil
}

// hello is the ClientHello of an ordinary client.
func hello(name string) *tls.ClientHelloInfo {
	return &tls.ClientHelloInfo{ServerName: name, SupportedProtos: []string{"h2", "http/1.1"}}
}

// served returns the certificate that a name gets, nil if none.
func served(t testing.TB, m *Manager, name string) *x509.Certificate {
	t.Helper()
	cert, err := m.GetCertificate(hello(name))
	if err != nil {
		t.Fatalf("GetCertificate(%q): %v", name, err)
	}
	if cert == nil {
		return nil
	}
	x, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// statusOf returns the entry of List for a name.
func statusOf(t testing.TB, m *Manager, name string) Status {
	t.Helper()
	for _, st := range m.List() {
		if st.Name == name {
			return st
		}
	}
	t.Fatalf("List has no %s", name)
	return Status{}
}

// pairFiles writes a leaf of a CA, with the CA's certificate behind it, into a new
// folder.
func pairFiles(t testing.TB, ca *edgetest.CA, o edgetest.LeafOptions, names ...string) (leaf *edgetest.Leaf, cert, key string) {
	t.Helper()
	leaf = ca.IssueWith(t, o, names...)
	leaf.CertPEM = append(leaf.CertPEM, ca.PEM...)
	cert, key = leaf.Write(t, t.TempDir(), "site")
	return leaf, cert, key
}

// logBuffer gathers log lines.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func newLog() (*slog.Logger, *logBuffer) {
	b := new(logBuffer)
	return slog.New(slog.NewTextHandler(b, nil)), b
}

func mustBePrivate(t testing.TB, path string) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("%s has mode %v, want 0600", filepath.Base(path), info.Mode().Perm())
	}
}

func TestOptionsThatCannotWorkAreRefused(t *testing.T) {
	known := func(string) bool { return true }
	data := t.TempDir()
	for name, tc := range map[string]struct {
		options Options
		want    string
	}{
		"no data":         {Options{Known: known}, "no data folder"},
		"no Known":        {Options{Data: data}, "no Known function"},
		"issuer unknown":  {Options{Data: data, Known: known, Issuer: "letsencrypt"}, `"letsencrypt" is unknown`},
		"no directory":    {Options{Data: data, Known: known, Issuer: "acme"}, "URL of its directory"},
		"plain directory": {Options{Data: data, Known: known, Issuer: "acme", ACME: ACME{Directory: "http://ca.test/dir"}}, "not an https URL"},
		"eab without kid": {Options{Data: data, Known: known, Issuer: "acme", ACME: ACME{Directory: "https://ca.test/dir", EAB: &EAB{HMAC: "aGk"}}}, "no kid"},
		"eab not base64":  {Options{Data: data, Known: known, Issuer: "acme", ACME: ACME{Directory: "https://ca.test/dir", EAB: &EAB{KID: "k", HMAC: "~"}}}, "not base64"},
		"trust absent":    {Options{Data: data, Known: known, Issuer: "acme", ACME: ACME{Directory: "https://ca.test/dir", Trust: filepath.Join(data, "no.pem")}}, "acme: trust"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New(tc.options)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error is %v, want one with %q", err, tc.want)
			}
		})
	}
}

func TestRunTwiceIsAnError(t *testing.T) {
	m := newManager(t, Options{})
	run(t, m)()
	if err := m.Run(context.Background()); err == nil {
		t.Error("the second Run succeeded")
	}
}

// isUnrecognizedName reports whether a client was refused with alert 112
// (RFC 6066 section 3). crypto/tls gives clients the alert's text only.
func isUnrecognizedName(err error) bool {
	return err != nil && err.Error() == "remote error: tls: unrecognized name"
}

// needTool skips a test for want of a program, except where all are installed.
func needTool(t testing.TB, program string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is not installed", program)
	}
	t.Skipf("%s is not installed", program)
}

// writePair writes a certificate of the package as files.
func writePair(t testing.TB, dir string, cert *tls.Certificate) (certFile, keyFile string) {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	var text []byte
	for _, der := range cert.Certificate {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	leaf := &edgetest.Leaf{CertPEM: text, KeyPEM: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})}
	return leaf.Write(t, dir, "pair")
}

// isPlanned reports whether a name will be looked at some time.
func (i *issuer) isPlanned(name string) bool {
	return !i.plan.at(name).IsZero() || !i.unread.at(name).IsZero()
}
