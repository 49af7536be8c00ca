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
	t.Parallel()
	if testing.Short() {
		t.Skip("-short: each row runs go test")
	}
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

// What make bench-compare cannot do, it says; whatever happens, no second tree is left.
func TestBenchCompareSaysWhatItCannotDo(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("-short: some rows build a benchmark")
	}
	script, err := filepath.Abs("../scripts/bench-compare.sh")
	if err != nil {
		t.Fatal(err)
	}
	repository, bare := t.TempDir(), t.TempDir()
	const fixture = "package fixture\n\nimport \"testing\"\n\nfunc BenchmarkFails(b *testing.B) { b.Fatal(\"on purpose\") }\n\nfunc BenchmarkPasses(*testing.B) {}\n"
	for name, text := range map[string]string{"go.mod": "module fixture\n\ngo 1.26.0\n", "fixture_test.go": fixture} {
		if err := os.WriteFile(filepath.Join(repository, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	git := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-c", "user.name=test", "-c", "user.email=test@example.com"}, args...)...)
		cmd.Dir = repository
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	git("init", "--quiet")
	git("add", ".")
	git("commit", "--quiet", "--message", "fixture")
	temporary := t.TempDir()
	for _, c := range []struct {
		name, dir, base string
		set             []string
		says            string
	}{
		{"no BASE", repository, "", nil, "make bench-compare BASE=main"},
		{"a BASE that does not exist", repository, "nonesuch", nil, "BASE=nonesuch is no commit, branch or tag"},
		{"a BASE that looks like an option", repository, "--all", nil, "BASE=--all is no commit"},
		{"no repository", bare, "HEAD", nil, "no git repository"},
		{"no rounds", repository, "HEAD", []string{"COUNT=few"}, "COUNT=few is no number"},
		{"a package that does not exist", repository, "HEAD", []string{"PKGS=./none"}, "none"},
		{"no benchmark has the name", repository, "HEAD", []string{"BENCH=None"}, "matches None"},
		{"a benchmark fails", repository, "HEAD", []string{"BENCH=Fails"}, "on purpose"},
	} {
		cmd := exec.Command(script, "go", "none", c.base)
		cmd.Dir = c.dir
		cmd.Env = append(os.Environ(), "GOFLAGS=", "TMPDIR="+temporary, "PKGS=.", "COUNT=1", "TIME=1x", "BENCH=Passes", "GIT_CEILING_DIRECTORIES="+filepath.Dir(bare))
		cmd.Env = append(cmd.Env, c.set...)
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), c.says) {
			t.Errorf("%s: %v, want a failure and %q\n%s", c.name, err, c.says, out)
		}
		if trees := strings.Count(git("worktree", "list"), "\n"); trees != 1 {
			t.Errorf("%s: %d trees are left", c.name, trees)
		}
		if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
			t.Errorf("%s: %v, %v is left", c.name, err, left)
		}
	}
}
