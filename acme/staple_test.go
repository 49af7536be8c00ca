package acme

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"gatehouse/internal/edgetest"
)

// responderSite makes certificate files that name the responder.
func responderSite(t testing.TB, r *edgetest.OCSPResponder) Change {
	t.Helper()
	_, cert, key := pairFiles(t, r.CA, edgetest.LeafOptions{OCSP: r.URL}, "a.test")
	return Change{Name: "a.test", CertFile: cert, KeyFile: key}
}

// revokedNow is an answer by which the certificate was revoked just now.
var revokedNow = edgetest.OCSPModes()[1]

func TestResponderModes(t *testing.T) {
	for _, mode := range edgetest.OCSPModes() {
		t.Run(mode.Name, func(t *testing.T) {
			r := edgetest.OCSP(t)
			r.Answer(mode)
			m := newManager(t, Options{AllowPrivateResponders: true})
			run(t, m)
			m.Update([]Change{responderSite(t, r)})
			l := m.store.file("a.test")
			var st Status
			eventually(t, "the response was judged", func() bool {
				st = statusOf(t, m, "a.test")
				return st.Staple != StaplePending || st.LastError != ""
			})
			stapled := l.served.Load().OCSPStaple
			switch {
			case mode.Refused != "":
				if !strings.Contains(st.LastError, mode.Refused) || stapled != nil {
					t.Errorf("error is %q, want %q; stapled %d octets", st.LastError, mode.Refused, len(stapled))
				}
				if wait := time.Until(m.stapler.plan.at(l)); wait < 40*time.Second || wait > 73*time.Second {
					t.Errorf("next try in %v, want a minute ±20 %%", wait)
				}
			case mode.Name == "revoked":
				if st.Staple != StapleRevoked || stapled != nil {
					t.Errorf("staple is %s, %d octets", st.Staple, len(stapled))
				}
			default:
				if st.Staple != StapleGood || stapled == nil || st.LastError != "" {
					t.Errorf("status is %+v", st)
				}
			}
		})
	}
}

func TestStapleReachesTheClientAndSurvivesARestart(t *testing.T) {
	r := edgetest.OCSP(t)
	change := responderSite(t, r)
	o := Options{Data: t.TempDir(), AllowPrivateResponders: true}
	m := newManager(t, o)
	stop := run(t, m)
	m.Update([]Change{change, {Name: "b.test", CertFile: change.CertFile, KeyFile: change.KeyFile}})
	eventually(t, "staple is there", func() bool { return statusOf(t, m, "b.test").Staple == StapleGood })
	config := &tls.Config{ServerName: "a.test", RootCAs: r.CA.Pool()}
	cs, err := connect(t, serveTLS(t, serverConfig(m)), config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := checkOCSP(cs.OCSPResponse, cs.PeerCertificates[0], r.CA.Cert, time.Now()); err != nil {
		t.Errorf("the client got %d octets: %v", len(cs.OCSPResponse), err)
	}
	if n := r.Asked(); n != 1 {
		t.Errorf("the responder was asked %d times for one certificate", n)
	}
	stop()
	r.Close()
	again := newManager(t, o)
	again.Update([]Change{change})
	if st := statusOf(t, again, "a.test"); st.Staple != StapleGood || served(t, again, "a.test") == nil {
		t.Errorf("before the first handshake after a restart: %+v", st)
	}
	files, err := filepath.Glob(filepath.Join(o.Data, "ocsp", "*.der"))
	if err != nil || len(files) != 1 {
		t.Fatalf("stored responses: %v, %v", files, err)
	}
	mustBePrivate(t, files[0])
	again.Update([]Change{{Name: "a.test", Removed: true}})
	if _, err := os.Stat(files[0]); !os.IsNotExist(err) {
		t.Errorf("the response of a removed name stays: %v", err)
	}
}

func TestStoredResponseIsVerifiedOnLoad(t *testing.T) {
	r := edgetest.OCSP(t)
	change := responderSite(t, r)
	o := Options{Data: t.TempDir()}
	m := newManager(t, o)
	m.Update([]Change{change})
	l := m.store.file("a.test")
	x, _, err := parsedChain(l)
	if err != nil {
		t.Fatal(err)
	}
	for _, mode := range edgetest.OCSPModes()[4:] { // the hostile ones
		if err := os.WriteFile(m.stapler.file(l), mode.Make(t, r.CA, edgetest.OCSPTemplate(x.SerialNumber)), 0o600); err != nil {
			t.Fatal(err)
		}
		again := newManager(t, o)
		again.Update([]Change{change})
		if st := statusOf(t, again, "a.test"); st.Staple != StaplePending || again.store.file("a.test").served.Load().OCSPStaple != nil {
			t.Errorf("%s: status is %+v", mode.Name, st)
		}
	}
}

func TestCertificateWithoutResponderCausesNoRequest(t *testing.T) {
	r := edgetest.OCSP(t)
	_, cert, key := pairFiles(t, r.CA, edgetest.LeafOptions{}, "a.test")
	alone := r.CA.IssueWith(t, edgetest.LeafOptions{OCSP: r.URL}, "b.test") // no issuer in the file
	aloneCert, aloneKey := alone.Write(t, t.TempDir(), "b")
	m := newManager(t, Options{AllowPrivateResponders: true})
	m.Update([]Change{{Name: "a.test", CertFile: cert, KeyFile: key}, {Name: "b.test", CertFile: aloneCert, KeyFile: aloneKey}})
	for _, name := range []string{"a.test", "b.test"} {
		if st := statusOf(t, m, name); st.Staple != StapleNone || st.LastError != "" {
			t.Errorf("%s: %+v", name, st)
		}
	}
	if len(m.stapler.held) != 0 {
		t.Error("the stapler holds a certificate that it cannot staple")
	}
}

func TestDeadResponderKeepsTheStapleUntilNextUpdate(t *testing.T) {
	r := edgetest.OCSP(t)
	m := newManager(t, Options{AllowPrivateResponders: true})
	m.Update([]Change{responderSite(t, r)})
	l := m.store.file("a.test")
	m.stapler.refresh(context.Background(), l)
	st := m.stapler.held[l]
	if at := m.stapler.plan.at(l); time.Until(at) < 15*time.Minute || time.Until(at) > time.Hour {
		t.Errorf("next fetch in %v, want about half of the rest of the life", time.Until(at))
	}
	r.Close()
	for range 9 {
		m.stapler.refresh(context.Background(), l)
	}
	if l.served.Load().OCSPStaple == nil || st.state != StapleGood {
		t.Error("the staple was dropped before its nextUpdate")
	}
	if wait := time.Until(m.stapler.plan.at(l)); wait < 47*time.Minute || wait > 73*time.Minute {
		t.Errorf("after nine failures the next try is in %v, want an hour ±20 %%", wait)
	}
	st.until = time.Now().Add(-time.Second)
	m.stapler.sweep()
	if l.served.Load().OCSPStaple != nil || statusOf(t, m, "a.test").Staple != StapleExpired {
		t.Error("the staple outlived its nextUpdate")
	}
}

func TestRevocationTakesTheStapleOffAndOldGoodDoesNotBringItBack(t *testing.T) {
	r := edgetest.OCSP(t)
	log, lines := newLog()
	m := newManager(t, Options{AllowPrivateResponders: true, Logger: log})
	m.Update([]Change{responderSite(t, r)})
	l := m.store.file("a.test")
	m.stapler.refresh(context.Background(), l)
	if l.served.Load().OCSPStaple == nil {
		t.Fatal("no staple")
	}
	r.Answer(revokedNow)
	m.stapler.refresh(context.Background(), l)
	m.stapler.refresh(context.Background(), l)
	if l.served.Load().OCSPStaple != nil || statusOf(t, m, "a.test").Staple != StapleRevoked {
		t.Error("a revoked certificate is stapled")
	}
	if n := strings.Count(lines.String(), "certificate is revoked"); n != 1 {
		t.Errorf("the revocation was logged %d times", n)
	}
	r.Answer(edgetest.OCSPWith("replayed", "", func(o *ocsp.Response) { o.ThisUpdate = o.ThisUpdate.Add(-time.Hour) }))
	m.stapler.refresh(context.Background(), l)
	if st := statusOf(t, m, "a.test"); st.Staple != StapleRevoked || !strings.Contains(st.LastError, "older") {
		t.Errorf("a replayed response was believed: %+v", st)
	}
}

// A Good of before the revocation that somebody puts back where nodes share it neither brings the staple back nor keeps the node from asking.
func TestReplayedGoodOfOthersDoesNotUndoARevocation(t *testing.T) {
	r, shared := edgetest.OCSP(t), newMemory()
	m := newManager(t, Options{AllowPrivateResponders: true, Shared: shared, Keys: keyring(t, oneKey)})
	m.Update([]Change{responderSite(t, r)})
	l := m.store.file("a.test")
	x, _, err := parsedChain(l)
	if err != nil {
		t.Fatal(err)
	}
	replayed := edgetest.OCSPTemplate(x.SerialNumber)
	replayed.ThisUpdate = replayed.ThisUpdate.Add(-time.Minute)
	r.Answer(revokedNow)
	m.stapler.refresh(t.Context(), l)
	shared.values[ocspKey(l)], err = ocsp.CreateResponse(r.CA.Cert, r.CA.Cert, replayed, r.CA.Key)
	if err != nil {
		t.Fatal(err)
	}
	m.stapler.refresh(t.Context(), l)
	if st := statusOf(t, m, "a.test"); st.Staple != StapleRevoked || st.LastError != "" || l.served.Load().OCSPStaple != nil || r.Asked() != 2 {
		t.Errorf("status is %+v after %d requests", st, r.Asked())
	}
	if resp, err := checkOCSP(shared.values[ocspKey(l)], x, r.CA.Cert, time.Now()); err != nil || resp.Status != ocsp.Revoked {
		t.Errorf("others get %+v, %v", resp, err)
	}
}

func TestUploadedCertificateCannotSendRequestsInside(t *testing.T) {
	r := edgetest.OCSP(t)
	m := newManager(t, Options{}) // AllowPrivateResponders is off
	m.Update([]Change{responderSite(t, r)})
	l := m.store.file("a.test")
	m.stapler.refresh(context.Background(), l)
	if st := statusOf(t, m, "a.test"); !strings.Contains(st.LastError, "not a public one") || r.Asked() != 0 {
		t.Errorf("error is %q, the responder was asked %d times", st.LastError, r.Asked())
	}
	for _, addr := range []string{
		"127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "0.1.2.3",
		"224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1", "::ffff:10.0.0.1",
		"::127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "fec0::1", "2001:0:1::",
	} {
		if isPublic(netip.MustParseAddr(addr)) {
			t.Errorf("%s counts as public", addr)
		}
	}
	for _, addr := range []string{"8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8"} {
		if !isPublic(netip.MustParseAddr(addr)) {
			t.Errorf("%s does not count as public", addr)
		}
	}
}

func TestRedirectsAreBoundedAndSchemesChecked(t *testing.T) {
	var hops atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		hops.Add(1)
		http.Redirect(w, req, req.URL.Path+"x", http.StatusTemporaryRedirect)
	}))
	defer server.Close()
	c := newResponderClient(true)
	defer c.close()
	_, err := c.ask(context.Background(), []string{server.URL + "/"}, []byte("q"))
	if err == nil || !strings.Contains(err.Error(), "redirects") || hops.Load() != ocspMaxRedirects+1 {
		t.Errorf("error is %v after %d requests", err, hops.Load())
	}
	if _, err := c.ask(context.Background(), []string{"file:///etc/passwd", "ldap://ca.test/x"}, nil); err == nil || !strings.Contains(err.Error(), "not an http URL") {
		t.Errorf("error is %v", err)
	}
}

func TestOpenSSLAsResponder(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		needTool(t, "openssl")
	}
	ca := edgetest.NewCA(t)
	dir := t.TempDir()
	port := edgetest.FreePort(t)
	url := "http://127.0.0.1:" + strconv.Itoa(port)
	leaf, cert, key := pairFiles(t, ca, edgetest.LeafOptions{OCSP: url}, "a.test")
	caFile, _ := ca.Write(t, dir)
	signerCert, signerKey := ca.IssueWith(t, edgetest.LeafOptions{KeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}}, "responder.test").Write(t, dir, "responder")
	// One valid certificate, in the format of `openssl ca`'s database.
	serial := strings.ToUpper(leaf.TLS.Leaf.SerialNumber.Text(16))
	if len(serial)%2 == 1 {
		serial = "0" + serial
	}
	index := filepath.Join(dir, "index.txt")
	line := fmt.Sprintf("V\t%s\t\t%s\tunknown\t/CN=a.test\n", leaf.TLS.Leaf.NotAfter.UTC().Format("060102150405Z"), serial)
	if err := os.WriteFile(index, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	var output logBuffer
	var st Status
	cmd := exec.Command("openssl", "ocsp", "-index", index, "-CA", caFile, "-rsigner", signerCert, "-rkey", signerKey,
		"-ndays", "3", "-port", strconv.Itoa(port), "-ignore_err")
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Kill(); err != nil {
			t.Errorf("stop openssl: %v", err)
		}
		_ = cmd.Wait() // says that it was killed
		if t.Failed() {
			t.Logf("status %+v\nopenssl: %s", st, &output)
		}
	})
	// It serves one connection at a time, so that a probe would stay in the way.
	eventually(t, "openssl listens", func() bool { return strings.Contains(output.String(), "waiting for OCSP client") })
	m := newManager(t, Options{AllowPrivateResponders: true})
	m.Update([]Change{{Name: "a.test", CertFile: cert, KeyFile: key}})
	l := m.store.file("a.test")
	eventually(t, "openssl answers", func() bool {
		m.stapler.refresh(context.Background(), l)
		st = statusOf(t, m, "a.test")
		return st.Staple == StapleGood
	})
	if left := time.Until(st.StapleUntil); left < 71*time.Hour || left > 73*time.Hour {
		t.Errorf("the response holds for %v, want three days\n%s", left, &output)
	}
}

func FuzzCheckOCSP(f *testing.F) {
	ca := edgetest.NewCA(f)
	leaf := ca.Issue(f, "a.test").TLS.Leaf
	var good [][]byte
	for _, mode := range edgetest.OCSPModes()[:len(edgetest.OCSPModes())-3] {
		der := mode.Make(f, ca, edgetest.OCSPTemplate(leaf.SerialNumber))
		f.Add(der)
		if mode.Refused == "" {
			good = append(good, der)
		}
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		resp, err := checkOCSP(der, leaf, ca.Cert, time.Now())
		if err != nil {
			return
		}
		if resp.SerialNumber.Cmp(leaf.SerialNumber) != 0 || !resp.NextUpdate.After(time.Now()) {
			t.Error("a response about something else was accepted")
		}
		for _, der := range good {
			if bytes.Contains(der, resp.TBSResponseData) {
				return
			}
		}
		t.Error("a response that the CA has not signed was accepted")
	})
}
