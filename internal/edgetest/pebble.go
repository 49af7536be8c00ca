package edgetest

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"
)

// A PebbleServer is a running Pebble, the ACME server that Let's Encrypt tests with.
// It keeps accounts and certificates in memory, until the test ends.
type PebbleServer struct {
	DirectoryURL  string // for the ACME client
	TrustFile     string // PEM of the root that vouches for DirectoryURL's own TLS certificate
	ManagementURL string // Pebble's management interface

	client *http.Client
	output *Output
}

// PebbleOptions say how Pebble behaves. The ports are those of this machine's
// loopback at which Pebble validates; every name resolves to 127.0.0.1.
type PebbleOptions struct {
	HTTPPort int               // of HTTP-01; zero: nobody listens there
	TLSPort  int               // of TLS-ALPN-01; zero: nobody listens there
	Lifetime time.Duration     // of certificates; zero: 90 days
	EAB      map[string]string // key identifiers and base64url keys; nil: accounts need none
	DNS      string            // address of the name server that Pebble asks; empty: DNS
}

// Pebble starts Pebble for HTTP-01 and TLS-ALPN-01 at the given ports of loopback.
// Without its source (no module proxy) the test is skipped, or fails if CI=true.
func Pebble(t testing.TB, httpPort, tlsPort int) *PebbleServer {
	t.Helper()
	return PebbleWith(t, PebbleOptions{HTTPPort: httpPort, TLSPort: tlsPort})
}

// PebbleWith is Pebble with a choice of behaviour.
func PebbleWith(t testing.TB, opts PebbleOptions) *PebbleServer {
	t.Helper()
	binary := pebbleBinary(t)
	dir := t.TempDir()
	ca := NewCA(t)
	certFile, keyFile := ca.Issue(t, "localhost", "127.0.0.1").Write(t, dir, "pebble")
	trustFile, _ := ca.Write(t, dir)
	p := &PebbleServer{
		TrustFile: trustFile,
		client:    &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.Pool()}}},
		output:    new(Output),
	}
	t.Cleanup(p.client.CloseIdleConnections)
	directory, management := FreePort(t), FreePort(t)
	p.DirectoryURL = fmt.Sprintf("https://127.0.0.1:%d/dir", directory)
	p.ManagementURL = fmt.Sprintf("https://127.0.0.1:%d", management)
	dns := opts.DNS
	if dns == "" {
		dns = DNS(t)
	}
	config := filepath.Join(dir, "pebble.json")
	text, err := json.Marshal(map[string]any{"pebble": pebbleConfig(t, opts, directory, management, certFile, keyFile)})
	must(t, "encode Pebble's settings", err)
	must(t, "write Pebble's settings", os.WriteFile(config, text, 0o600))
	p.start(t, binary, "-config", config, "-dnsserver", dns)
	return p
}

func pebbleConfig(t testing.TB, opts PebbleOptions, directory, management int, certFile, keyFile string) map[string]any {
	life := opts.Lifetime
	if life == 0 {
		life = 90 * 24 * time.Hour
	}
	for _, port := range []*int{&opts.HTTPPort, &opts.TLSPort} {
		if *port == 0 {
			*port = FreePort(t)
		}
	}
	return map[string]any{
		"listenAddress":                  fmt.Sprintf("127.0.0.1:%d", directory),
		"managementListenAddress":        fmt.Sprintf("127.0.0.1:%d", management),
		"certificate":                    certFile,
		"privateKey":                     keyFile,
		"httpPort":                       opts.HTTPPort,
		"tlsPort":                        opts.TLSPort,
		"externalAccountBindingRequired": len(opts.EAB) > 0,
		"externalAccountMACKeys":         opts.EAB,
		"keyAlgorithm":                   "ecdsa",
		"retryAfter":                     map[string]int{"authz": 1, "order": 1},
		// One profile only: without one in the order Pebble picks at random.
		"profiles": map[string]any{
			"default": map[string]any{"description": "default", "validityPeriod": int(life.Seconds())},
		},
	}
}

// start runs Pebble until the test ends and waits until it answers.
func (p *PebbleServer) start(t testing.TB, binary string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Stdout, cmd.Stderr = p.output, p.output
	cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0", "PEBBLE_AUTHZREUSE=0")
	must(t, "start Pebble", cmd.Start())
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	t.Cleanup(func() {
		cancel()
		<-exited
		if t.Failed() {
			t.Logf("Pebble's output:\n%s", p.output.String())
		}
	})
	deadline := time.After(60 * time.Second)
	for {
		resp, err := p.client.Get(p.DirectoryURL)
		if err == nil {
			must(t, "close Pebble's directory", resp.Body.Close())
			return
		}
		select {
		case err := <-exited:
			exited <- err
			t.Fatalf("edgetest: Pebble ended: %v\n%s", err, p.output.String())
		case <-deadline:
			t.Fatalf("edgetest: Pebble does not answer: %v", err)
		case <-time.After(20 * time.Millisecond): // between two polls of the state awaited
		}
	}
}

// Roots returns the root that signs what Pebble issues.
func (p *PebbleServer) Roots(t testing.TB) *x509.CertPool {
	t.Helper()
	resp, err := p.client.Get(p.ManagementURL + "/roots/0")
	must(t, "get Pebble's root", err)
	text, err := io.ReadAll(resp.Body)
	must(t, "read Pebble's root", err)
	must(t, "close Pebble's root", resp.Body.Close())
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		t.Fatalf("edgetest: Pebble's root is no certificate: %q", text)
	}
	return pool
}

// SetRenewalWindow has Pebble suggest when to renew a certificate (RFC 9773).
func (p *PebbleServer) SetRenewalWindow(t testing.TB, cert *x509.Certificate, start, end time.Time) {
	t.Helper()
	window := fmt.Sprintf(`{"suggestedWindow": {"start": %q, "end": %q}, "explanationURL": "https://ca.test/why"}`,
		start.UTC().Format(time.RFC3339), end.UTC().Format(time.RFC3339))
	body, err := json.Marshal(map[string]string{
		"Certificate": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})), "ARIResponse": window,
	})
	must(t, "encode a renewal window", err)
	resp, err := p.client.Post(p.ManagementURL+"/set-renewal-info/", "application/json", bytes.NewReader(body))
	must(t, "set a renewal window", err)
	must(t, "close Pebble's answer", resp.Body.Close())
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("edgetest: Pebble takes no renewal window: %s", resp.Status)
	}
}

// Log returns what Pebble has written so far.
func (p *PebbleServer) Log() string { return p.output.String() }

var pebbleVersion = regexp.MustCompile(`letsencrypt/pebble/v2 (v[0-9.]+)`)

// pebbleBinary builds Pebble from tools/go.mod, once for each version and machine.
func pebbleBinary(t testing.TB) string {
	t.Helper()
	tools := toolsFolder(t)
	text, err := os.ReadFile(filepath.Join(tools, "go.mod"))
	must(t, "read tools/go.mod", err)
	match := pebbleVersion.FindSubmatch(text)
	if match == nil {
		t.Fatal("edgetest: tools/go.mod names no version of Pebble")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	cache = filepath.Join(cache, "gatehouse-test")
	binary := filepath.Join(cache, "pebble-"+string(match[1]))
	if _, err := os.Stat(binary); err == nil {
		return binary
	}
	must(t, "make a folder for Pebble", os.MkdirAll(cache, 0o755))
	building := fmt.Sprintf("%s.%d", binary, os.Getpid()) // several test processes may build at once
	cmd := exec.Command("go", "build", "-o", building, "github.com/letsencrypt/pebble/v2/cmd/pebble")
	cmd.Dir = tools
	if out, err := cmd.CombinedOutput(); err != nil {
		if os.Getenv("CI") != "true" {
			t.Skipf("Pebble cannot be built here: %v\n%s", err, out)
		}
		t.Fatalf("edgetest: build Pebble: %v\n%s", err, out)
	}
	must(t, "put Pebble in place", os.Rename(building, binary))
	return binary
}

// toolsFolder finds the tools module above the package under test.
func toolsFolder(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	must(t, "find the working folder", err)
	for {
		tools := filepath.Join(dir, "tools")
		if _, err := os.Stat(filepath.Join(tools, "go.mod")); err == nil {
			return tools
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("edgetest: no tools/go.mod above the working folder")
		}
		dir = filepath.Dir(dir)
	}
}
