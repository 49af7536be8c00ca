package acme

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
)

// A disk that hangs, or a server of files that is away, would hold all changes of the table, the poll and the end of the process.
func TestCertificateFileThatHangsHoldsNobodyElse(t *testing.T) {
	dir, release := edgetest.HungFolder(t)
	_, cert, key := pairFiles(t, edgetest.NewCA(t), edgetest.LeafOptions{}, "b.test")
	m := newManager(t, Options{})
	stop := run(t, m)
	begun := time.Now()
	for _, name := range []string{"1", "2", "3", "4", "5", "6", "7", "8"} {
		path := filepath.Join(dir, name)
		m.Update([]Change{
			{Name: "a" + name + ".test", CertFile: path, KeyFile: path, Owner: "tenant a"},
			{Name: "b.test", CertFile: cert, KeyFile: key, Owner: "tenant b"},
		})
		if err := m.Problem("a" + name + ".test"); err == nil || !strings.Contains(err.Error(), "takes too long") {
			t.Errorf("a%s.test: problem is %v", name, err)
		}
		if err := m.Problem("b.test"); err != nil || !m.Trusted("b.test") {
			t.Errorf("b.test: %v", err)
		}
	}
	m.files.poll(t.Context())
	stop()
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	release()
}
