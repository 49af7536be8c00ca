package depstest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// root is the module's folder as seen from this package.
const root = "../.."

// list runs `go list` over the module in dir.
func list(t *testing.T, dir string, env ...string) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-tags", "coraza.no_memoize", "-json=ImportPath,Imports,TestImports,XTestImports", "./...")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &stderr)
	}
	var pkgs []pkg
	dec := json.NewDecoder(bytes.NewReader(out))
	for {
		var p struct {
			ImportPath                         string
			Imports, TestImports, XTestImports []string
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("go list wrote no JSON: %v", err)
		}
		own, _ := ours(p.ImportPath)
		pkgs = append(pkgs, pkg{Path: own, Imports: p.Imports, Tests: append(p.TestImports, p.XTestImports...)})
	}
	return pkgs
}

// fixture makes a module of the same name with these files (path → text). It
// requires nothing, so nothing is looked up: go list -e names the imports all the
// same.
func fixture(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	files["go.mod"] = "module " + module + "\n\ngo 1.26.0\n"
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestImportPolicy holds the module as it stands to the policy.
func TestImportPolicy(t *testing.T) {
	pkgs := list(t, root)
	if !slices.ContainsFunc(pkgs, func(p pkg) bool { return p.Path == "routes" && len(p.Imports) > 0 }) {
		t.Fatalf("go list does not show routes and its imports; it shows %d packages", len(pkgs))
	}
	for _, v := range check(pkgs) {
		t.Error(v)
	}
}

// A trespass is one import that must be reported.
type trespass struct {
	pkg, imports string
	test         bool // in a test file
}

// trespasses makes at least one for every row of the policy.
func trespasses() []trespass {
	var out []trespass
	for _, b := range barriers {
		for _, to := range b.to {
			if to == "" {
				to = "admin"
			}
			out = append(out, trespass{b.from, module + "/" + to, false})
			if b.below {
				out = append(out, trespass{b.from + "/deeper", module + "/" + to + "/deeper", false})
			}
		}
	}
	for _, imp := range networkClients {
		out = append(out, trespass{"routes", imp, false})
	}
	for _, f := range fences {
		for _, imp := range f.imports {
			for _, p := range []string{"routes", "admin", "cache", "acme", "edge", "edge/waf", "edge/waf/events", "edge/compress", "loadtest", "internal/other"} {
				if f.lets(p) {
					continue
				}
				out = append(out, trespass{p, imp, false})
				if !within(p, f.tests) {
					out = append(out, trespass{p, imp + "/deeper", true})
				}
			}
		}
	}
	for _, r := range reserves {
		imp := module + "/" + r.imports
		if r.imports == "cmd" {
			imp += "/gatehouse"
		}
		for _, p := range []string{"admin", "acme", "internal/other"} {
			out = append(out, trespass{p, imp, false})
			if !r.testOnly {
				out = append(out, trespass{p, imp, true})
			}
		}
	}
	return out
}

// TestEachForbiddenImportIsReported makes a module that has a file with one
// forbidden import for every row of the policy, lists it as the policy test does
// and wants each of them reported.
func TestEachForbiddenImportIsReported(t *testing.T) {
	all := trespasses()
	files := map[string]string{}
	for i, tr := range all {
		name := fmt.Sprintf("%s/trespass%d.go", tr.pkg, i)
		if tr.test {
			name = fmt.Sprintf("%s/trespass%d_test.go", tr.pkg, i)
		}
		files[name] = fmt.Sprintf("package %s\n\nimport _ %q\n", packageName(tr.pkg), tr.imports)
	}
	reported := map[string]bool{}
	for _, v := range check(list(t, fixture(t, files), "GOPROXY=off", "GOFLAGS=-mod=mod")) {
		reported[v.pkg+" "+v.imports] = true
	}
	for _, tr := range all {
		if !reported[tr.pkg+" "+tr.imports] {
			t.Errorf("%s imports %s (test file: %v) and nothing reports it", tr.pkg, tr.imports, tr.test)
		}
	}
	if len(all) < 60 {
		t.Errorf("only %d fixtures were made from the policy", len(all))
	}
}

func packageName(dir string) string {
	switch dir {
	case "waf-rules":
		return "wafrules"
	default:
		return strings.ReplaceAll(filepath.Base(dir), "-", "")
	}
}

// TestEngineReachedThroughAnotherPackageIsReported: a go-between does not open a barrier.
func TestEngineReachedThroughAnotherPackageIsReported(t *testing.T) {
	got := check([]pkg{
		{Path: "cache", Imports: []string{module + "/internal/between"}},
		{Path: "internal/between", Imports: []string{module + "/acme"}},
		{Path: "acme"},
	})
	if len(got) != 1 || got[0].pkg != "cache" || !strings.HasSuffix(got[0].imports, "internal/between → gatehouse/acme") {
		t.Errorf("got %v, want cache → internal/between → acme", got)
	}
}

// TestWhatThePolicyAllows guards against a policy that forbids everything.
func TestWhatThePolicyAllows(t *testing.T) {
	got := check([]pkg{
		{Path: "cmd/gatehouse", Imports: []string{
			module + "/edge", module + "/acme", module + "/admin", module + "/cache", "github.com/spf13/cobra",
		}},
		{Path: "edge", Imports: []string{module + "/edge/waf", module + "/cache", "github.com/valyala/fasthttp", "golang.org/x/net/http2"}},
		{Path: "edge/waf", Imports: []string{module + "/waf-rules", "github.com/corazawaf/coraza/v3/types"}},
		{Path: "edge/compress", Imports: []string{module + "/internal/octets", "github.com/klauspost/compress/zstd", "github.com/andybalholm/brotli"}},
		{Path: "edge", Tests: []string{"github.com/klauspost/compress/zstd", "github.com/andybalholm/brotli"}},
		{Path: "waf-rules", Imports: []string{"github.com/corazawaf/coraza-coreruleset/v4"}},
		{Path: "acme", Imports: []string{"golang.org/x/crypto/acme/autocert"}, Tests: []string{"go.uber.org/goleak", module + "/internal/edgetest"}},
		{Path: "acme/rediscache", Imports: []string{"github.com/redis/go-redis/v9", module + "/acme"}},
		{Path: "edge/ratelimit/redislimit", Imports: []string{"github.com/redis/go-redis/v9"}},
		{Path: "routes/redisstore", Imports: []string{"github.com/redis/go-redis/v9", module + "/routes", module + "/internal/redisconn"}},
		{Path: "routes/filestore", Tests: []string{module + "/routes/routestest"}},
		{Path: "admin", Imports: []string{module + "/routes", "net/http"}},
		{Path: "loadtest", Imports: []string{"github.com/valyala/fasthttp", "golang.org/x/net/http2"}, Tests: []string{module + "/internal/edgetest"}},
		{Path: "loadtest/report", Imports: []string{module + "/loadtest"}},
	})
	for _, v := range got {
		t.Errorf("allowed, but reported: %v", v)
	}
}
