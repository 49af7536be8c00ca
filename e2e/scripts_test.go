package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// scriptFixture is a module of its own whose tests pass, skip, fail, and whose
// fuzz targets find something and nothing.
const scriptFixture = `package fixture

import "testing"

func TestPasses(t *testing.T) {}

func TestSkips(t *testing.T) { t.Run("below", func(t *testing.T) { t.Skip("no reason") }) }

func TestFails(t *testing.T) { t.Fatal("on purpose") }

func FuzzNothing(f *testing.F) { f.Fuzz(func(*testing.T, []byte) {}) }

func FuzzLong(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 3 {
			t.Error("too long")
		}
	})
}
`

// What the scripts behind make corpus and make fuzz call a failure is one, and
// nothing else is.
func TestScriptsTellFailureFromSuccess(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: each row runs go test")
	}
	t.Parallel()
	scripts, err := filepath.Abs("../scripts")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"go.mod": "module fixture\n\ngo 1.26.0\n", "fixture_test.go": scriptFixture} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name, command string
		good          bool
		says          string
	}{
		{"a test passes", "noskip.sh . -run ^TestPasses$", true, "--- PASS: TestPasses"},
		{"a test fails", "noskip.sh . -run ^TestFails$", false, "--- FAIL: TestFails"},
		{"a part of a test is skipped", "noskip.sh . -run ^TestSkips$", false, "skipped, which counts as failed"},
		{"no test has the name", "noskip.sh . -run ^TestNone$", false, "was run"},
		{"the package does not exist", "noskip.sh ./none -run .", false, "was run"},
		{"fuzzing finds nothing", "fuzz.sh none 200x Nothing", true, "== fixture FuzzNothing"},
		{"fuzzing finds something", "fuzz.sh none 20000x Long", false, "[]byte("},
		{"no target has the name", "fuzz.sh none 1x None", false, "no target matches None"},
		{"the package to fuzz does not exist", "fuzz.sh none 1x . ./none", false, "none"},
	} {
		args := strings.Fields(c.command)
		cmd := exec.Command(filepath.Join(scripts, args[0]), args[1:]...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GOFLAGS=")
		out, err := cmd.CombinedOutput()
		if (err == nil) != c.good || !strings.Contains(string(out), c.says) {
			t.Errorf("%s: %v, want success %v and %q\n%s", c.name, err, c.good, c.says, out)
		}
	}
}
