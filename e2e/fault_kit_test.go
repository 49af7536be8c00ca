package e2e

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

// The fault tests have two sizes: a small one, and with GATEHOUSE_FAULTS=full
// (`make faults`) the one that docs/security.md promises.
func full() bool { return faultSize == "full" }

// faultSize is taken out of the environment: serve takes a name with this prefix
// for a setting.
var faultSize = func() string {
	defer os.Unsetenv("GATEHOUSE_FAULTS")
	return os.Getenv("GATEHOUSE_FAULTS")
}()

// scaled is a number for either size.
func scaled[T any](small, large T) T {
	if full() {
		return large
	}
	return small
}

// slack is what a loaded machine may add to a promised time.
const slack = 4 * time.Second

// quick is the settings line of a vhost whose faults are not the WAF's.
const quick = "waf: {mode: off}"

// source spreads clients over 127.0.0.0/8, at most 100 for each address.
func source(i int) net.Addr {
	i /= 100
	return &net.TCPAddr{IP: net.IPv4(127, 1, byte(i>>8), byte(i))}
}

// dialFrom opens the i-th client's connection.
func dialFrom(i int, address string) (net.Conn, error) {
	d := net.Dialer{LocalAddr: source(i), Timeout: 20 * time.Second}
	return d.Dial("tcp", address)
}

// A visitor is a good client: one request after the other over a kept
// connection, with a time limit for each.
type visitor struct {
	address, host string
	limit         time.Duration
	config        *tls.Config // nil: plain
	from          int         // the number of its source address

	conn net.Conn
	r    *bufio.Reader
}

// ask sends one request and returns the status, how long the whole answer took,
// and an error if there was no whole answer.
func (v *visitor) ask(request string) (status int, took time.Duration, err error) {
	begin := time.Now()
	defer func() {
		took = time.Since(begin)
		if err != nil {
			v.close()
		}
	}()
	if v.conn == nil {
		if err := v.dial(); err != nil {
			return 0, 0, err
		}
	}
	if err := v.conn.SetDeadline(begin.Add(v.limit)); err != nil {
		return 0, 0, err
	}
	if _, err := io.WriteString(v.conn, request); err != nil {
		return 0, 0, err
	}
	resp, err := http.ReadResponse(v.r, nil)
	if err != nil {
		return 0, 0, err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return resp.StatusCode, 0, err
	}
	if resp.Close {
		v.close()
	}
	return resp.StatusCode, 0, nil
}

func (v *visitor) dial() error {
	d := net.Dialer{LocalAddr: source(v.from), Timeout: v.limit}
	conn, err := d.Dial("tcp", v.address)
	if err != nil {
		return err
	}
	if v.config != nil {
		conn = tls.Client(conn, v.config)
	}
	v.conn, v.r = conn, bufio.NewReader(conn)
	return nil
}

func (v *visitor) get(target string) (int, time.Duration, error) {
	return v.ask("GET " + target + " HTTP/1.1\r\nHost: " + v.host + "\r\n\r\n")
}

func (v *visitor) post(target, body string) (int, time.Duration, error) {
	return v.ask(fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n%s", target, v.host, len(body), body))
}

func (v *visitor) close() {
	if v.conn != nil {
		v.conn.Close()
		v.conn = nil
	}
}

// A crowd is good clients, one for each host, that go on until they are stopped
// and want 200 every time.
type crowd struct {
	hosts  []string
	target string        // default "/"
	pause  time.Duration // after each request
	config *tls.Config   // not nil: over TLS
	fresh  bool          // a new connection for every request

	stop chan struct{}
	all  sync.WaitGroup

	mu     sync.Mutex
	took   []time.Duration
	failed []string
}

// visit starts a crowd's clients.
func visit(n *node, c *crowd) *crowd {
	c.stop = make(chan struct{})
	address := n.http
	if c.config != nil {
		address = n.https
	}
	if c.target == "" {
		c.target = "/"
	}
	for i, host := range c.hosts {
		v := &visitor{address: address, host: host, limit: 20 * time.Second, from: 1_000_000 + i, config: c.config}
		c.all.Go(func() { c.run(v) })
	}
	return c
}

func (c *crowd) run(v *visitor) {
	defer v.close()
	for {
		status, took, err := v.get(c.target)
		c.mu.Lock()
		c.took = append(c.took, took)
		if err != nil || status != 200 {
			c.failed = append(c.failed, fmt.Sprintf("%s: status %d, %v after %v", v.host, status, err, took))
		}
		c.mu.Unlock()
		if c.fresh {
			v.close()
		}
		select {
		case <-c.stop:
			return
		case <-time.After(c.pause):
		}
	}
}

// end stops the clients and returns how long their requests took and which failed.
func (c *crowd) end() (times, []string) {
	close(c.stop)
	c.all.Wait()
	return c.took, c.failed
}

type times []time.Duration

// percentile p of the times, 0 of none.
func (d times) percentile(p int) time.Duration {
	if len(d) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(d))
	return s[min(len(s)-1, len(s)*p/100)]
}

// wantUnmoved compares a good client's times with those before the fault. The small
// size runs beside other tests, whose load moves the slowest requests: there it is the median that must
// not move, and one request of ten may wait for what others do, but not as long as for what is broken.
func wantUnmoved(t testing.TB, before, during times) {
	t.Helper()
	t.Logf("good clients: p50 %v, p99 %v of %d before; p50 %v, p99 %v of %d during",
		before.percentile(50), before.percentile(99), len(before), during.percentile(50), during.percentile(99), len(during))
	limits := map[int]time.Duration{50: max(10*before.percentile(50), 500*time.Millisecond), 90: 2 * time.Second}
	if full() {
		was := before.percentile(99)
		limits = map[int]time.Duration{99: max(3*was, was+50*time.Millisecond)}
	}
	for percentile, limit := range limits {
		if p := during.percentile(percentile); p > limit {
			t.Errorf("p%d of good clients is %v, more than %v", percentile, p, limit)
		}
	}
}

// wantNone fails the test with the first few of the failures.
func wantNone(t testing.TB, what string, failures []string) {
	t.Helper()
	if len(failures) > 0 {
		t.Errorf("%s: %d failed, the first: %v", what, len(failures), failures[:min(3, len(failures))])
	}
}

// number is a metric without labels, as a number; 0 if it is absent.
func (n *node) number(name string) float64 {
	n.t.Helper()
	v, err := strconv.ParseFloat(n.metric(name), 64)
	if err != nil {
		return 0
	}
	return v
}

// goroutines is how many the node runs.
func (n *node) goroutines() int { return int(n.number("go_goroutines")) }

// alive fails the test at once if the node has ended.
func (n *node) alive() {
	n.t.Helper()
	select {
	case <-n.ended:
		n.t.Fatalf("serve has ended: %v\n%s", n.err, tail(n.stderr.String(), 3000))
	default:
	}
}

// script is a backend that is not HTTP's: play gets each connection after a
// request's head has been read, with its number, and what it returns on is closed.
type script struct {
	url   string
	mu    sync.Mutex
	heads []string // request lines, in the order in which they came
}

func scripted(t testing.TB, play func(c net.Conn, r *bufio.Reader, line string)) *script {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &script{url: "http://" + ln.Addr().String()}
	var running sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	running.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[c] = true
			mu.Unlock()
			running.Go(func() {
				defer func() { mu.Lock(); delete(open, c); mu.Unlock(); c.Close() }()
				r := bufio.NewReader(c)
				for {
					line, err := readHead(r)
					if err != nil {
						return
					}
					s.mu.Lock()
					s.heads = append(s.heads, line)
					s.mu.Unlock()
					play(c, r, line)
					if s.over(c) {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		mu.Lock()
		for c := range open {
			c.Close()
		}
		mu.Unlock()
		running.Wait()
	})
	return s
}

// over reports whether play has closed the connection.
func (s *script) over(c net.Conn) bool { return c.SetDeadline(time.Time{}) != nil }

// lines are the request lines in the order in which they came.
func (s *script) lines() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.heads)
}

func (s *script) deliveries() int { return len(s.lines()) }

// readHead reads a request's head and returns its first line.
func readHead(r *bufio.Reader) (string, error) {
	first := ""
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return "", err
		}
		if line == "\r\n" {
			return first, nil
		}
		if first == "" {
			first = line
		}
	}
}
