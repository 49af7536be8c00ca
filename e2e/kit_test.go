package e2e

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
)

var binary string

func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

// buildAndRun builds the binary once for all tests.
func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "gatehouse-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "gatehouse")
	build := exec.Command("go", "build", "-tags", "coraza.no_memoize", "-o", binary, "../cmd/gatehouse")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// A node is a running gatehouse with a folder of its own.
type node struct {
	t                  testing.TB
	dir                string // gatehouse.yaml, conf.d, data
	http, https, admin string // addresses
	binary             string // empty: the one that was built for all tests
	environ            []string
	attr               *syscall.SysProcAttr
	cmd                *exec.Cmd
	adjust             func(*exec.Cmd) // nil: the command is started as it is
	stderr, stdout     *edgetest.Output
	ended              chan struct{}
	err                error
}

// prepare makes a node's folder; settings are further lines of gatehouse.yaml,
// files are name and content below conf.d.
func prepare(t testing.TB, settings string, files map[string]string) *node {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: black-box tests are left out")
	}
	dir, err := os.MkdirTemp("", "gh") //nolint:usetesting // short: a socket's path is at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	n := &node{
		t: t, dir: dir,
		http:  fmt.Sprintf("127.0.0.1:%d", edgetest.FreePort(t)),
		https: fmt.Sprintf("127.0.0.1:%d", edgetest.FreePort(t)),
		admin: fmt.Sprintf("127.0.0.1:%d", edgetest.FreePort(t)),
	}
	_, port, _ := net.SplitHostPort(n.https)
	n.write("gatehouse.yaml", fmt.Sprintf("node: n1\nlisten: {http: %q, https: %q, admin: %q, public_https: %s}\nlog: {access: {format: json}}\n%s\n",
		n.http, n.https, n.admin, port, settings))
	if err := os.Mkdir(filepath.Join(dir, "conf.d"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		n.write("conf.d/"+name, content)
	}
	return n
}

// launch prepares a node and starts it.
func launch(t testing.TB, settings string, files map[string]string) *node {
	t.Helper()
	n := prepare(t, settings, files)
	n.start()
	return n
}

// write saves a file as an editor does: whole, by renaming.
func (n *node) write(name, content string) {
	n.t.Helper()
	path := filepath.Join(n.dir, name)
	if err := os.WriteFile(path+".tmp~", []byte(content), 0o600); err != nil {
		n.t.Fatal(err)
	}
	if err := os.Rename(path+".tmp~", path); err != nil {
		n.t.Fatal(err)
	}
}

// start runs `gatehouse serve` and waits until it is ready.
func (n *node) start() {
	n.t.Helper()
	n.startOnly()
	edgetest.WaitFor(n.t, "the node to be ready", func() bool {
		select {
		case <-n.ended:
			n.t.Fatalf("serve ended: %v\n%s", n.err, n.stderr)
		default:
		}
		resp, err := http.Get("http://" + n.admin + "/readyz")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return resp.StatusCode == 200
	})
}

// startOnly does not wait for readiness.
func (n *node) startOnly() {
	n.t.Helper()
	n.stdout, n.stderr, n.ended = &edgetest.Output{}, &edgetest.Output{}, make(chan struct{})
	n.cmd = exec.Command(cmp.Or(n.binary, binary), "serve")
	n.cmd.Dir = n.dir
	n.cmd.Env, n.cmd.SysProcAttr = n.environment(), n.attr
	n.cmd.Stdout, n.cmd.Stderr = n.stdout, n.stderr
	if n.adjust != nil {
		n.adjust(n.cmd)
	}
	if err := n.cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	go func() { n.err = n.cmd.Wait(); close(n.ended) }()
	n.t.Cleanup(func() {
		n.kill()
		if n.t.Failed() {
			n.t.Logf("the node's log:\n%s", tail(n.stderr.String(), 6000))
		}
	})
}

// environment is the test's own, and the node's last, since the last of a name
// counts. Unless the test says how long the node goes on accepting after SIGTERM,
// that is a moment: nobody here needs longer to see that it is going.
func (n *node) environment() []string {
	n.t.Helper()
	settings, err := os.ReadFile(filepath.Join(n.dir, "gatehouse.yaml"))
	if err != nil {
		n.t.Fatal(err)
	}
	env := os.Environ()
	if !strings.Contains(string(settings), "drain_accept") {
		env = append(env, "GATEHOUSE_LIMITS_DRAIN_ACCEPT=200ms")
	}
	return append(env, n.environ...)
}

func tail(s string, n int) string {
	if len(s) > n {
		return "…" + s[len(s)-n:]
	}
	return s
}

// stop sends SIGTERM and waits for a clean end.
func (n *node) stop() {
	n.t.Helper()
	n.signal(syscall.SIGTERM)
	n.wait()
	if n.err != nil {
		n.t.Fatalf("serve ended: %v\n%s", n.err, tail(n.stderr.String(), 3000))
	}
}

func (n *node) wait() {
	n.t.Helper()
	select {
	case <-n.ended:
	case <-time.After(60 * time.Second):
		n.t.Fatal("serve does not end")
	}
}

func (n *node) signal(s os.Signal) {
	n.t.Helper()
	if err := n.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		n.t.Fatal(err)
	}
}

func (n *node) kill() {
	select {
	case <-n.ended:
	default:
		n.signal(syscall.SIGKILL)
		<-n.ended
	}
}

// run runs another verb in the node's folder and returns its output and exit status.
func (n *node) run(args ...string) (string, int) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Dir = n.dir
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		n.t.Fatalf("gatehouse %s: %v", strings.Join(args, " "), err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// must runs a verb that has to succeed.
func (n *node) must(args ...string) string {
	n.t.Helper()
	out, code := n.run(args...)
	if code != 0 {
		n.t.Fatalf("gatehouse %s: exit %d\n%s", strings.Join(args, " "), code, out)
	}
	return out
}

// get asks for a path of a host over plain HTTP.
func (n *node) get(host, target string) *edgetest.RawAnswer {
	n.t.Helper()
	return edgetest.Dial(n.t, n.http).Do("GET", "GET "+target+" HTTP/1.1\r\nHost: "+host+"\r\n\r\n")
}

// status is get for a wait: 0 if there was no answer.
func (n *node) status(host, target string) int {
	conn, err := net.Dial("tcp", n.http)
	if err != nil {
		return 0
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET %s HTTP/1.0\r\nHost: %s\r\n\r\n", target, host)
	answer, err := io.ReadAll(conn)
	var status int
	if _, scanErr := fmt.Sscanf(string(answer), "HTTP/1.%d %d", new(int), &status); err != nil || scanErr != nil {
		return 0
	}
	return status
}

// within waits until a host answers with a status, and fails after a second and
// what a loaded machine needs on top.
func (n *node) within(host string, status int) time.Duration {
	n.t.Helper()
	begin := time.Now()
	edgetest.WaitFor(n.t, fmt.Sprintf("%s to answer %d", host, status), func() bool { return n.status(host, "/") == status })
	return time.Since(begin)
}

// vhost is a document with one vhost.
func vhost(host, backend string, further ...string) string {
	return fmt.Sprintf("vhosts:\n  %q:\n    backends: [%q]\n%s", host, backend, indent(further))
}

func indent(lines []string) string {
	var b strings.Builder
	for _, l := range lines {
		b.WriteString("    " + l + "\n")
	}
	return b.String()
}

// onBothStores runs a test on a node with routes in files, and on one with routes in Redis.
func onBothStores(t *testing.T, test func(t *testing.T, n *node)) {
	t.Helper()
	for _, kind := range []string{"files", "redis"} {
		t.Run(kind, func(t *testing.T) {
			settings := ""
			if kind == "redis" {
				settings = "routes: " + edgetest.Redis(t).URL()
			}
			test(t, launch(t, settings, nil))
		})
	}
}

// postForm sends a form over plain HTTP.
func (n *node) postForm(host, target, body string) *edgetest.RawAnswer {
	n.t.Helper()
	return edgetest.Dial(n.t, n.http).Do("POST", fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s",
		target, host, len(body), body))
}
