package e2e

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
)

// activate starts the node with sockets as systemd does: the shell becomes the
// node, so that LISTEN_PID is known.
func (n *node) activate(names string, sockets ...*os.File) {
	n.t.Helper()
	script := fmt.Sprintf("export LISTEN_PID=$$ LISTEN_FDS=%d LISTEN_FDNAMES=%s; exec %q serve", len(sockets), names, binary)
	n.stdout, n.stderr, n.ended = &edgetest.Output{}, &edgetest.Output{}, make(chan struct{})
	n.cmd = exec.Command("/bin/sh", "-c", script)
	n.cmd.Dir, n.cmd.ExtraFiles = n.dir, sockets
	n.cmd.Env = n.environment()
	n.cmd.Stdout, n.cmd.Stderr = n.stdout, n.stderr
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

// socket is a listening socket and its file, as a service manager has it.
func socket(t *testing.T) (*net.TCPListener, *os.File) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	file, err := ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return ln.(*net.TCPListener), file
}

// The sockets of a service manager are used, by name wherever they are bound and
// else by their address; a connection that came before the node started is
// answered; children inherit no variable; an upgrade keeps the sockets; the
// service manager is told each state.
func TestSocketActivation(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	n := prepare(t, "", map[string]string{"site.yaml": vhost("www.shop.test", b.URL, "waf: {mode: off}")})
	manager := notified(t, n)
	named, namedFile := socket(t)
	unnamed, unnamedFile := socket(t)
	settings := filepath.Join(n.dir, "gatehouse.yaml")
	text, err := os.ReadFile(settings)
	if err != nil {
		t.Fatal(err)
	}
	n.write("gatehouse.yaml", strings.Replace(string(text), n.admin, unnamed.Addr().String(), 1)) // listen.http stays another
	early := edgetest.Dial(t, named.Addr().String())
	early.Send("GET /first HTTP/1.1\r\nHost: www.shop.test\r\n\r\n")
	n.http, n.admin = named.Addr().String(), unnamed.Addr().String()

	n.activate("http:gatehouse.socket", namedFile, unnamedFile)
	if got := early.Receive("GET"); got.Status != 200 {
		t.Errorf("a connection from before the start: status %d", got.Status)
	}
	s := succeed(n)
	if got := manager(); got != "READY=1" {
		t.Errorf("the service manager was told %q", got)
	}
	// What the node's children would get is what it hands to its successor.
	was := s.pid
	s.upgrade()
	told := []string{manager(), manager()} // by either process
	slices.Sort(told)
	if main := fmt.Sprintf("MAINPID=%d", s.pid); !slices.Equal(told, []string{main, main + "\nREADY=1"}) {
		t.Errorf("the service manager was told %q", told)
	}
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", s.pid))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(environ), "LISTEN_") {
		t.Error("the variables of socket activation are inherited")
	}
	s.gone(was)
	if got := n.get("www.shop.test", "/"); got.Status != 200 {
		t.Errorf("status %d", got.Status)
	}
	if out, code := n.run("health", "--admin", "http://"+n.admin); code != 0 {
		t.Errorf("health: %s", out)
	}
	s.finish()
	if got := manager(); got != "STOPPING=1" {
		t.Errorf("the service manager was told %q", got)
	}
}

// notified makes a service manager's socket; the function returns what it was
// told next.
func notified(t *testing.T, n *node) func() string {
	t.Helper()
	path := filepath.Join(n.dir, "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	n.environ = append(n.environ, "NOTIFY_SOCKET="+path)
	return func() string {
		t.Helper()
		if err := conn.SetReadDeadline(time.Now().Add(edgetest.Patience)); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 4096)
		got, err := conn.Read(buf)
		if err != nil {
			t.Fatalf("the service manager is told nothing: %v", err)
		}
		return string(buf[:got])
	}
}

// A socket that fits nothing is a mistake in the units: it is named, and nothing
// is served.
func TestSocketThatFitsNoSettingIsAnError(t *testing.T) {
	t.Parallel()
	n := prepare(t, "", nil)
	ln, file := socket(t)
	packet, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer packet.Close()
	packetFile, err := packet.File()
	if err != nil {
		t.Fatal(err)
	}
	defer packetFile.Close()
	for _, c := range []struct {
		names string
		files []*os.File
		says  []string
	}{
		{"web", []*os.File{file}, []string{`descriptor 3 ("web", ` + ln.Addr().String() + `)`, "neither listen.http, listen.https nor listen.admin"}},
		{"http", []*os.File{packetFile}, []string{`descriptor 3 ("http") is no listening socket`}},
		{"http:https", []*os.File{file}, []string{"LISTEN_FDNAMES has 2 names for 1 descriptors"}},
	} {
		n.activate(c.names, c.files...)
		n.wait()
		var exit interface{ ExitCode() int }
		if !errors.As(n.err, &exit) || exit.ExitCode() != 1 || !has(n.stderr.String(), c.says...) {
			t.Errorf("%s: %v: %s", c.names, n.err, n.stderr)
		}
	}
}
