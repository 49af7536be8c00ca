package main

import (
	"bytes"
	"context"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"gatehouse/routes"
)

// testSettings fills every place of every template.
func testSettings(t *testing.T) settings {
	t.Helper()
	dir := t.TempDir()
	s := settings{
		Dir: dir, Log: filepath.Join(dir, "access.log"), ModSecurity: modSecurityModule, Root: true, Descriptors: 4096,
		Backend: netip.MustParseAddrPort("127.0.0.1:19001"), Counter: netip.MustParseAddrPort("127.0.0.1:19002"),
		HTTPS: netip.MustParseAddrPort("127.0.0.1:19003"), Plain: netip.MustParseAddrPort("127.0.0.1:19004"),
		Admin: netip.MustParseAddrPort("127.0.0.1:19005"),
	}
	if err := makeCertificate(&s); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestEveryTemplateIsFilled(t *testing.T) {
	s := testSettings(t)
	files, err := confFiles.ReadDir("conf")
	if err != nil || len(files) < 9 {
		t.Fatalf("%d templates, %v", len(files), err)
	}
	for _, f := range files {
		text, err := render(f.Name(), flatNginx(flatCase{vhosts: 5, tenants: 2}, s))
		if err != nil {
			t.Error(err)
			continue
		}
		for _, left := range []string{"{{", "<no value>", "invalid AddrPort"} {
			if bytes.Contains(text, []byte(left)) {
				t.Errorf("%s holds %q:\n%s", f.Name(), left, text)
			}
		}
	}
}

// TestOurDocumentsAreGood: what the WAF and the cache do in the comparison stands here.
func TestOurDocumentsAreGood(t *testing.T) {
	s := testSettings(t)
	conf, err := render("gatehouse.yaml", s)
	if err != nil {
		t.Fatal(err)
	}
	var process map[string]any
	if err := yaml.Unmarshal(conf, &process); err != nil || process["routes"] != "file:"+s.Dir+"/conf.d" {
		t.Errorf("gatehouse.yaml: %v, %v", process, err)
	}
	text, err := render("routes.yaml", s)
	if err != nil {
		t.Fatal(err)
	}
	files := flatRoutes(flatCase{120, 60}, s)
	if len(files) != 3+2 {
		t.Errorf("120 vhosts and 60 tenants are %d files, want 5 of up to %d", len(files), perFile)
	}
	files["routes.yaml"] = string(text)
	documents := 0
	for name, text := range files {
		found, problems := routes.ParseFile(name, []byte(text))
		if len(problems) > 0 {
			t.Errorf("%s: %v", name, problems)
		}
		documents += len(found)
	}
	if documents != 4+120+60 {
		t.Errorf("%d documents, want 184", documents)
	}
}

// TestPeersAcceptTheirConfigurations asks those that are installed.
func TestPeersAcceptTheirConfigurations(t *testing.T) {
	s := testSettings(t)
	s.Root, s.ModSecurity = false, ""
	b := &bed{dir: s.Dir, settings: s}
	tests := []struct {
		conf string
		argv []string // the file comes last
	}{
		{"flat.nginx.conf", []string{"nginx", "-t", "-q", "-p", s.Dir, "-c"}},
		{"backend.nginx.conf", []string{"nginx", "-t", "-q", "-p", s.Dir, "-c"}},
		{"nginx.conf", []string{"nginx", "-t", "-q", "-p", s.Dir, "-c"}},
		{"haproxy.cfg", []string{"haproxy", "-c", "-q", "-f"}},
		{"hitch.conf", []string{"hitch", "--test", "--config"}},
		{"varnish.vcl", []string{"varnishd", "-C", "-j", "none", "-n", filepath.Join(s.Dir, "varnish"), "-f"}},
		{"Caddyfile", []string{"caddy", "validate", "--adapter", "caddyfile", "--config"}},
	}
	for _, tt := range tests {
		t.Run(tt.conf, func(t *testing.T) {
			if _, err := exec.LookPath(tt.argv[0]); err != nil {
				t.Skip(tt.argv[0], "is not installed")
			}
			file, err := b.configure(tt.conf, flatNginx(flatCase{vhosts: 100, tenants: 10}, s))
			if err != nil {
				t.Fatal(err)
			}
			output, err := exec.CommandContext(context.Background(), tt.argv[0], append(tt.argv[1:], file)...).CombinedOutput()
			if err != nil {
				t.Errorf("%v: %s", err, tail(string(output)))
			}
		})
	}
}

func TestFirstVersion(t *testing.T) {
	for text, want := range map[string]string{
		"nginx version: nginx/1.22.1\n":                                     "1.22.1",
		"HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org": "2.6.12-1+deb12u4",
		"varnishd (varnish-7.1.1 revision 7cee1c5)":                         "7.1.1",
		"v2.11.9 h1:abc=": "2.11.9",
		"# OWASP ModSecurity Core Rule Set ver.3.3.4\n": "3.3.4",
		"nothing": "",
	} {
		if got := firstVersion(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

// TestOnlyWrkSeesOurNames: what has to be set up for that is put before its command.
func TestOnlyWrkSeesOurNames(t *testing.T) {
	b := &bed{prefix: []string{"unshare", "--mount"}}
	if got := strings.Join(b.named([]string{"wrk", "-t1"}), " "); got != "unshare --mount wrk -t1" {
		t.Errorf("got %q", got)
	}
	if got := strings.Join((&bed{}).named([]string{"wrk"}), " "); got != "wrk" {
		t.Errorf("got %q", got)
	}
}
