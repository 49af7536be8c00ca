package e2e

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
)

// each calls f for 0 … count-1, so many at a time.
func each(count, workers int, f func(i int)) {
	var next atomic.Int64
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < count; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	all.Wait()
}

// descriptors is how many files and sockets the node has open.
func (n *node) descriptors() int {
	n.t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", n.cmd.Process.Pid))
	if err != nil {
		n.t.Fatal(err)
	}
	return len(entries)
}

// under runs the node with a limit of descriptors, soft and hard.
func (n *node) under(descriptors int) {
	n.adjust = func(cmd *exec.Cmd) {
		path, err := exec.LookPath("prlimit")
		if err != nil {
			n.t.Fatalf("prlimit (of util-linux) sets the limit of descriptors: %v", err)
		}
		cmd.Path = path
		cmd.Args = append([]string{"prlimit", fmt.Sprintf("--nofile=%d:%d", descriptors, descriptors), binary}, cmd.Args[1:]...)
	}
}

// Idle TLS connections, each after a first request, cost a known little.
func TestFaultIdleTLSConnectionsCostLittleMemory(t *testing.T) {
	t.Parallel()
	count := scaled(1000, 10_000)
	limit := scaled(75, 30) // KiB each; with few, a collection more or less is half of it
	b := edgetest.NewBackend(t)
	n := prepare(t, fmt.Sprintf("limits: {connections: %d}", count+100), map[string]string{"site.yaml": vhost("www.shop.test", b.URL, quick)})
	n.under(count + 1000)
	n.start()
	config := &tls.Config{ServerName: "www.shop.test", RootCAs: n.roots(), NextProtos: []string{"http/1.1"}}
	visitors := make([]*visitor, count)
	open := func(i int) {
		visitors[i] = &visitor{address: n.https, host: "www.shop.test", limit: 20 * time.Second, config: config, from: i}
		if status, _, err := visitors[i].get("/bytes?n=10"); status != 200 || err != nil {
			t.Errorf("connection %d: %d, %v", i, status, err)
		}
	}
	warm := 100
	each(warm, 8, open) // what is made at first use is no cost of a connection
	before, begin := n.rss(), time.Now()
	each(count-warm, 8, func(i int) { open(warm + i) })
	defer func() {
		for _, v := range visitors {
			v.close()
		}
	}()
	if t.Failed() {
		return
	}
	t.Logf("%d connections opened in %v", count, time.Since(begin).Round(time.Second))
	per := func() int64 { return (n.rss() - before) / int64(count-warm) }
	at := per()
	lowest := at
	end := time.Now().Add(15 * time.Second) // the collector gives back what the handshakes needed
	for lowest > int64(limit)<<10 && time.Now().Before(end) {
		<-time.After(500 * time.Millisecond)
		n.number("go_goroutines") // some garbage of its own, so that the collector has a reason
		lowest = min(lowest, per())
	}
	t.Logf("RSS %.1f KiB for each of %d idle TLS connections (%.1f right after the last handshake)",
		float64(lowest)/1024, count, float64(at)/1024)
	if lowest > int64(limit)<<10 {
		t.Errorf("%.1f KiB for each, want %d at most", float64(lowest)/1024, limit)
		for _, name := range []string{"heap_alloc", "heap_inuse", "heap_idle", "heap_released", "next_gc", "stack_inuse"} {
			t.Logf("go_memstats_%s_bytes: %.1f MiB", name, n.number("go_memstats_"+name+"_bytes")/(1<<20))
		}
	}
	// They are idle, not gone: each still serves.
	var lost atomic.Int64
	each(count, 8, func(i int) {
		if i%10 != 0 {
			return
		}
		if status, _, err := visitors[i].get("/bytes?n=10"); status != 200 || err != nil {
			lost.Add(1)
		}
	})
	if lost.Load() > 0 {
		t.Errorf("%d of %d idle connections were lost", lost.Load(), count/10)
	}
}

// dawdle opens count connections that send the first bytes at once and then one
// of rest every second, and returns how long the longest of them was open.
func dawdle(t *testing.T, address string, count int, first, rest string) time.Duration {
	t.Helper()
	var longest atomic.Int64
	var unsent atomic.Int64
	each(count, count, func(i int) {
		conn, err := dialFrom(i, address)
		if err != nil {
			unsent.Add(1) // refused: that is gone, too
			return
		}
		defer conn.Close()
		begin := time.Now()
		_, err = io.WriteString(conn, first)
		buf := make([]byte, 512)
		for at := 0; err == nil && time.Since(begin) < 60*time.Second; {
			if conn.SetReadDeadline(time.Now().Add(time.Second)) != nil {
				break
			}
			_, err = conn.Read(buf)
			if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
				_, err = io.WriteString(conn, rest[at%len(rest):at%len(rest)+1])
				at++
			}
		}
		open := int64(time.Since(begin))
		for was := longest.Load(); open > was && !longest.CompareAndSwap(was, open); {
			was = longest.Load()
		}
	})
	if unsent.Load() > 0 {
		t.Logf("%d of %d connections were not taken", unsent.Load(), count)
	}
	return time.Duration(longest.Load())
}

// harmless runs an attack and wants it over in time, and good clients unharmed.
func harmless(t *testing.T, n *node, attack func() time.Duration) {
	t.Helper()
	config := &tls.Config{ServerName: "www.shop.test", RootCAs: n.roots(), NextProtos: []string{"http/1.1"}}
	kept := &crowd{hosts: []string{"www.shop.test", "www.shop.test"}, pause: 10 * time.Millisecond}
	fresh := &crowd{hosts: []string{"www.shop.test"}, pause: 20 * time.Millisecond, fresh: true, config: config}
	measure := func(during func()) times {
		a, b := visit(n, &crowd{hosts: kept.hosts, pause: kept.pause}), visit(n, &crowd{hosts: fresh.hosts, pause: fresh.pause, fresh: true, config: config})
		during()
		took, failed := a.end()
		tookFresh, failedFresh := b.end()
		wantNone(t, "requests of good clients", append(failed, failedFresh...))
		return append(took, tookFresh...)
	}
	before := measure(func() { <-time.After(2 * time.Second) }) // a measurement's length
	descriptors := n.descriptors()
	var longest time.Duration
	during := measure(func() { longest = attack() })
	t.Logf("the longest connection was open for %v", longest.Round(10*time.Millisecond))
	if limit := 12*time.Second + scaled(slack, 0); longest > limit {
		t.Errorf("a connection was open for %v, want %v at most", longest, limit)
	}
	wantUnmoved(t, before, during)
	edgetest.WaitFor(t, "the node's descriptors to be given back", func() bool { return n.descriptors() <= descriptors+10 })
}

func TestFaultSlowHeadsAreEnded(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	n := launch(t, "", map[string]string{"site.yaml": vhost("www.shop.test", b.URL, quick)})
	harmless(t, n, func() time.Duration {
		return dawdle(t, n.http, scaled(200, 2000), "GET / HTTP/1.1\r\nHost: www.shop.test\r\nX-Slow: ", "x")
	})
	if got := b.Deliveries("/slow"); got != 0 {
		t.Errorf("%d requests without an end were delivered", got)
	}
}

func TestFaultHalfHandshakesAreEnded(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	n := launch(t, "", map[string]string{"site.yaml": vhost("www.shop.test", b.URL, quick)})
	hello := clientHello(t)
	half := len(hello) / 2
	harmless(t, n, func() time.Duration {
		return dawdle(t, n.https, scaled(200, 2000), hello[:half], hello[half:half+40])
	})
}

// clientHello is the first flight of a real client.
func clientHello(t *testing.T) string {
	t.Helper()
	client, server := net.Pipe()
	defer server.Close()
	go func() {
		_ = tls.Client(client, &tls.Config{ServerName: "www.shop.test"}).Handshake() // it hears nothing
		client.Close()
	}()
	buf := make([]byte, 16<<10)
	k, err := server.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:k])
}

// The node has no descriptor left: limits.connections asks for more than there are,
// and each tunnel takes two, the client's and the backend's, of which it bounds the
// first. The node lives, a client that was there before is still served, and it
// accepts again as soon as the flood is over.
func TestFaultDescriptorsRunOut(t *testing.T) {
	t.Parallel()
	const limit, flood = 160, 200
	b, own := edgetest.NewBackend(t), edgetest.NewBackend(t)
	n := prepare(t, "limits: {connections: 5000}", map[string]string{
		"site.yaml": vhost("www.shop.test", b.URL, quick), "old.yaml": vhost("old.shop.test", own.URL, quick),
	})
	n.under(limit)
	n.start()
	edgetest.WaitFor(t, "the log to say that 5000 connections are too many", func() bool {
		return strings.Contains(n.stderr.String(), "more connections than the limit of descriptors allows")
	})
	old := visit(n, &crowd{hosts: []string{"old.shop.test"}, pause: 20 * time.Millisecond})
	edgetest.WaitFor(t, "the old client to be served", func() bool { return own.Deliveries("/") > 0 })
	conns := make([]net.Conn, 10*flood)
	defer func() { closeConns(conns) }()
	come := func(i int) {
		conn, err := dialFrom(i, n.http)
		if err != nil {
			return // the kernel's backlog is full, too
		}
		conns[i] = conn
		_, _ = io.WriteString(conn, "GET /ws HTTP/1.1\r\nHost: www.shop.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
		// An answer, if this one is accepted: tunnels come first, and then who finds no descriptor for a backend.
		_ = conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		_, _ = conn.Read(make([]byte, 1))
	}
	each(flood, 16, come)
	most, asked, came := 0, own.Deliveries("/"), flood
	edgetest.WaitFor(t, "the descriptors to run out, and the old client to be served", func() bool {
		if came < len(conns) { // those who were answered 502 have left, and others come
			from := came
			came = min(came+16, len(conns))
			each(came-from, 16, func(i int) { come(from + i) })
		}
		most = max(most, n.descriptors())
		return most >= limit-2 && strings.Contains(n.stderr.String(), "connection not accepted, waiting") && own.Deliveries("/") > asked+20
	})
	_, failed := old.end()
	wantNone(t, "requests of an old client", failed)
	n.alive()
	t.Logf("during the flood: %d descriptors of %d, %d requests of an old client", most, limit, own.Deliveries("/"))
	closeConns(conns)
	begin := time.Now()
	for _, host := range []string{"old.shop.test", "www.shop.test"} {
		edgetest.WaitFor(t, "a new client of "+host+" to be served", func() bool { return n.status(host, "/") == 200 })
		took := time.Since(begin)
		t.Logf("a new client of %s was served %v after the flood", host, took.Round(time.Millisecond))
		if took > 2*time.Second+scaled(slack, 0) {
			t.Errorf("a new client of %s was served %v after the flood, want 2 s at most", host, took)
		}
	}
	n.alive()
}

// slowly checks what slow transfers cost while they are open, and in the full size
// that those below the least rate, which began at begin, are cut while one above it is not.
func slowly(t *testing.T, n *node, count int, begin time.Time, good <-chan error, closeAll func()) {
	t.Helper()
	edgetest.WaitFor(t, "the slow transfers to be under way", func() bool {
		return n.number("gatehouse_requests_in_flight") >= float64(count)
	})
	if full() {
		// 30 s below the rate. The kernel of a client that reads nothing may take another
		// segment within the first 30, and over the loopback that is 64 KiB: then it
		// has kept the rate until then.
		limit := 75 * time.Second
		for n.number("gatehouse_requests_in_flight") > 1 && time.Since(begin) < limit+10*time.Second {
			<-time.After(500 * time.Millisecond)
		}
		took := time.Since(begin)
		left := n.number("gatehouse_requests_in_flight")
		t.Logf("after %v, %v of %d slow transfers are left (one is above the least rate)", took.Round(time.Second), left, count)
		if took > limit {
			t.Errorf("the slow transfers were cut after %v, want %v at most", took, limit)
		}
	}
	closeAll()
	if err := <-good; err != nil {
		t.Errorf("a transfer above the least rate: %v", err)
	}
}

// Readers that take nothing of a large answer: the node holds little of it.
func TestFaultSlowReadersAreBoundedAndCut(t *testing.T) {
	t.Parallel()
	count := scaled(100, 1000)
	b := edgetest.NewBackend(t)
	n, v := site(t, []string{b.URL})
	for range 50 {
		wantOK(t, v, "/bytes?n=100000")
	}
	before, begin := n.rss(), time.Now()
	conns := make([]net.Conn, count)
	each(count, 16, func(i int) {
		conn, err := dialFrom(i, n.http)
		if err != nil {
			t.Error(err)
			return
		}
		conns[i] = conn
		_ = conn.(*net.TCPConn).SetReadBuffer(4 << 10)
		fmt.Fprintf(conn, "GET /bytes?n=%d HTTP/1.1\r\nHost: www.shop.test\r\n\r\n", 1<<30)
	})
	good, stop := make(chan error, 1), make(chan struct{})
	go func() { // 40 KiB/s
		conn, err := dialFrom(count, n.http)
		if err != nil {
			good <- err
			return
		}
		defer conn.Close()
		_ = conn.(*net.TCPConn).SetReadBuffer(4 << 10)
		fmt.Fprintf(conn, "GET /bytes?n=%d HTTP/1.1\r\nHost: www.shop.test\r\n\r\n", 1<<30)
		buf := make([]byte, 4<<10)
		for {
			if _, err := io.ReadFull(conn, buf); err != nil {
				good <- err
				return
			}
			select {
			case <-stop:
				good <- nil
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	}()
	most := watchRSS(n, scaled(3*time.Second, 10*time.Second))
	bounded(t, count, most-before)
	slowly(t, n, count, begin, good, func() { close(stop); closeConns(conns) })
}

// Uploads of ten bytes a second: little memory, and below the least rate they are cut.
func TestFaultSlowUploadsAreBoundedAndCut(t *testing.T) {
	t.Parallel()
	count := scaled(100, 1000)
	b := edgetest.NewBackend(t)
	n, v := site(t, []string{b.URL})
	for range 50 {
		wantOK(t, v, "/bytes?n=100000")
	}
	before, begin := n.rss(), time.Now()
	conns := make([]net.Conn, count)
	head := "POST /sink HTTP/1.1\r\nHost: www.shop.test\r\nContent-Length: 10000000\r\n\r\n"
	each(count, 16, func(i int) {
		conn, err := dialFrom(i, n.http)
		if err != nil {
			t.Error(err)
			return
		}
		conns[i] = conn
		_, _ = io.WriteString(conn, head+"the first bytes")
	})
	good, stop := make(chan error, 1), make(chan struct{})
	upload := func(conn net.Conn, piece []byte, every time.Duration) error {
		for {
			if _, err := conn.Write(piece); err != nil {
				return err
			}
			select {
			case <-stop:
				return nil
			case <-time.After(every):
			}
		}
	}
	go func() { // 40 KiB/s
		conn, err := dialFrom(count, n.http)
		if err != nil {
			good <- err
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, head)
		good <- upload(conn, make([]byte, 4<<10), 100*time.Millisecond)
	}()
	var all sync.WaitGroup
	for _, conn := range conns {
		if conn != nil {
			all.Go(func() { _ = upload(conn, make([]byte, 10), time.Second) }) // it ends when it is cut
		}
	}
	most := watchRSS(n, scaled(3*time.Second, 10*time.Second))
	bounded(t, count, most-before)
	slowly(t, n, count, begin, good, func() { close(stop); closeConns(conns) })
	all.Wait()
}

// watchRSS returns the most that the node held in a while.
func watchRSS(n *node, d time.Duration) (most int64) {
	n.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); {
		most = max(most, n.rss())
		<-time.After(100 * time.Millisecond)
	}
	return most
}

// bounded: two buffers of 64 KiB for each transfer, and what a process needs anyway.
func bounded(t *testing.T, count int, grown int64) {
	t.Helper()
	t.Logf("%d transfers: RSS grew by %.1f MiB, %.1f KiB each", count, float64(grown)/(1<<20), float64(grown)/1024/float64(count))
	if limit := int64(count)*128<<10 + 20<<20; grown > limit {
		t.Errorf("RSS grew by %d KiB, more than %d", grown>>10, limit>>10)
	}
}

func closeConns(conns []net.Conn) {
	for _, c := range conns {
		if c != nil {
			c.Close()
		}
	}
}
