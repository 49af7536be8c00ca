package depstest

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"gatehouse/internal/edgetest"
)

const (
	maxFileLines     = 400 // of a non-test Go file
	maxFunctionLines = 70  // of a non-test function
)

// A source is one file of the repository.
type source struct {
	path string // below the root, with slashes
	text []byte
}

func (s source) isGo() bool   { return strings.HasSuffix(s.path, ".go") }
func (s source) isTest() bool { return strings.HasSuffix(s.path, "_test.go") }

// sources returns every text file that belongs to the repository: hidden
// folders and what is built or kept at run time are left out.
func sources(t *testing.T) []source {
	t.Helper()
	var out []source
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if rel != "." && (strings.HasPrefix(name, ".") && name != ".ci" || slices.Contains([]string{"bin", "data", "conf.d"}, rel)) {
				return filepath.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if bytes.IndexByte(text, 0) < 0 {
			out = append(out, source{filepath.ToSlash(rel), text})
		}
		return nil
	})
	if err != nil {
		t.Fatalf("read the repository: %v", err)
	}
	if len(out) < 20 {
		t.Fatalf("only %d files found", len(out))
	}
	return out
}

func parse(t *testing.T, s source) (*token.FileSet, *ast.File) {
	t.Helper()
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, s.path, s.text, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	return fset, f
}

// TestHouseStyle runs every habit over every file.
func TestHouseStyle(t *testing.T) {
	edgetest.Sequential(t)
	for _, s := range sources(t) {
		for _, fault := range faults(t, s) {
			t.Error(fault)
		}
	}
}

// faults returns what is wrong with one file.
func faults(t *testing.T, s source) []string {
	var out []string
	out = append(out, leftovers(s)...)
	if !s.isGo() {
		return out
	}
	fset, f := parse(t, s)
	if slices.Contains([]string{"util", "utils", "common", "types", "pkg", "helpers", "misc"}, strings.TrimSuffix(f.Name.Name, "_test")) {
		out = append(out, fmt.Sprintf("%s: package %s says nothing about what it is for", s.path, f.Name.Name))
	}
	if s.isTest() {
		return out
	}
	if n := bytes.Count(s.text, []byte("\n")); n > maxFileLines {
		out = append(out, fmt.Sprintf("%s: %d lines, more than %d", s.path, n, maxFileLines))
	}
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok {
			if n := fset.Position(fn.End()).Line - fset.Position(fn.Pos()).Line + 1; n > maxFunctionLines {
				out = append(out, fmt.Sprintf("%s: func %s has %d lines, more than %d", fset.Position(fn.Pos()), fn.Name.Name, n, maxFunctionLines))
			}
		}
	}
	return append(out, metricNames(fset, f)...)
}

var (
	unfinished = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME)\b`)
	conflict   = regexp.MustCompile(`^(<{7}|>{7})( |$)`)
	homeFolder = regexp.MustCompile(`/(home|Users)/\w+/(go|src|work|code|projects|Desktop|Documents|\.cache|\.config)\b|/root/(go|src|work|\.cache|\.config)\b`)
)

// leftovers finds what a change must not leave behind.
func leftovers(s source) []string {
	if strings.HasSuffix(s.path, ".sum") || strings.Contains(s.path, "/testdata/") {
		return nil
	}
	var out []string
	for i, line := range bytes.Split(s.text, []byte("\n")) {
		if conflict.Match(line) {
			out = append(out, fmt.Sprintf("%s:%d: half of a merge", s.path, i+1))
		}
		if m := unfinished.Find(line); m != nil {
			out = append(out, fmt.Sprintf("%s:%d: %s: finish it, or file an issue", s.path, i+1, m))
		}
		if m := homeFolder.Find(line); m != nil {
			out = append(out, fmt.Sprintf("%s:%d: %s is a folder of one machine", s.path, i+1, m))
		}
	}
	return out
}

const prometheusPath = "github.com/prometheus/client_golang/prometheus"

// looksLikeMetric: a literal with a Prometheus suffix in a file that makes
// metrics is a metric's name, also when it reaches the Opts through a helper.
var looksLikeMetric = regexp.MustCompile(`^[a-z]+(_[a-z0-9]+)*_(total|seconds|bytes|ratio|info)$`)

// metricNames finds metrics whose name does not begin with gatehouse_.
func metricNames(fset *token.FileSet, f *ast.File) []string {
	if !slices.ContainsFunc(f.Imports, func(i *ast.ImportSpec) bool { return i.Path.Value == strconv.Quote(prometheusPath) }) {
		return nil
	}
	var out []string
	bad := func(e ast.Expr, name string) {
		out = append(out, fmt.Sprintf("%s: metric %q does not begin with gatehouse_", fset.Position(e.Pos()), name))
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.KeyValueExpr:
			// A label or a field of Opts: Name is judged, whatever it looks like.
			if key, ok := n.Key.(*ast.Ident); ok && key.Name == "Name" {
				if name, ok := leading(n.Value); ok && !strings.HasPrefix(name, "gatehouse_") {
					bad(n.Value, name)
				}
				return false
			}
		case *ast.CallExpr:
			sel, ok := n.Fun.(*ast.SelectorExpr)
			if ok && sel.Sel.Name == "NewDesc" && len(n.Args) > 0 {
				if name, ok := leading(n.Args[0]); ok && !strings.HasPrefix(name, "gatehouse_") {
					bad(n.Args[0], name)
				}
				return false
			}
			if ok && slices.Contains([]string{"Debug", "Info", "Warn", "Error", "With"}, sel.Sel.Name) {
				return false // a log line: its keys are not metrics
			}
		case *ast.BasicLit:
			if name, ok := leading(n); ok && looksLikeMetric.MatchString(name) && !strings.HasPrefix(name, "gatehouse_") {
				bad(n, name)
			}
		}
		return true
	})
	return out
}

// leading returns the string that an expression begins with, if it is a literal.
func leading(e ast.Expr) (string, bool) {
	for {
		b, ok := e.(*ast.BinaryExpr)
		if !ok {
			break
		}
		e = b.X
	}
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return "", false
	}
	s, err := strconv.Unquote(lit.Value)
	return s, err == nil
}

// TestEachHabitIsReported holds each check to a file that breaks it.
func TestEachHabitIsReported(t *testing.T) {
	long := func(n int, line string) string { return strings.Repeat(line+"\n", n) }
	metric := func(expr string) string {
		return "package a\n\nimport \"" + prometheusPath + "\"\n\nvar _ = " + expr + "\n"
	}
	tests := []struct {
		name string
		file source
		want string // "" is no fault
	}{
		{"file too long", source{"a/a.go", []byte("package a\n" + long(maxFileLines, "// x"))}, "lines, more than 400"},
		{"long test file is fine", source{"a/a_test.go", []byte("package a\n" + long(maxFileLines, "// x"))}, ""},
		{"function too long", source{"a/a.go", []byte("package a\n\nfunc f() {\n" + long(maxFunctionLines-1, "\tprintln()") + "}\n")}, "func f has 71 lines"},
		{"function just fits", source{"a/a.go", []byte("package a\n\nfunc f() {\n" + long(maxFunctionLines-2, "\tprintln()") + "}\n")}, ""},
		{"empty name", source{"a/a.go", []byte("package util\n")}, "package util says nothing"},
		{"empty name of an external test", source{"a/a_test.go", []byte("package common_test\n")}, "says nothing"},
		{"half of a merge", source{"a/a.md", []byte("a\n<<<<<<< HEAD\n")}, "a/a.md:2"},
		{"unfinished", source{"a/a.md", []byte("TO" + "DO: more\n")}, "a/a.md:1"},
		{"unfinished in code", source{"a/a.go", []byte("package a\n\n// FIX" + "ME(me)\n")}, "a/a.go:3"},
		{"a folder of one machine", source{"Makefile", []byte("run:\n\tcd /home/" + "ann/src && make\n")}, "Makefile:2"},
		{"a path inside an attack is fine", source{"a/a_test.go", []byte("package a\n\nconst q = \"/root/.ssh/id_rsa\"\n")}, ""},
		{"metric without prefix", source{"a/a.go", []byte(metric(`prometheus.CounterOpts{Name: "requests_total"}`))}, "requests_total"},
		{"gauge without suffix or prefix", source{"a/a.go", []byte(metric(`prometheus.GaugeOpts{Name: "entries"}`))}, "entries"},
		{"metric name put together", source{"a/a.go", []byte(metric(`prometheus.GaugeOpts{Name: "edge_" + x}`))}, "edge_"},
		{"desc without prefix", source{"a/a.go", []byte(metric(`prometheus.NewDesc("entries", "", nil, nil)`))}, "entries"},
		{"metric through a helper", source{"a/a.go", []byte(metric(`counter("cache_hits_total")`))}, "cache_hits_total"},
		{"a key of a log line is no metric", source{"a/a.go", []byte(metric(`log.Info("x", "max_bytes", 1)`))}, ""},
		{"good metric", source{"a/a.go", []byte(metric(`prometheus.CounterOpts{Name: "gatehouse_requests_total", Help: "x"}`))}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := faults(t, tt.file)
			switch {
			case tt.want == "" && len(got) > 0:
				t.Errorf("no fault expected, got %q", got)
			case tt.want != "" && (len(got) != 1 || !strings.Contains(got[0], tt.want)):
				t.Errorf("got %q, want one fault with %q", got, tt.want)
			}
		})
	}
}

// TestEveryPackageIsDescribed: a package comment says what it is for.
func TestEveryPackageIsDescribed(t *testing.T) {
	edgetest.Sequential(t)
	described := map[string]bool{}
	for _, s := range sources(t) {
		if !s.isGo() || s.isTest() || strings.Contains(s.path, "/testdata/") {
			continue
		}
		_, f := parse(t, s)
		dir := filepath.Dir(s.path)
		described[dir] = described[dir] || len(f.Doc.Text()) > 60
	}
	for dir, ok := range described {
		if !ok {
			t.Errorf("package %s has no comment that says what it is for", dir)
		}
	}
}

// TestOperationsListsEveryMetric: a metric that is not in docs/operations.md is found by nobody.
func TestOperationsListsEveryMetric(t *testing.T) {
	name := regexp.MustCompile(`"(gatehouse_[a-z_]+)"`)
	var code, docs string
	for _, s := range sources(t) {
		switch {
		case s.path == "docs/operations.md":
			docs = string(s.text)
		case s.isGo() && !s.isTest():
			code += string(s.text)
		}
	}
	found := name.FindAllStringSubmatch(code, -1)
	if len(found) < 10 {
		t.Fatalf("only %d metrics found", len(found))
	}
	for _, m := range found {
		if !strings.Contains(docs, "`"+m[1]+"`") {
			t.Errorf("docs/operations.md does not list %s", m[1])
		}
	}
}
