package rediscache

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/acme"
	"gatehouse/internal/edgetest"
)

// A fleet is some nodes that share a Redis, order from one Pebble, and stand behind one address: what Pebble asks is answered by one node after
// the other.
type fleet struct {
	redis  *edgetest.RedisServer
	pebble *edgetest.PebbleServer
	key    []byte

	httpPort int
	answers  sync.RWMutex // locked: the issuer gets none
	mu       sync.Mutex
	nodes    []*fleetNode // that answer the issuer
	all      []*fleetNode // that there ever were
	turn     atomic.Int64
}

type fleetNode struct {
	*acme.Manager
	name string
	log  *edgetest.Output
	data string
	stop func()
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	f := &fleet{redis: edgetest.Redis(t), key: []byte("0123456789abcdef0123456789abcdef")}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(f.answer)}
	done := make(chan error, 1)
	go func() { done <- server.Serve(ln) }()
	t.Cleanup(func() {
		_ = server.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	f.httpPort = ln.Addr().(*net.TCPAddr).Port
	f.pebble = edgetest.PebbleWith(t, edgetest.PebbleOptions{HTTPPort: f.httpPort})
	return f
}

func (f *fleet) answer(w http.ResponseWriter, r *http.Request) {
	f.answers.RLock()
	defer f.answers.RUnlock()
	f.mu.Lock()
	n := f.nodes[int(f.turn.Add(1))%len(f.nodes)]
	f.mu.Unlock()
	body, ok := n.Challenge(r.Host, r.URL.Path)
	if !ok {
		http.NotFound(w, r)
		return
	}
	_, _ = w.Write(body) // whoever asks comes again
}

// options are those of a node.
func (f *fleet) options(t *testing.T, name, data string, log *edgetest.Output) acme.Options {
	t.Helper()
	keys, err := acme.NewKeyring(f.key)
	if err != nil {
		t.Fatal(err)
	}
	return acme.Options{
		Data: data, Issuer: acme.IssuerACME, Known: func(string) bool { return true }, Node: name, Keys: keys, Shared: open(t, f.redis),
		ACME:   acme.ACME{Directory: f.pebble.DirectoryURL, Trust: f.pebble.TrustFile, Challenge: "http-01"},
		Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
}

func (f *fleet) join(t *testing.T, name, data string, adjust func(*acme.Options), hosts ...string) *fleetNode {
	t.Helper()
	n := &fleetNode{name: name, log: &edgetest.Output{}, data: data}
	o := f.options(t, name, data, n.log)
	if adjust != nil {
		adjust(&o)
	}
	var err error
	if n.Manager, err = acme.New(o); err != nil {
		t.Fatal(err)
	}
	changes := make([]acme.Change, len(hosts))
	for i, host := range hosts {
		changes[i] = acme.Change{Name: host}
	}
	n.Update(changes)
	f.mu.Lock()
	f.nodes, f.all = append(f.nodes, n), append(f.all, n)
	f.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	n.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("%s:\n%s", n.name, n.log)
		}
	})
	t.Cleanup(f.end)
	return n
}

// end stops all nodes at a time: each may wait for Redis for two seconds.
func (f *fleet) end() {
	var stops sync.WaitGroup
	for _, n := range f.all {
		stops.Go(n.stop)
	}
	stops.Wait()
}

// follow waits until so many nodes hear what others do.
func (f *fleet) follow(t *testing.T, count int) {
	t.Helper()
	edgetest.WaitFor(t, "nodes to follow", func() bool {
		return strings.Contains(f.redis.CLI("INFO", "clients"), fmt.Sprintf("blocked_clients:%d\r", count))
	})
}

// serves returns the certificate that a node serves for a host; nil unless it is the issuer's.
func (n *fleetNode) serves(t testing.TB, host string) *x509.Certificate {
	t.Helper()
	cert, err := n.GetCertificate(&tls.ClientHelloInfo{ServerName: host, SupportedProtos: []string{"http/1.1"}})
	if err != nil || cert == nil {
		t.Fatalf("%s: %s: %v", n.name, host, err)
	}
	if !n.Trusted(host) {
		return nil
	}
	x, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func (f *fleet) orders() int   { return strings.Count(f.pebble.Log(), "Issued certificate serial") }
func (f *fleet) accounts() int { return len(accountsMade.FindAllString(f.pebble.Log(), -1)) }
func (f *fleet) invalid() int {
	return strings.Count(f.pebble.Log(), "set INVALID by completed challenge")
}

var accountsMade = regexp.MustCompile(`There are now \d+ accounts`)

// pastLease is how long a node may take to have what another one orders where Redis does not answer in time now and then: who cannot ask it looks again
// after 15 s, and who could not give a lease back keeps it for 30.
const pastLease = time.Minute

func hostsOf(n int) []string {
	hosts := make([]string, n)
	for i := range hosts {
		hosts[i] = "h" + strconv.Itoa(i) + ".shop.test"
	}
	return hosts
}

// Eight nodes that all want the same certificates at once: each is ordered once, by one account, and all nodes have it. (autocert without
// more, four nodes, one host: seven orders, four accounts, three failed handshakes.)
func TestEightColdNodesOrderEachNameOnce(t *testing.T) {
	f := newFleet(t)
	hosts := hostsOf(24)
	if n, err := strconv.Atoi(os.Getenv("FLEET_HOSTS")); err == nil {
		hosts = hostsOf(n)
	}
	if testing.Short() {
		hosts = hosts[:4]
	}
	begin := time.Now()
	for i := range 8 {
		f.join(t, fmt.Sprint("n", i), t.TempDir(), nil, hosts...)
	}
	for _, host := range hosts {
		var first *x509.Certificate
		for _, n := range f.nodes {
			edgetest.WaitForWithin(t, pastLease, n.name+" to have "+host, func() bool { return n.serves(t, host) != nil })
			if x := n.serves(t, host); first == nil {
				first = x
			} else if !x.Equal(first) {
				t.Errorf("%s serves another certificate of %s", n.name, host)
			}
		}
	}
	t.Logf("%d nodes, %d hosts in %v: %d orders, %d accounts, %d failed validations", len(f.nodes), len(hosts), time.Since(begin).Round(time.Millisecond),
		f.orders(), f.accounts(), f.invalid())
	if f.orders() != len(hosts) || f.accounts() != 1 || f.invalid() != 0 {
		t.Errorf("%d orders of %d hosts, %d accounts, %d failed validations", f.orders(), len(hosts), f.accounts(), f.invalid())
	}
	f.spreads(t, "one-more.shop.test")
	// What is in Redis tells nothing.
	for key := range strings.FieldsSeq(f.redis.CLI("KEYS", "*")) {
		dump := f.redis.CLI("DUMP", key)
		if strings.Contains(dump, "PRIVATE KEY") || strings.Contains(dump, "CERTIFICATE") {
			t.Errorf("%s is not sealed", key)
		}
	}
}

// spreads has one more host ordered, now that all is quiet, and sees how soon after the first node all serve it: it is an event that tells them.
func (f *fleet) spreads(t *testing.T, host string) {
	t.Helper()
	before := f.orders()
	for _, n := range f.nodes {
		n.Update([]acme.Change{{Name: host}})
	}
	has := func(n *fleetNode) bool { return n.serves(t, host) != nil }
	edgetest.WaitForWithin(t, pastLease, "the first node to have "+host, func() bool { return slices.ContainsFunc(f.nodes, has) })
	first := time.Now()
	for _, n := range f.nodes {
		edgetest.WaitFor(t, n.name+" to have "+host, func() bool { return has(n) })
	}
	t.Logf("one more host: %d nodes have it %v after the first", len(f.nodes), time.Since(first).Round(time.Millisecond))
	if n := f.orders() - before; n != 1 {
		t.Errorf("%d orders of one host", n)
	}
}

// A node that is new, or has lost its folder, orders nothing; one that starts while Redis is away serves what its own folder has, sealed.
func TestNodeStartsFromWhatIsSharedAndFromItsFolder(t *testing.T) {
	f := newFleet(t)
	hosts := hostsOf(3)
	first := f.join(t, "n1", t.TempDir(), nil, hosts...)
	for _, host := range hosts {
		edgetest.WaitFor(t, host, func() bool { return first.serves(t, host) != nil })
	}
	second := f.join(t, "n2", t.TempDir(), nil, hosts...)
	for _, host := range hosts { // the first handshake asks for it
		if x := second.serves(t, host); x == nil || !x.Equal(first.serves(t, host)) {
			t.Errorf("n2 has no certificate of %s", host)
		}
	}
	data := second.data
	second.stop()
	f.redis.Stop()
	third := f.join(t, "n2", data, nil, hosts...)
	for _, host := range hosts {
		if x := third.serves(t, host); x == nil || !x.Equal(first.serves(t, host)) {
			t.Errorf("n2 has no certificate of %s while Redis is away", host)
		}
	}
	// With another key nobody can read the folder.
	third.stop()
	f.key = []byte("another key of 32 bytes, for one")
	stranger := f.join(t, "n2", data, nil, hosts...)
	if stranger.serves(t, hosts[0]) != nil {
		t.Error("a certificate was opened without its key")
	}
	edgetest.WaitFor(t, "the log to say so", func() bool { return strings.Contains(stranger.log.String(), "not sealed by any of seal_keys") })
	if f.orders() != len(hosts) {
		t.Errorf("%d orders of %d hosts", f.orders(), len(hosts))
	}
}

// A change of key: both are known for a while.
func TestKeysAreChangedInTwoSteps(t *testing.T) {
	f := newFleet(t)
	first := f.join(t, "n1", t.TempDir(), nil, "a.shop.test")
	edgetest.WaitFor(t, "the certificate", func() bool { return first.serves(t, "a.shop.test") != nil })
	second := f.join(t, "n2", t.TempDir(), func(o *acme.Options) {
		keys, err := acme.NewKeyring([]byte("another key of 32 bytes, for one"), f.key)
		if err != nil {
			t.Fatal(err)
		}
		o.Keys = keys
	}, "a.shop.test")
	if second.serves(t, "a.shop.test") == nil {
		t.Error("what the old key has sealed is not read")
	}
}

// A cold name and a Redis that hangs cost nobody else anything, and the handshake itself little.
func TestRedisThatHangsHoldsUpNoHandshake(t *testing.T) {
	f := newFleet(t)
	n := f.join(t, "n1", t.TempDir(), nil, "warm.shop.test")
	edgetest.WaitFor(t, "the certificate", func() bool { return n.serves(t, "warm.shop.test") != nil })
	cold := f.join(t, "n2", t.TempDir(), nil, append(hostsOf(64), "warm.shop.test")...)
	if cold.serves(t, "warm.shop.test") == nil {
		t.Fatal("n2 has not got the certificate")
	}
	f.redis.Suspend()
	defer f.redis.Resume()
	var clients sync.WaitGroup
	end := make(chan struct{})
	for i := range 64 {
		clients.Go(func() {
			for {
				select {
				case <-end:
					return
				default:
					cold.serves(t, "h"+strconv.Itoa(i)+".shop.test")
				}
			}
		})
	}
	var longest time.Duration
	for range 1000 {
		begin := time.Now()
		if cold.serves(t, "warm.shop.test") == nil {
			t.Fatal("the warm name is not served")
		}
		longest = max(longest, time.Since(begin))
	}
	close(end)
	clients.Wait()
	t.Logf("longest of 1,000 look-ups of a name that is loaded: %v", longest)
}

// An order that one node has failed is repeated neither by the next one, nor after restarts, nor because clients come; by hand it is. Each attempt
// costs one failed validation, by whatever challenge.
func TestFailuresAreSharedByAllNodes(t *testing.T) {
	f := newFleet(t)
	f.pebble = edgetest.PebbleWith(t, edgetest.PebbleOptions{}) // which reaches nobody
	for _, challenge := range []string{"http-01", "tls-alpn-01"} {
		t.Run(challenge, func(t *testing.T) {
			broken := []acme.Change{{Name: "broken.shop.test"}}
			f, before := &fleet{redis: edgetest.Redis(t), pebble: f.pebble, key: f.key}, f.invalid()
			adjust := func(o *acme.Options) { o.ACME.Challenge = challenge }
			for i := range 3 {
				f.join(t, fmt.Sprint("n", i), t.TempDir(), adjust)
			}
			f.follow(t, 3)
			for _, n := range f.nodes {
				n.Update(broken)
			}
			waits := func(n *fleetNode) {
				t.Helper()
				edgetest.WaitFor(t, n.name+" to know that it failed", func() bool {
					n.shown(t, "broken.shop.test")
					st := n.List()[0]
					return st.LastError != "" && time.Until(st.NextTry) > 5*time.Minute
				})
			}
			for _, n := range f.nodes {
				waits(n)
			}
			f.nodes[0].stop()
			again := f.join(t, "n0", f.nodes[0].data, adjust, "broken.shop.test")
			waits(again)
			if n := f.invalid() - before; n != 1 {
				t.Errorf("%d failed validations on %d nodes", n, len(f.nodes))
			}
			if err := again.Renew("broken.shop.test"); err != nil {
				t.Fatal(err)
			}
			edgetest.WaitFor(t, "an attempt by hand", func() bool { return f.invalid()-before == 2 })
		})
	}
}

// A node that begins to share keeps what it has: neither its certificates nor its account are made anew, and so it is where Redis was emptied.
func TestNodeThatBeginsToShareOrdersNothingAgain(t *testing.T) {
	f := newFleet(t)
	single := func(o *acme.Options) { o.Shared, o.Keys = nil, nil }
	first := f.join(t, "n1", t.TempDir(), single, "a.shop.test")
	edgetest.WaitFor(t, "the certificate", func() bool { return first.serves(t, "a.shop.test") != nil })
	was := first.serves(t, "a.shop.test")
	for range 2 {
		first.stop()
		f.nodes = nil
		f.redis.CLI("FLUSHALL")
		first = f.join(t, "n1", first.data, nil, "a.shop.test", "b.shop.test")
		for _, key := range []string{"edge:cert:{a.shop.test}", "edge:cert:{b.shop.test}"} {
			edgetest.WaitFor(t, key+" to be shared", func() bool { return f.redis.CLI("EXISTS", key) == "1" })
		}
		second := f.join(t, "n2", t.TempDir(), nil, "a.shop.test", "b.shop.test")
		for _, n := range f.nodes {
			edgetest.WaitFor(t, n.name+" to have both", func() bool { return n.serves(t, "a.shop.test") != nil && n.serves(t, "b.shop.test") != nil })
		}
		if !second.serves(t, "a.shop.test").Equal(was) {
			t.Error("it was ordered again")
		}
		second.stop()
	}
	if f.orders() != 2 || f.accounts() != 1 {
		t.Errorf("%d orders of two names, %d accounts", f.orders(), f.accounts())
	}
}

// A Redis that is emptied while nodes run gets back what they have, the account too, within seconds and not at the next full look: a node that starts then
// orders nothing.
func TestEmptiedRedisIsFilledAgainBeforeANewNodeOrders(t *testing.T) {
	f := newFleet(t)
	first := f.join(t, "n1", t.TempDir(), nil, "a.shop.test")
	edgetest.WaitFor(t, "the certificate", func() bool { return first.serves(t, "a.shop.test") != nil })
	f.redis.CLI("FLUSHALL")
	for _, key := range []string{"edge:cert:{a.shop.test}", "edge:gatehouse:{acme}:*:account"} {
		edgetest.WaitFor(t, key+" to be shared again", func() bool { return strings.TrimSpace(f.redis.CLI("KEYS", key)) != "" })
	}
	second := f.join(t, "n2", t.TempDir(), nil, "a.shop.test", "b.shop.test")
	for _, host := range []string{"a.shop.test", "b.shop.test"} {
		edgetest.WaitFor(t, host+" on the new node", func() bool { return second.serves(t, host) != nil })
	}
	if !second.serves(t, "a.shop.test").Equal(first.serves(t, "a.shop.test")) || f.orders() != 2 || f.accounts() != 1 {
		t.Errorf("%d orders of two names, %d accounts", f.orders(), f.accounts())
	}
}
