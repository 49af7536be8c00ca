package report_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/loadtest/report"
)

// browse opens a page from disk in a real browser, and returns the document as it is
// after the script has run, and what the browser wrote to its console.
func browse(t *testing.T, write func(io.Writer) error) (dom string, console []string) {
	t.Helper()
	var browser string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			browser = path
			break
		}
	}
	if browser == "" {
		t.Skip("no chromium: apt-get install -y chromium")
	}
	dir := t.TempDir()
	page := filepath.Join(dir, "page.html")
	var b bytes.Buffer
	if err := write(&b); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(page, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
		"--enable-logging=stderr", "--user-data-dir="+filepath.Join(dir, "profile"), "--dump-dom", "file://"+page)
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_CONFIG_HOME="+dir, "XDG_CACHE_HOME="+dir)
	var out, log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &log
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", browser, err, &log)
	}
	for line := range strings.Lines(log.String()) {
		if strings.Contains(line, "CONSOLE") {
			console = append(console, line)
		}
	}
	return out.String(), console
}

// TestPagesInABrowser: the policy lets our own style and script work, and nothing
// that a name brings along: no script of it runs, and its server is not asked.
func TestPagesInABrowser(t *testing.T) {
	var asked atomic.Int64
	bait := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer bait.Close()
	name := `"'><script>document.title='owned'</script><img src=` + bait.URL + `/i onerror="document.title='owned'"><link rel=stylesheet href=` + bait.URL + `/c>`

	one := report.Named{Name: name, Result: hostileResult(name)}
	for page, tc := range map[string]struct {
		write func(io.Writer) error
		plots int
	}{
		"run":                {func(w io.Writer) error { return report.HTML(w, report.Named{Result: madeUp(1, 30, 1)}) }, 6},
		"hostile":            {func(w io.Writer) error { return report.HTML(w, one, one) }, 6},
		"long":               {func(w io.Writer) error { return report.HTML(w, report.Named{Result: madeUp(1, 5000, 1)}) }, 6},
		"comparison":         {func(w io.Writer) error { return report.ComparisonHTML(w, madeUpComparison()) }, 3},
		"hostile comparison": {func(w io.Writer) error { return report.ComparisonHTML(w, hostileComparison(name)) }, 1},
	} {
		t.Run(page, func(t *testing.T) {
			dom, console := browse(t, tc.write)
			if len(console) > 0 {
				t.Errorf("the console says:\n%s", strings.Join(console, ""))
			}
			if n := strings.Count(dom, `<svg class="chart"`); n != tc.plots {
				t.Errorf("%d plots, want %d", n, tc.plots)
			}
			if n := strings.Count(dom, `<div class="tip"`); n != tc.plots {
				t.Errorf("%d tooltips, want one for each of %d plots: the script did not run", n, tc.plots)
			}
			if strings.Contains(dom, "<title>owned") || strings.Contains(dom, "<img") || strings.Count(dom, "<script") != 1 {
				t.Error("a name has become markup")
			}
		})
	}
	if n := asked.Load(); n > 0 {
		t.Errorf("the server that a name points to was asked %d times", n)
	}
}
