package e2e

import (
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
)

// timed makes a full handshake under a name, and says how long it took and who has issued the certificate.
func (n *node) timed(host string) (took time.Duration, issuer string, err error) {
	begin := time.Now()
	dialer := &net.Dialer{Timeout: edgetest.Patience, Deadline: time.Now().Add(edgetest.Patience)}
	conn, err := tls.DialWithDialer(dialer, "tcp", n.https, &tls.Config{ServerName: host, InsecureSkipVerify: true}) //nolint:gosec // who has issued it is looked at
	if err != nil {
		return 0, "", err
	}
	defer conn.Close()
	return time.Since(begin), conn.ConnectionState().PeerCertificates[0].Issuer.CommonName, nil
}

// shakes makes handshakes of names in turn, for some seconds at most, and returns how long they took, shortest first. All must be the issuer's.
func (n *node) shakes(hosts []string) (all []time.Duration) {
	n.t.Helper()
	for end := time.Now().Add(scaled(2*time.Second, 10*time.Second)); len(all) < len(hosts) || len(all) < 2000 && time.Now().Before(end); {
		host := hosts[len(all)%len(hosts)]
		took, issuer, err := n.timed(host)
		if err != nil || !strings.Contains(issuer, "Pebble") {
			n.t.Fatalf("%s: %q, %v", host, issuer, err)
		}
		all = append(all, took)
	}
	slices.Sort(all)
	return all
}

// percentiles are the median and the 99th percentile of sorted times.
func percentiles(sorted []time.Duration) (p50, p99 time.Duration) {
	return sorted[len(sorted)/2], sorted[len(sorted)*99/100]
}

// crowdOf has so many clients make handshakes of names, each another one, until end is called, which returns how many there were and what went wrong.
func (n *node) crowdOf(clients int, host func(i int) string) (end func() (count int, failed error)) {
	var turn, count atomic.Int64
	var failed atomic.Pointer[error]
	var all sync.WaitGroup
	stop := make(chan struct{})
	for range clients {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(100 * time.Millisecond): // so that it is not this machine's processors that the others wait for
				}
				if _, _, err := n.timed(host(int(turn.Add(1)))); err != nil {
					failed.Store(&err)
				}
				count.Add(1)
			}
		})
	}
	return func() (int, error) {
		close(stop)
		all.Wait()
		if err := failed.Load(); err != nil {
			return int(count.Load()), *err
		}
		return int(count.Load()), nil
	}
}

// A node that starts while Redis is away, or hangs, serves every certificate that it had, from its sealed folder, and resumes sessions of before.
// While Redis hangs, 64 clients that come for names whose certificates may only be there wait a quarter of a second each, and nobody else
// waits with them.
func TestNodeStartsWithoutRedisAndColdNamesHoldUpNobody(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	f := startFleet(t, 1)
	n := f.nodes[0]
	hosts := []string{"a.shop.test", "b.shop.test", "c.shop.test", "d.shop.test"}
	for _, host := range hosts {
		f.redis.CLI("rpush", "frontend:"+host, "shop", b.URL)
	}
	for _, host := range hosts {
		edgetest.WaitFor(t, "a certificate of "+host, func() bool { return f.issued(n, host) })
	}
	client := newHopper(t, tls.VersionTLS13)
	if _, err := client.resumes(n, hosts[0]); err != nil {
		t.Fatal(err)
	}
	cold := n.learnCold(f, b.URL)

	f.redis.Stop()
	begin := time.Now()
	n.start()
	t.Logf("ready %v after a start without Redis", time.Since(begin).Round(time.Millisecond))
	n.shakes(hosts)
	if resumed, err := client.resumes(n, hosts[0]); !resumed || err != nil {
		t.Errorf("a session of before the start: resumed is %v, %v", resumed, err)
	}
	if _, issuer, err := n.timed(cold(0)); err != nil || strings.Contains(issuer, "Pebble") {
		t.Errorf("a name without certificate: %q, %v", issuer, err)
	}
	n.stop()

	f.redis.Restart(false)
	f.redis.Suspend()
	begin = time.Now()
	n.start()
	t.Logf("ready %v after a start with a Redis that hangs", time.Since(begin).Round(time.Millisecond))
	calm50, calm99 := percentiles(n.shakes(hosts))
	t.Logf("handshakes of loaded names while Redis hangs, p50 and p99: %v %v", calm50, calm99)
	beside := func(what string, name func(i int) string) (p50, waited time.Duration, count int) {
		end := n.crowdOf(64, name)
		p50, p99 := percentiles(n.shakes(hosts))
		var err error
		waited, _, err = n.timed(name(coldNames - 1))
		count, failed := end()
		if failed != nil || err != nil {
			t.Errorf("a handshake of a %s name: %v, %v", what, failed, err)
		}
		t.Logf("beside 64 clients with %d handshakes of %s names: %v %v; one of theirs takes %v", count, what, p50, p99, waited)
		return p50, waited, count
	}
	if full() { // what the clients themselves cost
		beside("loaded", func(i int) string { return hosts[i%len(hosts)] })
	}
	cold50, waited, asked := beside("cold", cold)
	if cold50 >= max(250*time.Millisecond, waited/2) { // who waits for Redis waits 250 ms, and beside 64 clients on a loaded machine longer
		t.Errorf("half of the handshakes of loaded names take %v or more, one of a cold name %v: they wait for Redis", cold50, waited)
	}
	if asked < 64 {
		t.Errorf("the clients have asked for %d cold names only", asked)
	}
}

const coldNames = 3000

// learnCold has a node know names without certificates, and stops it: while it orders nothing, it follows the routes.
func (n *node) learnCold(f *fleet, backend string) func(i int) string {
	n.t.Helper()
	n.stop()
	environ := n.environ
	n.environ = append(slices.Clone(environ), "GATEHOUSE_CERTIFICATES_ISSUER=internal")
	n.start()
	cold := func(i int) string { return fmt.Sprintf("cold%d.shop.test", i%coldNames) }
	var commands strings.Builder
	for i := range coldNames {
		fmt.Fprintf(&commands, "rpush frontend:%s shop %s\n", cold(i), backend)
	}
	f.redis.CLIInput(commands.String())
	edgetest.WaitFor(n.t, "the last cold name", func() bool { return n.status(cold(coldNames-1), "/") == 200 })
	n.stop()
	n.environ = environ
	return cold
}
