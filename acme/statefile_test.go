package acme

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"gatehouse/internal/edgetest"
)

func TestCertificatePathsToPipesAndDevicesAreRefused(t *testing.T) {
	dir := t.TempDir()
	pipe, large := filepath.Join(dir, "pipe"), filepath.Join(dir, "large")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(large, make([]byte, maxPairBytes+1), 0o600); err != nil {
		t.Fatal(err)
	}
	_, cert, key := pairFiles(t, edgetest.NewCA(t), edgetest.LeafOptions{}, "a.test")
	m := newManager(t, Options{})
	for path, says := range map[string]string{
		"/dev/zero": "is not a regular file", pipe: "is not a regular file", dir: "is not a regular file", large: "is larger than 1024 KiB",
	} {
		for _, paths := range [][2]string{{path, key}, {cert, path}} {
			m.Update([]Change{{Name: "a.test", CertFile: paths[0], KeyFile: paths[1]}})
			if err := m.Problem("a.test"); err == nil || !strings.Contains(err.Error(), path+": "+says) {
				t.Errorf("%v: problem is %v", paths, err)
			}
		}
	}
	m.Update([]Change{{Name: "a.test", CertFile: cert, KeyFile: key}})
	if err := m.Problem("a.test"); err != nil {
		t.Error(err)
	}
	for _, path := range []string{pipe, "/dev/zero"} {
		if _, err := rootsWith(path); err == nil || !strings.Contains(err.Error(), "acme: trust: read "+path+": is not a regular file") {
			t.Errorf("roots of %s: %v", path, err)
		}
	}
}

// Who says once what is wrong would say it again, were it with another name each time.
func TestErrorOfAFileHasNoRandomName(t *testing.T) {
	dir := t.TempDir()
	for what, path := range map[string]string{"no folder": filepath.Join(dir, "none", "file"), "a folder in its place": dir} {
		err := writeFile(path, []byte("x"), 0o600)
		if again := writeFile(path, []byte("x"), 0o600); err == nil || again == nil || err.Error() != again.Error() {
			t.Errorf("%s: %v, and then %v", what, err, again)
		}
	}
}
