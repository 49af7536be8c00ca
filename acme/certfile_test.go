package acme

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/internal/edgetest"
)

func TestBadNewFileKeepsTheLastGoodCertificate(t *testing.T) {
	ca := edgetest.NewCA(t)
	_, cert, key := pairFiles(t, ca, edgetest.LeafOptions{}, "a.test")
	other := ca.Issue(t, "a.test")
	log, lines := newLog()
	m := newManager(t, Options{Logger: log})
	m.Update([]Change{{Name: "a.test", CertFile: cert, KeyFile: key}})
	good := served(t, m, "a.test")
	if err := m.Problem("a.test"); err != nil {
		t.Fatal(err)
	}
	change(t, cert, other.CertPEM) // its key has not come yet
	m.files.poll(t.Context())
	m.files.poll(t.Context())
	if err := m.Problem("A.test."); err == nil || !strings.Contains(err.Error(), "key does not match") {
		t.Errorf("problem is %v", err)
	}
	if !served(t, m, "a.test").Equal(good) {
		t.Error("the last good certificate is not served")
	}
	if n := strings.Count(lines.String(), "certificate file not usable"); n != 1 {
		t.Errorf("the problem was logged %d times", n)
	}
	if st := statusOf(t, m, "a.test"); !strings.Contains(st.LastError, "key does not match") || st.Source != SourceFile {
		t.Errorf("status is %+v", st)
	}
	change(t, key, other.KeyPEM)
	m.files.poll(t.Context())
	if err := m.Problem("a.test"); err != nil {
		t.Errorf("problem stays: %v", err)
	}
	if served(t, m, "a.test").Equal(good) {
		t.Error("the new certificate is not served")
	}
}

// change overwrites a file so that its stamp differs even on a coarse clock.
func change(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(path, later, later); err != nil {
		t.Fatal(err)
	}
}

func TestChangeToBadPathsKeepsTheLastGoodCertificate(t *testing.T) {
	ca := edgetest.NewCA(t)
	_, cert, key := pairFiles(t, ca, edgetest.LeafOptions{}, "a.test")
	m := newManager(t, Options{})
	m.Update([]Change{{Name: "a.test", CertFile: cert, KeyFile: key}})
	m.Update([]Change{{Name: "a.test", CertFile: cert + ".absent", KeyFile: key}})
	if m.Problem("a.test") == nil || !m.Trusted("a.test") {
		t.Errorf("problem is %v, trusted is %v", m.Problem("a.test"), m.Trusted("a.test"))
	}
	m.Update([]Change{{Name: "a.test", CertFile: cert}})
	if err := m.Problem("a.test"); err == nil || !strings.Contains(err.Error(), "both") {
		t.Errorf("problem is %v", err)
	}
	m.Update([]Change{{Name: "a.test"}})
	if m.Problem("a.test") != nil || m.Trusted("a.test") {
		t.Error("the file is still attached")
	}
}

func TestFileThatAppearsLaterIsPickedUpByRun(t *testing.T) {
	ca := edgetest.NewCA(t)
	data, dir := t.TempDir(), t.TempDir()
	cert, key := filepath.Join(dir, "a.pem"), filepath.Join(dir, "a.key")
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t, Options{Data: data})
		stop := run(t, m)
		m.Update([]Change{{Name: "a.test", CertFile: cert, KeyFile: key}})
		if m.Problem("a.test") == nil || served(t, m, "a.test") == nil {
			t.Error("no problem, or nothing served meanwhile")
		}
		ca.Issue(t, "a.test").Write(t, dir, "a")
		time.Sleep(filePoll + time.Second)
		synctest.Wait()
		if m.Problem("a.test") != nil || !m.Trusted("a.test") {
			t.Errorf("problem is %v after a poll", m.Problem("a.test"))
		}
		stop()
	})
}

func TestExpiredSelfSignedAndForeignCertificatesAreServedWithAWarning(t *testing.T) {
	ca := edgetest.NewCA(t)
	for label, options := range map[string]edgetest.LeafOptions{
		"expired":     {NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)},
		"self-signed": {SelfSigned: true},
	} {
		leaf, cert, key := pairFiles(t, ca, options, "other.test")
		log, lines := newLog()
		m := newManager(t, Options{Logger: log})
		m.Update([]Change{{Name: "a.test", CertFile: cert, KeyFile: key}})
		if !served(t, m, "a.test").Equal(leaf.TLS.Leaf) || m.Problem("a.test") != nil {
			t.Errorf("%s: not served as told", label)
		}
		warning := statusOf(t, m, "a.test").Warning
		if !strings.Contains(warning, label) || !strings.Contains(warning, "does not cover a.test") || !strings.Contains(lines.String(), "served as told") {
			t.Errorf("%s: warning is %q, log is %s", label, warning, lines)
		}
		if !m.Covers("a.test", "a.test") || !m.Covers("a.test", "other.test") {
			t.Errorf("%s: Covers is wrong", label)
		}
	}
}

func TestFileOfTheInternalCAIsNotTrusted(t *testing.T) {
	m := newManager(t, Options{})
	cert, _, err := m.authority.mint("a.test")
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile := writePair(t, t.TempDir(), cert)
	m.Update([]Change{{Name: "a.test", CertFile: certFile, KeyFile: keyFile}})
	if m.Problem("a.test") != nil || m.Trusted("a.test") {
		t.Errorf("problem %v, trusted %v", m.Problem("a.test"), m.Trusted("a.test"))
	}
}

func TestOneFileForManyNamesIsLoadedOnce(t *testing.T) {
	ca := edgetest.NewCA(t)
	_, cert, key := pairFiles(t, ca, edgetest.LeafOptions{}, "a.test", "b.test")
	m := newManager(t, Options{})
	m.Update([]Change{{Name: "a.test", CertFile: cert, KeyFile: key}, {Name: "b.test", CertFile: cert, KeyFile: key}, {Name: "*", CertFile: cert, KeyFile: key}})
	if m.store.file("a.test") != m.store.file("b.test") || m.store.file("*") != m.store.file("a.test") {
		t.Error("the pair was loaded more than once")
	}
	if !m.Trusted("any.other.test") {
		t.Error("the certificate of * is not served")
	}
	m.Update([]Change{{Name: "a.test", Removed: true}, {Name: "*", Removed: true}})
	if !m.Trusted("b.test") || m.Trusted("a.test") || len(m.files.pairs) != 1 {
		t.Error("the removal of one name took the other's certificate, or not its own")
	}
	m.Update([]Change{{Name: "b.test", Removed: true}})
	if len(m.files.pairs) != 0 {
		t.Error("the pair is still polled")
	}
}
