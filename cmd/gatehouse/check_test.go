package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"flag"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files of testdata anew")

// invoke runs the command line in process.
func invoke(t *testing.T, args ...string) (code int, out, errOut string) {
	t.Helper()
	return invokeWith(t, nil, args...)
}

func invokeWith(t *testing.T, environ []string, args ...string) (code int, out, errOut string) {
	t.Helper()
	var o, e bytes.Buffer
	code = execute(t.Context(), &terminal{In: strings.NewReader("standard input"), Out: &o, Err: &e, Environ: environ}, args)
	return code, o.String(), e.String()
}

// Every folder of testdata/check is what a user has; want.txt is what check says
// of it, with file, line, column, excerpt and caret.
func TestCheckGolden(t *testing.T) {
	folders, err := filepath.Glob("testdata/check/*")
	if err != nil || len(folders) == 0 {
		t.Fatal("no testdata", err)
	}
	for _, folder := range folders {
		t.Run(filepath.Base(folder), func(t *testing.T) {
			t.Chdir(folder)
			code, out, errOut := invoke(t, "check")
			want(t, "stderr", errOut, "")
			want(t, "code", code == exitOK, strings.Contains("\n"+out, "\nok: ")) // warnings come first
			if *update {
				write(t, "want.txt", out)
			}
			golden, err := os.ReadFile("want.txt")
			if err != nil {
				t.Fatal(err)
			}
			want(t, "output", out, string(golden))
		})
	}
}

func TestCheckTellsFilesApartByTheirKeys(t *testing.T) {
	t.Chdir("testdata/check/good")
	for args, says := range map[string]string{
		"gatehouse.yaml":                  "ok: 1 file, 0 tenants, 0 vhosts\n",
		"conf.d/shop.yaml":                "ok: 1 file, 1 tenant, 1 vhost\n",
		"conf.d":                          "ok: 2 files, 2 tenants, 3 vhosts\n",
		"gatehouse.yaml conf.d/blog.yaml": "ok: 2 files, 1 tenant, 2 vhosts\n",
	} {
		code, out, _ := invoke(t, append([]string{"check"}, strings.Fields(args)...)...)
		want(t, args, code, exitOK)
		want(t, args, out, says)
	}
	code, out, _ := invoke(t, "check", "absent.yaml")
	want(t, "absent", code, exitFailed)
	contains(t, "absent", out, "absent.yaml: cannot be read: no such file or directory")
	code, _, errOut := invoke(t, "check", "-c", "gatehouse.yaml", "conf.d")
	want(t, "both", code, exitUsage)
	contains(t, "both", errOut, "not both")
}

func TestCheckReadsEnvironmentAndFlagsAsServeDoes(t *testing.T) {
	t.Chdir("testdata/check/good")
	code, out, _ := invokeWith(t, []string{"GATEHOUSE_CACHE_MEMORY=lots"}, "check", "--log.level", "loud")
	want(t, "code", code, exitFailed)
	contains(t, "problems", out, `GATEHOUSE_CACHE_MEMORY: bad size "lots"`, `--log.level: bad value "loud"`)
}

func TestCheckWithRoutesInRedisSaysWhatItDidNotLookAt(t *testing.T) {
	t.Chdir(t.TempDir())
	code, out, _ := invoke(t, "check", "--routes", "redis://127.0.0.1:6379")
	want(t, "code", code, exitOK)
	contains(t, "note", out, "ok: 0 files", "note: the routes are in Redis")
}

func TestCheckJSONHoldsPlaces(t *testing.T) {
	t.Chdir("testdata/check/bad")
	code, out, _ := invoke(t, "check", "-o", "json")
	want(t, "code", code, exitFailed)
	var r checkReport
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatal(err)
	}
	want(t, "ok", r.OK, false)
	p := r.Problems[3]
	want(t, "file", p.File, "conf.d/shop.yaml")
	want(t, "line", p.Line, 9)
	want(t, "column", p.Column, 7)
	want(t, "guess", p.Guess, "ttl")
}

// certificate writes a self-signed pair and returns its key.
func certificate(t *testing.T, folder, name string, until time.Time, hosts ...string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: hosts[0]}, DNSNames: hosts,
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: until,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(folder, name+".pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	write(t, filepath.Join(folder, name+".key"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
}

func TestCheckCertificates(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	certificate(t, "conf.d", "good", time.Now().Add(time.Hour), "a.test", "*.b.test")
	certificate(t, "conf.d", "old", time.Now().Add(-time.Hour), "a.test")
	const routes = "vhosts:\n  a.test: {aliases: [x.b.test, '*.b.test', c.test], backends: [http://10.0.0.1], tls: {certificate: {cert: CERT.pem, key: KEY.key}}}\n"
	put := func(cert, key string) {
		write(t, "conf.d/a.yaml", strings.NewReplacer("CERT", cert, "KEY", key).Replace(routes))
	}
	put("good", "good")
	code, out, _ := invoke(t, "check")
	want(t, "self-signed is served as told", code, exitOK)
	contains(t, "warnings", out, "warning: conf.d/a.yaml:2:", "self-signed", "does not cover c.test")
	if strings.Contains(out, "does not cover *.b.test") || strings.Contains(out, "cover a.test") {
		t.Error("names that it covers are warned of:\n" + out)
	}
	put("old", "old")
	_, out, _ = invoke(t, "check")
	contains(t, "expired", out, "warning: ", "expired on")
	put("good", "old")
	code, out, _ = invoke(t, "check")
	want(t, "key of another", code, exitFailed)
	contains(t, "key of another", out, "tls.certificate: key does not match: it belongs to no certificate of the file")
	text, err := os.ReadFile("conf.d/good.pem")
	if err != nil {
		t.Fatal(err)
	}
	old, err := os.ReadFile("conf.d/old.pem")
	if err != nil {
		t.Fatal(err)
	}
	write(t, "conf.d/both.pem", string(old)+string(text)) // serving finds the key's one, too
	put("both", "good")
	code, out, _ = invoke(t, "check")
	want(t, "another certificate first", code, exitOK)
	contains(t, "another certificate first", out, "a certificate outside the chain left out")
	write(t, "conf.d/locked.key", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n")
	put("good", "locked")
	code, out, _ = invoke(t, "check")
	want(t, "key with a passphrase", code, exitFailed)
	contains(t, "key with a passphrase", out, "tls.certificate: private key is encrypted with a passphrase: write it unencrypted, as with openssl pkey -in KEY")
	write(t, "gatehouse.yaml", "certificates: {acme: {trust: conf.d/a.yaml}}\n")
	_, out, _ = invoke(t, "check")
	contains(t, "roots", out, "conf.d/a.yaml: cannot be read: it holds no PEM certificate (certificates.acme.trust)")
}
