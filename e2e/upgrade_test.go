package e2e

import (
	"bufio"
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
)

// Clients of all kinds, busy during many upgrades in a row: no request fails.
func TestUpgradesUnderLoadLoseNoRequest(t *testing.T) {
	t.Parallel()
	upgrades := rounds(t, "UPGRADE_ROUNDS", 5, 20)
	least := int64(upgrades) * 1000
	b := edgetest.NewBackend(t)
	n := launch(t, "", map[string]string{"site.yaml": vhost("www.shop.test", b.URL, "waf: {mode: off}")})
	s := succeed(n)
	load := startLoad(t, n)
	for range upgrades {
		was := s.pid
		s.upgrade()
		s.gone(was)
	}
	edgetest.WaitFor(t, "enough requests", func() bool { return load.good.Load() >= least || load.failed.Load() > 0 })
	load.stop()
	t.Logf("%d upgrades, %d requests, %d failed", upgrades, load.good.Load(), load.failed.Load())
	s.finish()
}

// traffic is clients with kept and with new connections, plain and TLS.
type traffic struct {
	good, failed atomic.Int64
	over         chan struct{}
	running      sync.WaitGroup
}

func startLoad(t *testing.T, n *node) *traffic {
	pem, err := os.ReadFile(filepath.Join(n.dir, "data", "ca", "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	plain := func() (net.Conn, error) { return net.Dial("tcp", n.http) }
	secure := func() (net.Conn, error) {
		return tls.Dial("tcp", n.https, &tls.Config{ServerName: "www.shop.test", RootCAs: roots})
	}
	private := func() (net.Conn, error) { return net.Dial("unix", filepath.Join(n.dir, "data", "gatehouse.sock")) }
	l := &traffic{over: make(chan struct{})}
	for _, c := range []caller{
		{dial: plain},
		{dial: plain},
		{dial: secure},
		{dial: secure},
		{dial: plain, pause: 100 * time.Millisecond},
		{dial: secure, pause: 300 * time.Millisecond},
		{dial: plain, fresh: true},
		{dial: plain, fresh: true},
		{dial: secure, fresh: true},
		{dial: private, fresh: true, target: "/healthz", host: "gatehouse", pause: time.Millisecond}, // as verbs do
	} {
		l.running.Go(func() { l.visit(t, c) })
	}
	t.Cleanup(l.stop)
	return l
}

func (l *traffic) stop() {
	select {
	case <-l.over:
	default:
		close(l.over)
	}
	l.running.Wait()
}

func (l *traffic) visit(t *testing.T, c caller) {
	defer c.close()
	for number := 0; ; number++ {
		select {
		case <-l.over:
			return
		case <-time.After(c.pause):
		}
		if err := c.get(cmp.Or(c.target, fmt.Sprintf("/r%d", number))); err != nil {
			l.failed.Add(1)
			t.Errorf("request %d (kept %v, pause %v, target %q): %v", number, !c.fresh, c.pause, c.target, err)
			return
		}
		l.good.Add(1)
	}
}

// A caller asks one thing after the other and repeats nothing. A connection is
// kept until an answer says that it ends, or new each time.
type caller struct {
	dial   func() (net.Conn, error)
	pause  time.Duration
	fresh  bool
	target string // empty: another one each time
	host   string // empty: www.shop.test

	conn net.Conn
	r    *bufio.Reader
}

func (v *caller) get(target string) error {
	if v.conn == nil {
		conn, err := v.dial()
		if err != nil {
			return fmt.Errorf("connect: %w", err)
		}
		v.conn, v.r = conn, bufio.NewReader(conn)
	}
	if _, err := fmt.Fprintf(v.conn, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, cmp.Or(v.host, "www.shop.test")); err != nil {
		return fmt.Errorf("ask: %w", err)
	}
	resp, err := http.ReadResponse(v.r, nil)
	if err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return fmt.Errorf("body: %w", err)
	}
	resp.Body.Close()
	if resp.StatusCode != 200 {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	if resp.Close || v.fresh {
		v.close()
	}
	return nil
}

func (v *caller) close() {
	if v.conn != nil {
		v.conn.Close()
		v.conn = nil
	}
}

// Whatever the new process fails of, the old one serves on and says why.
func TestUpgradeThatFailsLeavesTheNodeAsItIs(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	n := prepare(t, "", map[string]string{"site.yaml": vhost("www.shop.test", b.URL, "waf: {mode: off}")})
	n.binary = filepath.Join(n.dir, "gatehouse")
	copyFile(t, binary, n.binary)
	n.start()
	s := succeed(n)
	fails := func(what string, says ...string) {
		t.Helper()
		out, code := n.run("upgrade", "--admin", "data/gatehouse.sock")
		if code != 1 || !has(out, append(says, "not upgraded", fmt.Sprintf("process %d goes on", s.pid))...) {
			t.Errorf("%s: exit %d: %s", what, code, out)
		}
		// What the new process writes comes through a pipe of its own.
		edgetest.WaitFor(t, "the log to say why: "+what, func() bool { return has(n.stderr.String(), says...) })
		if got := n.get("www.shop.test", "/"); got.Status != 200 || got.Close {
			t.Errorf("%s: status %d, close %v", what, got.Status, got.Close)
		}
		if out, code := n.run("health", "--admin", "data/gatehouse.sock"); code != 0 {
			t.Errorf("%s: health: %s", what, out)
		}
	}

	settings, err := os.ReadFile(filepath.Join(n.dir, "gatehouse.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	n.write("gatehouse.yaml", string(settings)+"lisen: {}\n")
	fails("settings that are wrong", "gatehouse.yaml:", `unknown key "lisen"`, `did you mean "listen"`)

	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	n.write("gatehouse.yaml", strings.Replace(string(settings), n.https, taken.Addr().String(), 1))
	fails("an address that is taken", "listen.https", "in use")
	n.write("gatehouse.yaml", strings.Replace(string(settings), n.admin, "192.0.2.1:1", 1))
	fails("a failure after a socket was taken over", "listen.admin")
	n.write("gatehouse.yaml", strings.Replace(string(settings), "format: json", "to: /nowhere/log", 1))
	fails("a failure after all sockets were taken over", "log.access.to")
	n.write("gatehouse.yaml", string(settings))

	n.write("new", "#!/bin/sh\necho cannot do it >&2\nexit 1\n")
	install(t, n, "new")
	fails("a binary that ends", "cannot do it", "exit status 1")
	n.write("new", "no program at all")
	install(t, n, "new")
	fails("a binary that is none", "could not be started")
	if err := os.Remove(n.binary); err != nil {
		t.Fatal(err)
	}
	fails("no binary", "no such file")

	copyFile(t, binary, n.binary+".new") // and then one that works
	install(t, n, "gatehouse.new")
	was := s.pid
	s.upgrade()
	s.gone(was)
	if got := n.get("www.shop.test", "/"); got.Status != 200 {
		t.Errorf("status %d", got.Status)
	}
	s.finish()
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, 0o755); err != nil {
		t.Fatal(err)
	}
}

// install puts a file in the place of the node's binary, as installers do.
func install(t *testing.T, n *node, name string) {
	t.Helper()
	path := filepath.Join(n.dir, name)
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path, n.binary); err != nil {
		t.Fatal(err)
	}
}

// New settings may name other addresses; sockets that stay are not opened anew.
func TestUpgradeTakesNewAddresses(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	n := launch(t, "", map[string]string{"site.yaml": vhost("www.shop.test", b.URL, "waf: {mode: off}")})
	s := succeed(n)
	settings, err := os.ReadFile(filepath.Join(n.dir, "gatehouse.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	further := fmt.Sprintf("127.0.0.1:%d", edgetest.FreePort(t))
	gone := n.http
	n.write("gatehouse.yaml", strings.NewReplacer(n.http, further, n.admin, strings.Replace(n.admin, "127.0.0.1", "localhost", 1)).Replace(string(settings)))
	was := s.pid
	s.upgrade()
	n.http = further
	if got := n.get("www.shop.test", "/"); got.Status != 200 {
		t.Errorf("the new address: status %d", got.Status)
	}
	s.gone(was)
	if conn, err := net.Dial("tcp", gone); err == nil {
		conn.Close()
		t.Error("the old address is still open")
	}
	if got := n.issuer("www.shop.test"); got == "" {
		t.Error("the https socket did not stay")
	}
	if out, code := n.run("health", "--admin", "http://"+n.admin); code != 0 {
		t.Errorf("the admin socket, named otherwise, did not stay: %s", out)
	}
	s.finish()
}

// A WebSocket is worth a drain: it stays while the process before drains.
func TestWebSocketStaysThroughAnUpgrade(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	n := launch(t, "", map[string]string{"site.yaml": vhost("www.shop.test", b.URL, "waf: {mode: off}")})
	s := succeed(n)
	ws := edgetest.Dial(t, n.http)
	ws.UpgradeWebSocket("www.shop.test", "/ws")
	ws.WebSocketEcho("before")
	was := s.pid
	s.upgrade()
	for begin := time.Now(); time.Since(begin) < 4*time.Second; { // longer than requests and idle connections keep it
		ws.WebSocketEcho("during")
	}
	if s.isGone(was) {
		t.Error("the process before ended under its WebSocket")
	}
	if got := n.get("www.shop.test", "/"); got.Status != 200 || got.Close {
		t.Errorf("status %d, close %v", got.Status, got.Close)
	}
	// A first signal says what the process does anyway; another cuts.
	if err := syscall.Kill(was, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for begin := time.Now(); time.Since(begin) < 300*time.Millisecond; {
		ws.WebSocketEcho("still")
	}
	edgetest.WaitFor(t, "the process before to end", func() bool {
		_ = syscall.Kill(was, syscall.SIGTERM) // fails once it has ended
		return s.isGone(was)
	})
	ws.WantClosed()
	s.finish()
}

// A node that is being upgraded, or drains, takes no further upgrade. The routes'
// Redis hangs meanwhile: the new process serves what was last good.
func TestOneUpgradeAtATimeAndRoutesOutliveRedis(t *testing.T) {
	t.Parallel()
	redis := edgetest.Redis(t)
	b := edgetest.NewBackend(t)
	redis.CLI("rpush", "frontend:www.shop.test", "shop", b.URL)
	n := launch(t, "routes: "+redis.URL()+"\ndefaults: {waf: {mode: off}}\n", nil)
	n.within("www.shop.test", 200)
	s := succeed(n)
	redis.Suspend()
	defer redis.Resume()
	type outcome struct {
		out string
		err error
	}
	first := make(chan outcome, 1)
	go func() {
		cmd := exec.Command(binary, "upgrade")
		cmd.Dir = n.dir
		out, err := cmd.CombinedOutput()
		first <- outcome{string(out), err}
	}()
	edgetest.WaitFor(t, "the upgrade to begin", func() bool { return has(n.stderr.String(), "upgrade begins") })
	// For at least a second the new process waits for its Redis.
	if out, code := n.run("upgrade"); code != 1 || !has(out, "not upgraded", "under way") {
		t.Errorf("a second upgrade: exit %d: %s", code, out)
	}
	if done := <-first; done.err != nil {
		t.Fatalf("upgrade with a hung Redis: %v: %s", done.err, done.out)
	}
	was := s.pid
	s.pid = newestPID(t, n)
	s.gone(was)
	if got := n.get("www.shop.test", "/"); got.Status != 200 {
		t.Errorf("with a hung Redis, after an upgrade: status %d", got.Status)
	}
	redis.Resume()

	conn := edgetest.Dial(t, n.http)
	conn.Send("GET /slow?for=3s HTTP/1.1\r\nHost: www.shop.test\r\n\r\n")
	edgetest.WaitFor(t, "the request to arrive", func() bool { return b.Deliveries("/slow") == 1 })
	if err := syscall.Kill(s.pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	edgetest.WaitFor(t, "the drain", func() bool { out, _ := n.run("health"); return has(out, "draining") })
	if out, code := n.run("upgrade"); code != 1 || !has(out, "not upgraded", "draining") {
		t.Errorf("an upgrade of a node that drains: exit %d: %s", code, out)
	}
	if got := conn.Receive("GET"); got.Status != 200 {
		t.Errorf("status %d", got.Status)
	}
	s.gone(s.pid)
}

// newestPID reads the log for the process that took over last.
func newestPID(t *testing.T, n *node) (pid int) {
	t.Helper()
	log := n.stderr.String()
	at := strings.LastIndex(log, "msg=upgraded pid=")
	if _, err := fmt.Sscanf(log[max(at, 0):], "msg=upgraded pid=%d", &pid); err != nil {
		t.Fatalf("no upgrade in the log: %v", err)
	}
	return pid
}

// SIGUSR2 is the same as the verb, and upgrades follow one another.
func TestSignalUpgrades(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	n := launch(t, "", map[string]string{"site.yaml": vhost("www.shop.test", b.URL, "waf: {mode: off}")})
	s := succeed(n)
	n.signal(syscall.SIGUSR2)
	edgetest.WaitFor(t, "the upgrade", func() bool { return has(n.stderr.String(), "msg=upgraded") })
	was := s.pid
	s.pid = newestPID(t, n)
	s.gone(was)
	was = s.pid
	s.upgrade()
	s.gone(was)
	s.finish()
}

// The first process of a container takes the container with it when it ends.
func TestUpgradeOfProcess1IsRefused(t *testing.T) {
	t.Parallel()
	n := prepare(t, "", map[string]string{"site.yaml": vhost("www.shop.test", "http://127.0.0.1:9")})
	n.attr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
	if os.Geteuid() != 0 {
		n.attr.Cloneflags |= syscall.CLONE_NEWUSER
	}
	if err := (&exec.Cmd{Path: "/bin/true", SysProcAttr: n.attr}).Run(); err != nil {
		t.Skipf("no namespace for processes can be made here: %v", err)
	}
	n.start()
	out, code := n.run("upgrade")
	if code != 1 || !has(out, "not upgraded", "process 1 of its container", "start a new container") {
		t.Errorf("exit %d: %s", code, out)
	}
	n.stop()
}
