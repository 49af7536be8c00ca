package main

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
)

// A readmeBlock is one command block of README.md with the mark before it.
type readmeBlock struct {
	line   int
	test   string // which test runs it
	expect string // what its output must match
	text   string
}

// readmeTests are the marks that a block can have. Those of compose are run by
// scripts/compose-test.sh; self is what is running now.
var readmeTests = []string{"run", "self", "redis-serve", "redis-toy", "redis", "files", "files-serve", "files-use", "compose", "compose-down"}

var readmeMark = regexp.MustCompile(`^<!-- test: ([a-z-]+)(?:; expect: (.+?))? -->$`)

func readmeBlocks(t *testing.T) []readmeBlock {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var out []readmeBlock
	var mark []string
	inside, fence := false, ""
	for i, line := range strings.Split(string(text), "\n") {
		switch {
		case inside && line == "```":
			inside = false
		case inside:
			if fence == "sh" {
				out[len(out)-1].text += line + "\n"
			}
		case strings.HasPrefix(line, "```"):
			inside, fence = true, line[3:]
			if fence != "sh" {
				continue
			}
			if mark == nil {
				t.Fatalf("README.md:%d: no test runs this block: put a mark such as <!-- test: redis --> before it", i+1)
			}
			out = append(out, readmeBlock{line: i + 1, test: mark[1], expect: mark[2]})
			mark = nil
		case readmeMark.MatchString(line):
			mark = readmeMark.FindStringSubmatch(line)
			if !slices.Contains(readmeTests, mark[1]) {
				t.Fatalf("README.md:%d: there is no test %q", i+1, mark[1])
			}
		}
	}
	return out
}

func readmeOf(t *testing.T, test string) []readmeBlock {
	t.Helper()
	blocks := slices.DeleteFunc(readmeBlocks(t), func(b readmeBlock) bool { return b.test != test })
	if len(blocks) == 0 {
		t.Fatalf("README.md has no block for the test %q", test)
	}
	return blocks
}

// runBlock runs a block in dir as a user would type it.
func runBlock(t *testing.T, dir string, b readmeBlock, replace *strings.Replacer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*edgetest.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-euc", replace.Replace(b.text))
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("README.md:%d: %v\n%s%s", b.line, err, b.text, out)
	}
	if !regexp.MustCompile("(?i)" + b.expect).Match(out) {
		t.Errorf("README.md:%d: the output does not match %q:\n%s%s", b.line, b.expect, b.text, out)
	}
}

func needCurl(t *testing.T) {
	t.Helper()
	if c := findCurl(context.Background()); c.path == "" || !c.knowsLocalhost {
		if os.Getenv("CI") == "true" {
			t.Fatal("curl 7.78 or newer is not installed, and CI=true")
		}
		t.Skip("curl 7.78 or newer is not installed: README's blocks need it")
	}
}

// TestTheWholeProgram builds gatehouse and uses it as README says.
func TestTheWholeProgram(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: builds and starts the program")
	}
	needCurl(t)
	bin := filepath.Join(t.TempDir(), "gatehouse")
	if out, err := exec.Command("go", "build", "-tags", "coraza.no_memoize", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	// folder is a user's checkout: it has bin/gatehouse.
	folder := func(t *testing.T) string {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "bin"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(bin, filepath.Join(dir, "bin", "gatehouse")); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	t.Run("README with Redis", func(t *testing.T) { readmeWithRedis(t, folder(t)) })
	t.Run("README with files", func(t *testing.T) { readmeWithFiles(t, folder(t)) })
	t.Run("make run", func(t *testing.T) { makeRun(t, folder(t)) })
	for _, broken := range append([]string{""}, demoBreaks...) {
		t.Run("demo --check, broken: "+broken, func(t *testing.T) { demoCheck(t, folder(t), broken) })
	}
}

// readmeWithRedis follows the README on a real Redis, on other ports.
func readmeWithRedis(t *testing.T, dir string) {
	redis := edgetest.Redis(t)
	_, redisPort, err := net.SplitHostPort(redis.Addr())
	if err != nil {
		t.Fatal(err)
	}
	replace, env := otherPorts(t, "127.0.0.1:6379", redis.Addr(), "redis-cli ", "redis-cli -p "+redisPort+" ")
	serveAndRun(t, dir, replace, env, "redis-serve", "redis")
}

// readmeWithFiles follows the README on a folder of documents, on other ports.
func readmeWithFiles(t *testing.T, dir string) {
	replace, env := otherPorts(t)
	for _, b := range readmeOf(t, "files") {
		runBlock(t, dir, b, replace)
	}
	serveAndRun(t, dir, replace, env, "files-serve", "files-use")
}

// otherPorts replaces the ports of the README by free ones, and what else is to
// be replaced; env has them for serve, and a drain that nobody has to wait for.
func otherPorts(t *testing.T, others ...string) (replace *strings.Replacer, env []string) {
	t.Helper()
	ports, err := demoPorts(0, 0, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, https, _ := net.SplitHostPort(loopback(ports[0]))
	return strings.NewReplacer(append(others, "127.0.0.1:9000", loopback(ports[1]), ":8443/", ":"+https+"/")...), []string{
		"GATEHOUSE_LISTEN_HTTPS=" + loopback(ports[0]), "GATEHOUSE_LISTEN_HTTP=" + loopback(ports[2]),
		"GATEHOUSE_LISTEN_ADMIN=" + loopback(ports[3]), "GATEHOUSE_LIMITS_DRAIN_ACCEPT=200ms",
	}
}

// serveAndRun starts the edge by one block and the toy, runs the blocks of test,
// and ends both.
func serveAndRun(t *testing.T, dir string, replace *strings.Replacer, env []string, serveBlock, test string) {
	t.Helper()
	serve := background(t, dir, replace.Replace(readmeOf(t, serveBlock)[0].text), env...)
	toy := background(t, dir, replace.Replace(readmeOf(t, "redis-toy")[0].text))
	edgetest.WaitFor(t, "the edge and the toy to serve", func() bool {
		return strings.Contains(serve.output(), "msg=serving") && strings.Contains(toy.output(), "toy backend shop on")
	})
	for _, b := range readmeOf(t, test) {
		runBlock(t, dir, b, replace)
	}
	if err := serve.interrupt(); err != nil {
		t.Errorf("serve ended with %v", err)
	}
}

// makeRun: what `make run` starts says what the README promises, ends with
// Ctrl-C and leaves nothing behind.
func makeRun(t *testing.T, dir string) {
	b := readmeOf(t, "run")[0]
	target := strings.Fields(b.text) // make run
	recipe, err := exec.Command(target[0], "-n", "-C", "../..", target[1]).Output()
	if err != nil {
		t.Fatalf("make -n: %v", err)
	}
	if !strings.Contains(string(recipe), "bin/gatehouse demo\n") {
		t.Fatalf("make run does not start the demo:\n%s", recipe)
	}
	temp := filepath.Join(dir, "tmp")
	if err := os.Mkdir(temp, 0o700); err != nil {
		t.Fatal(err)
	}
	demo := background(t, dir, "bin/gatehouse demo", "TMPDIR="+temp)
	want := regexp.MustCompile(b.expect)
	edgetest.WaitFor(t, "the demo to say what to try", func() bool { return want.MatchString(demo.output()) })
	if err := demo.interrupt(); err != nil {
		t.Errorf("Ctrl-C ended the demo with %v", err)
	}
	left, err := os.ReadDir(temp)
	if err != nil || len(left) > 0 {
		t.Errorf("the demo left %v behind (%v)", left, err)
	}
}

// demoCheck runs every printed line against the real server, and wants the
// sabotaged step to be named.
func demoCheck(t *testing.T, dir, broken string) {
	cmd := exec.Command("bin/gatehouse", "demo", "--check")
	want := 0
	if broken != "" {
		cmd.Args = append(cmd.Args, "--break", broken)
		want = 1
	}
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	if got := cmd.ProcessState.ExitCode(); got != want {
		t.Errorf("exit %d, want %d\n%s", got, want, out)
	}
	if named := strings.Contains(string(out), "step "+broken+" failed"); broken != "" && !named {
		t.Errorf("the output does not name the step %s:\n%s", broken, out)
	}
}

// A process is a command in the background with all that it wrote.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{}
	err   error // how it ended

	mu  sync.Mutex
	out bytes.Buffer
}

// Write takes the process's output.
func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.Write(b)
}

func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

// background starts a shell line in dir; it is interrupted, and waited for, when the test ends.
func background(t *testing.T, dir, line string, env ...string) *process {
	t.Helper()
	p := &process{ended: make(chan struct{})}
	p.cmd = exec.Command("sh", "-c", "exec "+line)
	p.cmd.Dir, p.cmd.Env = dir, append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = p, p
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		p.err = p.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = p.interrupt()
		if t.Failed() {
			t.Logf("output of %s:\n%s", line, p.output())
		}
	})
	return p
}

// interrupt sends SIGINT, as Ctrl-C does, and returns how the process ended.
func (p *process) interrupt() error {
	_ = p.cmd.Process.Signal(syscall.SIGINT) // it may have ended already
	select {
	case <-p.ended:
	case <-time.After(2 * edgetest.Patience):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
	return p.err
}
