package e2e

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
)

// sites puts so many vhosts into a Redis and returns their hosts.
func sites(redis *edgetest.RedisServer, backend string, count int) []string {
	var commands strings.Builder
	hosts := make([]string, count)
	for i := range hosts {
		hosts[i] = fmt.Sprintf("s%d.test", i)
		fmt.Fprintf(&commands, "rpush frontend:%s shop %s\nset vhost:%s {\"waf\":{\"mode\":\"off\"}}\n", hosts[i], backend, hosts[i])
	}
	redis.CLIInput(commands.String())
	return hosts
}

// Redis is down when the node starts, and there are no last good routes: the node
// runs, says 503 and that it is not ready, and serves once Redis is there.
func TestFaultRedisDownAtStart(t *testing.T) {
	t.Parallel()
	b, redis := edgetest.NewBackend(t), edgetest.Redis(t)
	hosts := sites(redis, b.URL, 5)
	redis.Stop()
	n := prepare(t, "routes: "+redis.URL(), nil)
	n.startOnly()
	n.within(hosts[0], 503)
	n.alive()
	if status, _, err := (&visitor{address: n.admin, host: "admin", limit: time.Second + slack}).get("/readyz"); status != 503 || err != nil {
		t.Errorf("/readyz: %d, %v; want 503", status, err)
	}
	redis.Restart(false)
	for _, host := range hosts {
		n.within(host, 200)
	}

	// With last good routes it is ready at once.
	redis.Stop()
	n.stop()
	begin := time.Now()
	n.start()
	took := time.Since(begin)
	t.Logf("ready %v after the start, with last good routes", took)
	if took > 2*time.Second+slack {
		t.Errorf("ready after %v, want 2 s", took)
	}
	for _, host := range hosts {
		if got := n.get(host, "/").Status; got != 200 {
			t.Errorf("%s: %d", host, got)
		}
	}
}

// faulty runs a fault of Redis under load: no request fails because of it, none
// gets slower, and goroutines do not pile up.
func faulty(t *testing.T, n *node, hosts []string, fault, mend func()) {
	t.Helper()
	for _, host := range hosts {
		n.within(host, 200)
	}
	calm := visit(n, &crowd{hosts: hosts, pause: 5 * time.Millisecond})
	<-time.After(2 * time.Second) // a measurement's length
	before, failed := calm.end()
	wantNone(t, "requests before the fault", failed)
	goroutines := n.goroutines()
	busy := visit(n, &crowd{hosts: hosts, pause: 5 * time.Millisecond})
	fault()
	most := 0
	end := time.After(scaled(5*time.Second, 30*time.Second))
	for running := true; running; {
		select {
		case <-end:
			running = false
		case <-time.After(200 * time.Millisecond):
			most = max(most, n.goroutines())
		}
	}
	during, failed := busy.end()
	mend()
	wantNone(t, "requests during the fault", failed)
	wantUnmoved(t, before, during)
	t.Logf("goroutines: %d before, %d at most during", goroutines, most)
	if limit := goroutines + 5*len(hosts) + 20; most > limit { // the crowd's own connections
		t.Errorf("%d goroutines, from %d before: more than %d", most, goroutines, limit)
	}
}

// wantLive adds a vhost and waits until it serves: the node follows Redis again.
func wantLive(t *testing.T, n *node, redis *edgetest.RedisServer, backend string) {
	t.Helper()
	redis.CLI("rpush", "frontend:later.test", "shop", backend)
	t.Logf("a change acted %v after it was made", n.within("later.test", 200).Round(time.Millisecond))
}

func TestFaultRedisHangs(t *testing.T) {
	t.Parallel()
	b, redis := edgetest.NewBackend(t), edgetest.Redis(t)
	hosts := sites(redis, b.URL, 5)
	n := launch(t, "routes: "+redis.URL(), nil)
	faulty(t, n, hosts, redis.Suspend, redis.Resume)
	wantLive(t, n, redis, b.URL)
}

func TestFaultRedisIsSlow(t *testing.T) {
	t.Parallel()
	b, redis := edgetest.NewBackend(t), edgetest.Redis(t)
	hosts := sites(redis, b.URL, 5)
	slow := startDelay(t, redis.Addr())
	n := launch(t, "routes: redis://"+slow.address, nil)
	faulty(t, n, hosts, func() { slow.by.Store(int64(2 * time.Second)) }, func() { slow.by.Store(0) })
	wantLive(t, n, redis, b.URL)
}

func TestFaultRedisRestartsEmpty(t *testing.T) {
	t.Parallel()
	b, redis := edgetest.NewBackend(t), edgetest.Redis(t)
	hosts := sites(redis, b.URL, 5)
	n := launch(t, "routes: "+redis.URL(), nil)
	faulty(t, n, hosts, func() { redis.Restart(true) }, func() {})
	edgetest.WaitFor(t, "the absence of all sites to be held", func() bool { return strings.Contains(n.stderr.String(), "not believed") })
	for _, host := range hosts {
		if got := n.get(host, "/").Status; got != 200 {
			t.Errorf("%s was lost: %d", host, got)
		}
	}
	wantLive(t, n, redis, b.URL)
}

// A delay is a proxy that holds every piece back for a while, both ways.
type delay struct {
	address string
	by      atomic.Int64 // nanoseconds
}

func startDelay(t testing.TB, target string) *delay {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &delay{address: ln.Addr().String()}
	stop := make(chan struct{})
	var running sync.WaitGroup
	pass := func(from, to net.Conn) {
		defer from.Close()
		defer to.Close()
		buf := make([]byte, 32<<10)
		for {
			k, err := from.Read(buf)
			if err != nil {
				return
			}
			select {
			case <-time.After(time.Duration(d.by.Load())):
			case <-stop:
				return
			}
			if _, err := to.Write(buf[:k]); err != nil {
				return
			}
		}
	}
	var mu sync.Mutex
	var open []net.Conn
	running.Go(func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", target)
			if err != nil {
				client.Close()
				continue
			}
			mu.Lock()
			open = append(open, client, server)
			mu.Unlock()
			running.Go(func() { pass(client, server) })
			running.Go(func() { pass(server, client) })
		}
	})
	t.Cleanup(func() {
		close(stop)
		ln.Close()
		mu.Lock()
		for _, c := range open {
			c.Close()
		}
		mu.Unlock()
		running.Wait()
	})
	return d
}
