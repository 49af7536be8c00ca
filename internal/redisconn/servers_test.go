package redisconn

import (
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"gatehouse/internal/edgetest"
)

// stranger takes connections at an address, and counts them.
func stranger(t *testing.T) (addr string, came *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	came = &atomic.Int64{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			came.Add(1)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return l.Addr().String(), came
}

// An address that was a server's once, and is a stranger's now, gets no connection, and so no password, when the topology is asked for.
func TestAnAddressThatChangedHandsIsNotAsked(t *testing.T) {
	t.Parallel()
	redis := edgetest.Redis(t, "--cluster-enabled", "yes", "--cluster-require-full-coverage", "no")
	redis.CLI("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
	redis.CLI("ACL", "SETUSER", "node", "on", ">secret", "~*", "+@all")
	c := client(t, "redis+cluster://node:secret@"+redis.Addr())
	addr, came := stranger(t)
	if _, err := c.dialTo(t.Context(), addr); err == nil { // it was a server of the Cluster's
		t.Fatal("it is one")
	}
	edgetest.WaitFor(t, "the connection", func() bool { return came.Load() == 1 })
	for range 3 {
		s, err := c.Session(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Check(); err != nil {
			t.Error(err)
		}
		if got := c.Servers(); !slices.Equal(got, []string{redis.Addr()}) {
			t.Errorf("servers %v, want %s alone", got, redis.Addr())
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if came.Load() != 1 {
		t.Error("the stranger was asked for the topology")
	}
}

// What there is a connection with is a server, named or not, until the connection is closed.
func TestServersAreThoseOfOpenConnections(t *testing.T) {
	t.Parallel()
	named, other := edgetest.Redis(t), edgetest.Redis(t)
	c := client(t, named.URL())
	var conns []*Conn
	for range 2 {
		conn, err := c.dialTo(t.Context(), other.Addr())
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	for _, conn := range conns {
		if !slices.Contains(c.Servers(), other.Addr()) || !slices.Contains(c.Servers(), named.Addr()) {
			t.Errorf("servers %v", c.Servers())
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
	if slices.Contains(c.Servers(), other.Addr()) {
		t.Errorf("servers %v", c.Servers())
	}
}

// Where a name has led counts as long as the connection is open, whatever the name leads to by then.
func TestAServerIsKnownByNameAndByAddress(t *testing.T) {
	t.Parallel()
	redis := edgetest.Redis(t)
	_, port, err := net.SplitHostPort(redis.Addr())
	if err != nil {
		t.Fatal(err)
	}
	named := net.JoinHostPort("localhost", port)
	c := client(t, "redis://"+named)
	conn, err := c.dialTo(t.Context(), named)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Servers(); !slices.Equal(got, []string{redis.Addr(), named}) {
		t.Errorf("servers %v", got)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	if got := c.Servers(); !slices.Equal(got, []string{named}) {
		t.Errorf("closed, and servers %v", got)
	}
}

// The replicas that Sentinels know are servers, the master of before a failover among them: no connection leads there.
func TestServersAreTheReplicasOfTheSentinels(t *testing.T) {
	t.Parallel()
	master := edgetest.Redis(t)
	_, port, _ := net.SplitHostPort(master.Addr())
	replica := edgetest.Redis(t, "--replicaof", "127.0.0.1 "+port)
	_, replicaPort, _ := net.SplitHostPort(replica.Addr())
	sentinel := edgetest.Sentinel(t, port)
	c := client(t, "redis+sentinel://"+sentinel.Addr()+"/main")
	edgetest.WaitFor(t, "the Sentinel to know the replica", func() bool { return strings.Contains(sentinel.CLI("SENTINEL", "REPLICAS", "main"), replicaPort) })
	s, err := c.Session(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	want := sorted([]string{master.Addr(), replica.Addr(), sentinel.Addr()})
	if got := c.Servers(); !slices.Equal(got, want) {
		t.Errorf("servers %v, want %v", got, want)
	}
}
