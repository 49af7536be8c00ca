package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
)

// site starts a node with one vhost www.shop.test and returns a client of it.
func site(t *testing.T, backends []string, further ...string) (*node, *visitor) {
	t.Helper()
	quoted := make([]string, len(backends))
	for i, b := range backends {
		quoted[i] = strconv.Quote(b)
	}
	doc := fmt.Sprintf("vhosts:\n  www.shop.test:\n    backends: [%s]\n%s", strings.Join(quoted, ", "), indent(append(further, quick)))
	n := launch(t, "", map[string]string{"site.yaml": doc})
	v := &visitor{address: n.http, host: "www.shop.test", limit: 20 * time.Second}
	t.Cleanup(v.close)
	return n, v
}

// wantStatus asks once and wants a whole answer with that status in time.
func wantStatus(t *testing.T, v *visitor, target string, want int, within time.Duration) {
	t.Helper()
	status, took, err := v.get(target)
	if err != nil || status != want {
		t.Errorf("%s: status %d, %v; want %d", target, status, err, want)
	}
	if took > within+slack {
		t.Errorf("%s took %v, want %v at most", target, took, within)
	}
	t.Logf("%s: %d after %v", target, status, took.Round(time.Millisecond))
}

func TestFaultBackendRefuses(t *testing.T) {
	t.Parallel()
	dead, good := edgetest.NewBackend(t), edgetest.NewBackend(t)
	dead.Stop()
	n, v := site(t, []string{dead.URL})
	wantStatus(t, v, "/alone", 502, 0)
	n.write("conf.d/two.yaml", fmt.Sprintf("vhosts:\n  two.test: {backends: [%q, %q], waf: {mode: off}}\n", dead.URL, good.URL))
	n.within("two.test", 200)
	v.host = "two.test"
	for i := range 50 {
		if status, _, err := v.get(fmt.Sprintf("/r%d", i)); status != 200 || err != nil {
			t.Fatalf("request %d with another backend up: %d, %v", i, status, err)
		}
		if status, _, err := v.post(fmt.Sprintf("/p%d", i), "body"); status != 200 || err != nil { // nothing was sent to the dead one
			t.Fatalf("POST %d with another backend up: %d, %v", i, status, err)
		}
	}
	if got := good.Deliveries("/p"); got != 50 {
		t.Errorf("50 POSTs were delivered %d times", got)
	}
}

// blackhole is an address that takes no connection and refuses none: the queue of
// its listener is full, so the kernel drops what comes.
func blackhole(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	at, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", at.(*syscall.SockaddrInet4).Port)
	for range 20 { // fill the queue
		c, err := net.DialTimeout("tcp", address, 300*time.Millisecond)
		if err != nil {
			return address
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Fatal("the queue of a listener with backlog 0 does not fill")
	return ""
}

func TestFaultBackendBlackholes(t *testing.T) {
	t.Parallel()
	hole, good := blackhole(t), edgetest.NewBackend(t)
	n, v := site(t, []string{"http://" + hole})
	status, took, err := v.get("/")
	t.Logf("%d after %v", status, took)
	if status != 504 || err != nil {
		t.Errorf("status %d, %v; want 504", status, err)
	}
	if took > 3100*time.Millisecond+scaled(slack, time.Second) {
		t.Errorf("took %v, want 3.1 s at most", took)
	}
	n.write("conf.d/two.yaml", fmt.Sprintf("vhosts:\n  two.test: {backends: [\"http://%s\", %q], waf: {mode: off}}\n", hole, good.URL))
	n.within("two.test", 200)
	var all sync.WaitGroup
	for i := range 3 { // as many as may always be repeated at a time
		all.Go(func() {
			v := &visitor{address: n.http, host: "two.test", limit: 20 * time.Second}
			defer v.close()
			if status, took, err := v.get(fmt.Sprintf("/r%d", i)); status != 200 || err != nil || took > 3100*time.Millisecond+slack {
				t.Errorf("with another backend up: %d, %v after %v", status, err, took)
			}
		})
	}
	all.Wait()
}

// The request has been sent: it may have been acted on, so it is not sent again,
// also where another backend would answer.
func TestFaultBackendHangsAfterAccept(t *testing.T) {
	t.Parallel()
	a, b := edgetest.NewBackend(t), edgetest.NewBackend(t)
	_, v := site(t, []string{a.URL, b.URL}, "timeouts: {first_byte: 1s}")
	for _, method := range []string{"GET", "POST"} {
		path := "/slow?for=30s&by=" + method
		before := len(a.Requests()) + len(b.Requests())
		status, took, err := v.ask(method + " " + path + " HTTP/1.1\r\nHost: www.shop.test\r\nContent-Length: 0\r\n\r\n")
		if status != 504 || err != nil || took > time.Second+slack {
			t.Errorf("%s: %d, %v after %v; want 504 after 1 s", method, status, err, took)
		}
		if got := len(a.Requests()) + len(b.Requests()) - before; got != 1 {
			t.Errorf("%s: %d deliveries, want 1", method, got)
		}
	}
}

func TestFaultBackendResetsInTheHead(t *testing.T) {
	t.Parallel()
	b := scripted(t, func(c net.Conn, _ *bufio.Reader, _ string) {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/pla")
		edgetest.Reset(c)
		c.Close()
	})
	_, v := site(t, []string{b.url}, "cache: {enabled: true, ttl: 60s}")
	for i := range 5 {
		wantStatus(t, v, "/", 502, 0)
		if got := b.deliveries(); got != i+1 {
			t.Errorf("%d deliveries of %d requests: what was answered in part is not asked again", got, i+1)
		}
	}
}

// A cut answer never ends cleanly at the client, and is never stored.
func TestFaultBackendCutsTheBody(t *testing.T) {
	t.Parallel()
	const fields = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n"
	whole := strings.Repeat("x", 100_000)
	var count atomic.Int64
	b := scripted(t, func(c net.Conn, _ *bufio.Reader, line string) {
		count.Add(1)
		switch {
		case strings.Contains(line, "chunked"):
			_, _ = fmt.Fprintf(c, "%sTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", fields, len(whole), whole)
		case strings.Contains(line, "small"):
			_, _ = fmt.Fprintf(c, "%sContent-Length: 100\r\n\r\nfirst", fields)
		default:
			_, _ = fmt.Fprintf(c, "%sContent-Length: 200000\r\n\r\n%s", fields, whole)
		}
		if strings.Contains(line, "reset") {
			edgetest.Reset(c)
		}
		c.Close()
	})
	for _, cached := range []string{"cache: {enabled: false}", "cache: {enabled: true}"} {
		_, v := site(t, []string{b.url}, cached)
		for _, target := range []string{"/chunked-reset", "/chunked-end", "/length-reset", "/length-end", "/small-reset", "/small-end"} {
			for range 2 {
				before := count.Load()
				status, _, err := v.get(target)
				if err == nil && status/100 == 2 {
					t.Errorf("%s, %s: a clean %d", cached, target, status)
				}
				if count.Load() == before {
					t.Errorf("%s, %s: answered from the cache", cached, target)
				}
				v.close()
			}
		}
	}
}

// An answer that comes a byte a second is slow, not broken; its bytes are passed
// on as they come, and many of them cost little memory.
func TestFaultBackendDrips(t *testing.T) {
	t.Parallel()
	const length = 6
	streams := scaled(100, 500)
	b := edgetest.NewBackend(t)
	n, v := site(t, []string{b.URL})
	for range 50 {
		wantOK(t, v, "/bytes?n=100")
	}
	before := n.rss()
	var all sync.WaitGroup
	var first, last atomic.Int64
	for i := range streams {
		all.Go(func() {
			begin := time.Now()
			conn, err := dialFrom(i, n.http)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			_ = conn.SetDeadline(begin.Add(60 * time.Second))
			fmt.Fprintf(conn, "GET /drip?n=%d&every=1s HTTP/1.1\r\nHost: www.shop.test\r\nConnection: close\r\n\r\n", length)
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			one := make([]byte, 1)
			if _, err := io.ReadFull(resp.Body, one); err != nil {
				t.Error(err)
				return
			}
			first.Add(int64(time.Since(begin)))
			if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) != length-1 {
				t.Errorf("%d bytes and %v after the first", len(rest), err)
			}
			last.Add(int64(time.Since(begin)))
		})
	}
	edgetest.WaitFor(t, "all streams to be open", func() bool { return b.Deliveries("/drip") == streams })
	grown := n.rss() - before
	all.Wait()
	meanFirst, meanLast := time.Duration(first.Load()/int64(streams)), time.Duration(last.Load()/int64(streams))
	t.Logf("%d streams: RSS %+d KiB each; first byte after %v, last after %v", streams, grown/1024/int64(streams), meanFirst, meanLast)
	if meanLast-meanFirst < (length-2)*time.Second {
		t.Errorf("the first byte came %v before the last: it was held back", meanLast-meanFirst)
	}
	if limit := int64(streams)*200<<10 + 10<<20; grown > limit {
		t.Errorf("RSS grew by %d KiB, more than %d", grown>>10, limit>>10)
	}
}

func wantOK(t *testing.T, v *visitor, target string) {
	t.Helper()
	if status, _, err := v.get(target); status != 200 || err != nil {
		t.Fatalf("%s: %d, %v", target, status, err)
	}
}

func TestFaultBackendSendsGarbage(t *testing.T) {
	t.Parallel()
	answers := []string{
		"\x00\x01 this is not HTTP\r\n\r\n", "\r\n\r\n", "SSH-2.0-OpenSSH_9.6\r\n", "HTTP/1.1 2000 OK\r\n\r\n",
		"HTTP/1.1 200 OK\r\nbad field\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\nab", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
		"HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", strings.Repeat("x", 1<<20),
	}
	b := scripted(t, func(c net.Conn, _ *bufio.Reader, line string) {
		var i int
		if _, err := fmt.Sscanf(line, "GET /%d ", &i); err == nil && i < len(answers) {
			_, _ = io.WriteString(c, answers[i])
			c.Close()
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	})
	_, v := site(t, []string{b.url})
	for i := range answers {
		status, _, err := v.get(fmt.Sprintf("/%d", i))
		if status != 502 || err != nil {
			t.Errorf("answer %.40q: %d, %v; want 502", answers[i], status, err)
		}
		wantOK(t, v, "/after")
	}
}

// What a backend sends beyond its answer is nobody's answer, whether it comes with
// the answer or while the connection is idle.
func TestFaultBackendSurplusIsNobodysAnswer(t *testing.T) {
	t.Parallel()
	idle, sent := make(chan struct{}), make(chan struct{})
	b := scripted(t, func(c net.Conn, _ *bufio.Reader, line string) {
		const evil = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON"
		path := strings.Fields(line)[1]
		answer := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(path), path)
		if !strings.HasPrefix(path, "/late") {
			_, _ = io.WriteString(c, answer+evil)
			return
		}
		_, _ = io.WriteString(c, answer)
		<-idle // the client has its answer
		_, _ = io.WriteString(c, evil)
		sent <- struct{}{}
	})
	n, _ := site(t, []string{b.url})
	var all sync.WaitGroup
	for client := range 8 {
		all.Go(func() {
			for i := range scaled(100, 1000) {
				wantOwnPath(t, n, fmt.Sprintf("/now/%d/%d", client, i))
			}
		})
	}
	all.Wait()
	for i := range scaled(20, 200) {
		wantOwnPath(t, n, fmt.Sprintf("/late/%d", i))
		idle <- struct{}{}
		<-sent
		wantOwnPath(t, n, fmt.Sprintf("/next/%d", i))
	}
}

// wantOwnPath asks for a path and wants it back, or an error: never another's answer.
func wantOwnPath(t *testing.T, n *node, path string) {
	t.Helper()
	conn, err := net.Dial("tcp", n.http)
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: www.shop.test\r\nConnection: close\r\n\r\n", path)
	answer, err := io.ReadAll(conn)
	if good := strings.HasPrefix(string(answer), "HTTP/1.1 200"); err != nil || !good || !strings.HasSuffix(string(answer), "\r\n\r\n"+path) {
		t.Errorf("%s was answered with %q, %v", path, answer, err)
	}
}
