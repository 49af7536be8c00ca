package redisstore

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
	"gatehouse/internal/redisconn"
	"gatehouse/routes"
	"gatehouse/routes/routestest"
)

// openURL returns a store over a Redis of any kind.
func openURL(t *testing.T, url string, o Options) *Store {
	t.Helper()
	opts, err := redisconn.Parse(url)
	if err != nil {
		t.Fatal(err)
	}
	client, err := redisconn.Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	s, err := Open(client, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func fillCluster(c *edgetest.RedisCluster, sites int) {
	var commands strings.Builder
	for i := range sites {
		fmt.Fprintf(&commands, "RPUSH frontend:h%d.test shop http://127.0.0.1:9000\n", i)
	}
	c.CLIInput(commands.String())
}

func TestContractInACluster(t *testing.T) {
	t.Parallel()
	cluster := edgetest.StartRedisCluster(t, 3, 0)
	routestest.TestStore(t, func(t *testing.T) routestest.Fixture {
		for _, node := range cluster.Nodes {
			node.CLI("FLUSHALL")
		}
		s := openURL(t, cluster.URL()+"#edge:", Options{})
		return routestest.Fixture{
			Store: s,
			Write: func(_ *testing.T, doc routes.Key, text string) {
				cluster.CLI("SET", canonical(s.prefix, doc, partJSON), text)
			},
			Remove: func(_ *testing.T, doc routes.Key) { cluster.CLI("DEL", canonical(s.prefix, doc, partJSON)) },
		}
	})
}

// losses follows a store and counts how often a site was gone, however shortly.
func losses(t *testing.T, s *Store, sites int) (w *routestest.Followed, lost func() int) {
	t.Helper()
	w = routestest.Follow(t, s, "")
	untilLen(w, sites)
	ctx, cancel := context.WithCancel(t.Context())
	var n atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		for table := w.Table(); ctx.Err() == nil; {
			next := w.Table()
			if next != table && next.Len() < sites {
				n.Add(1)
			}
			table = next
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Microsecond):
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return w, func() int { return int(n.Load()) }
}

func TestClusterReshardLosesNoSite(t *testing.T) {
	t.Parallel()
	cluster := edgetest.StartRedisCluster(t, 3, 0)
	const sites = 300
	fillCluster(cluster, sites)
	w, lost := losses(t, openURL(t, cluster.URL(), Options{}), sites)
	from, to := cluster.Nodes[0], cluster.Nodes[1]
	moved := 2000 // slots
	if full() {
		moved = 5461 // all that the first one has: it is no master any more
	}
	from.CLI("--cluster", "reshard", from.Addr(), "--cluster-from", from.CLI("CLUSTER", "MYID"), "--cluster-to", to.CLI("CLUSTER", "MYID"),
		"--cluster-slots", fmt.Sprint(moved), "--cluster-yes")
	for i := range sites / 10 { // some of them have moved
		cluster.CLI("RPUSH", fmt.Sprintf("frontend:h%d.test", i), "http://127.0.0.1:9001")
	}
	w.Until("changes at the new places act", func(table *routes.Table) bool {
		for i := range sites / 10 {
			if len(table.Vhost(fmt.Sprintf("h%d.test", i)).Vhost.Backends) != 2 {
				return false
			}
		}
		return true
	})
	if n := lost(); n > 0 || w.Table().Len() != sites {
		t.Errorf("sites were lost %d times, %d are left", n, w.Table().Len())
	}
}

func TestClusterMasterThatIsEmptiedLosesNoSite(t *testing.T) {
	t.Parallel()
	cluster := edgetest.StartRedisCluster(t, 3, 0)
	const sites = 60
	fillCluster(cluster, sites)
	w, lost := losses(t, openURL(t, cluster.URL(), Options{}), sites)
	cluster.Nodes[1].CLI("FLUSHALL") // a third of all, but all of its own
	w.Until("its sites are held", func(*routes.Table) bool { return w.Status().Held > 5 })
	held := w.Status().Held
	cluster.CLI("SET", "vhost:new.test", `{"backends":["http://127.0.0.1:9001"]}`)
	untilLen(w, sites+1)
	cluster.CLI("SET", "gatehouse:accept-loss", "1")
	untilLen(w, sites+1-held)
	if n := lost(); n > 1 { // the last one was asked for
		t.Errorf("sites were lost %d times", n)
	}
}

// TestClusterFailoverIsFollowed kills a master that has a replica.
func TestClusterFailoverIsFollowed(t *testing.T) {
	if !full() {
		t.Skip("six servers: make faults")
	}
	cluster := edgetest.StartRedisCluster(t, 3, 1)
	const sites = 100
	fillCluster(cluster, sites)
	w, lost := losses(t, openURL(t, cluster.URL(), Options{}), sites)
	for name, fail := range map[string]func(s *edgetest.RedisServer){
		"hung":   (*edgetest.RedisServer).Suspend,
		"killed": (*edgetest.RedisServer).Kill,
	} {
		victim := cluster.Masters()[0]
		witness := cluster.Masters()[1]
		begin := time.Now()
		fail(victim)
		eventually(t, "a replica takes over", func() bool {
			serving, failed := 0, false
			for line := range strings.Lines(witness.CLI("CLUSTER", "NODES")) {
				if strings.Contains(line, "master ") && !strings.Contains(line, "fail") {
					serving++
				}
				failed = failed || strings.Contains(line, victim.Addr()) && strings.Contains(line, ",fail ")
			}
			return serving == 3 && failed
		})
		over := time.Now()
		witness.CLI("-c", "SET", "vhost:"+name+".test", `{"backends":["http://127.0.0.1:9001"]}`)
		for i := range sites {
			witness.CLI("-c", "RPUSH", fmt.Sprintf("frontend:h%d.test", i), "http://127.0.0.1:9001")
		}
		w.Until("changes act again", func(table *routes.Table) bool {
			return table.Match(name+".test") != nil && len(table.Vhost("h99.test").Vhost.Backends) > 1
		})
		t.Logf("%s: a replica took over after %v, followed %v later", name, over.Sub(begin).Round(time.Millisecond), time.Since(over).Round(time.Millisecond))
		if took := time.Since(over); took > 10*time.Second {
			t.Errorf("%s: followed %v after the failover", name, took)
		}
		victim.Resume()
	}
	if n := lost(); n > 0 {
		t.Errorf("sites were lost %d times", n)
	}
}

// full reports whether `make faults` runs.
func full() bool { return os.Getenv("GATEHOUSE_FAULTS") == "full" }
