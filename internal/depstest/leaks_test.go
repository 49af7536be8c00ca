package depstest

import (
	"fmt"
	"go/ast"
	"go/token"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"

	"gatehouse/internal/edgetest"
)

// starts returns the first place in a file that starts a goroutine, if there is one:
// a go statement, a WaitGroup's or group's Go, a function that runs after a time or a context.
func starts(fset *token.FileSet, f *ast.File) (where string, ok bool) {
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			ok = true
		case *ast.CallExpr:
			sel, isSelector := n.Fun.(*ast.SelectorExpr)
			if isSelector && (sel.Sel.Name == "Go" && len(n.Args) == 1 || sel.Sel.Name == "AfterFunc") {
				ok = true
			}
		}
		if ok && where == "" && n != nil {
			where = fset.Position(n.Pos()).String()
		}
		return !ok
	})
	return where, ok
}

// leakFaults names the packages that start goroutines and whose tests would not
// see one that stays. A kit for other packages' tests that has no tests of its
// own is watched by those who use it.
func leakFaults(t *testing.T, files []source) []string {
	t.Helper()
	where, watched, tested, kit := map[string]string{}, map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, s := range files {
		if !s.isGo() || strings.Contains(s.path, "/testdata/") {
			continue
		}
		dir := path.Dir(s.path)
		fset, f := parse(t, s)
		imports := func(name string) bool {
			return slices.ContainsFunc(f.Imports, func(i *ast.ImportSpec) bool { return i.Path.Value == strconv.Quote(name) })
		}
		if s.isTest() {
			tested[dir] = true
			watched[dir] = watched[dir] || imports("go.uber.org/goleak") && strings.Contains(string(s.text), "goleak.VerifyTestMain(")
			continue
		}
		kit[dir] = kit[dir] || imports("testing")
		if at, ok := starts(fset, f); ok && where[dir] == "" {
			where[dir] = at
		}
	}
	var out []string
	for _, dir := range slices.Sorted(maps.Keys(where)) {
		if !watched[dir] && (tested[dir] || !kit[dir]) {
			out = append(out, fmt.Sprintf("%s starts a goroutine (%s), and no TestMain of the package calls goleak.VerifyTestMain", dir, where[dir]))
		}
	}
	return out
}

// TestWhoeverStartsGoroutinesLooksForLeaks holds the module to it.
func TestWhoeverStartsGoroutinesLooksForLeaks(t *testing.T) {
	edgetest.Sequential(t)
	files := sources(t)
	for _, fault := range leakFaults(t, files) {
		t.Error(fault)
	}
	seen := false
	for _, s := range files {
		if s.path == "routes/follow.go" {
			_, seen = starts(parse(t, s))
		}
	}
	if !seen {
		t.Error("routes/follow.go starts a goroutine, and the check does not see it")
	}
}

// TestAPackageThatDoesNotLookForLeaksIsReported holds the check to packages that break the rule.
func TestAPackageThatDoesNotLookForLeaksIsReported(t *testing.T) {
	const (
		main  = "package a\n\nimport \"go.uber.org/goleak\"\n\nfunc TestMain(m *testing.M) { goleak.VerifyTestMain(m) }\n"
		other = "package a\n\nfunc TestX(t *testing.T) {}\n"
	)
	file := func(body string) source {
		return source{"a/a.go", []byte("package a\n\nfunc f() {\n" + body + "\n}\n")}
	}
	tests := []struct {
		name  string
		files []source
		fault bool
	}{
		{"a go statement", []source{file("go g()")}, true},
		{"a WaitGroup", []source{file("wait.Go(func() {})")}, true},
		{"a timer", []source{file("time.AfterFunc(1, g)")}, true},
		{"a context", []source{file("defer context.AfterFunc(ctx, g)()")}, true},
		{"tests that look elsewhere", []source{file("go g()"), {"a/a_test.go", []byte(other)}}, true},
		{"another package's tests look", []source{file("go g()"), {"b/b_test.go", []byte(strings.Replace(main, "package a", "package b", 1))}}, true},
		{"a kit with tests of its own", []source{file("go g()"), {"a/kit.go", []byte("package a\n\nimport \"testing\"\n")}, {"a/a_test.go", []byte(other)}}, true},
		{"its tests look", []source{file("go g()"), {"a/a_test.go", []byte(main)}}, false},
		{"a kit without tests", []source{file("go g()"), {"a/kit.go", []byte("package a\n\nimport \"testing\"\n")}}, false},
		{"nothing is started", []source{file("g()")}, false},
		{"only a test starts one", []source{file("g()"), {"a/a_test.go", []byte("package a\n\nfunc TestX(t *testing.T) { go g() }\n")}}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := leakFaults(t, tt.files); len(got) > 0 != tt.fault {
				t.Errorf("got %q, want a fault: %v", got, tt.fault)
			}
		})
	}
}

// excused are the functions of others under which a goroutine may outlive the
// tests. IgnoreAnyFunction excuses whatever runs below a function: of a worker's
// base it would excuse every goroutine that serves a connection.
var excused = []string{
	"github.com/valyala/fasthttp.updateServerDate.func1",    // the clock of the process
	"github.com/valyala/fasthttp.(*workerPool).Start.func2", // looks for its end once in 10 s, and runs nothing of ours
}

// excuseFaults names the calls of goleak.IgnoreAnyFunction for other functions.
func excuseFaults(t *testing.T, files []source) []string {
	t.Helper()
	var out []string
	for _, s := range files {
		if !s.isTest() || !strings.Contains(string(s.text), "IgnoreAnyFunction") {
			continue
		}
		fset, f := parse(t, s)
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if sel, ok := call.Fun.(*ast.SelectorExpr); !ok || sel.Sel.Name != "IgnoreAnyFunction" || len(call.Args) != 1 {
				return true
			}
			name := "what is no literal"
			if lit, ok := call.Args[0].(*ast.BasicLit); ok {
				name, _ = strconv.Unquote(lit.Value)
			}
			if !slices.Contains(excused, name) {
				out = append(out, fmt.Sprintf("%s: IgnoreAnyFunction of %s hides the leaks of all that runs below it: end it, or IgnoreTopFunction", fset.Position(n.Pos()), name))
			}
			return true
		})
	}
	return out
}

// TestNoLeakIsExcusedByItsBase holds the module to it.
func TestNoLeakIsExcusedByItsBase(t *testing.T) {
	for _, fault := range excuseFaults(t, sources(t)) {
		t.Error(fault)
	}
	for argument, fault := range map[string]bool{
		`"github.com/valyala/fasthttp.(*workerPool).workerFunc"`: true,
		`name`:                    true,
		strconv.Quote(excused[0]): false,
	} {
		text := "package a\n\nvar x = goleak.IgnoreAnyFunction(" + argument + ")\n"
		if got := excuseFaults(t, []source{{"a/a_test.go", []byte(text)}}); len(got) > 0 != fault {
			t.Errorf("%s: got %q, want a fault: %v", argument, got, fault)
		}
	}
}
