package e2e

import (
	"fmt"
	"strings"
	"testing"

	"gatehouse/internal/edgetest"
)

// The master dies under load: its replica takes its place, and the node follows it.
func TestFaultSentinelFailover(t *testing.T) {
	t.Parallel()
	b, master := edgetest.NewBackend(t), edgetest.Redis(t, "--repl-diskless-sync-delay", "0")
	hosts := sites(master, b.URL, 5)
	_, port, _ := strings.Cut(master.Addr(), ":")
	replica := edgetest.Redis(t, "--replicaof", "127.0.0.1 "+port)
	_, replicaPort, _ := strings.Cut(replica.Addr(), ":")
	edgetest.WaitFor(t, "the replica to be in step", func() bool {
		return strings.Contains(replica.CLI("INFO", "replication"), "master_link_status:up")
	})
	sentinel := edgetest.Sentinel(t, port)
	edgetest.WaitFor(t, "the Sentinel to know the replica", func() bool {
		return strings.Contains(sentinel.CLI("SENTINEL", "REPLICAS", "main"), replicaPort)
	})
	n := launch(t, "routes: redis+sentinel://"+sentinel.Addr()+"/main", nil)
	faulty(t, n, hosts, master.Kill, func() {})
	edgetest.WaitFor(t, "the replica to be the master", func() bool {
		return strings.Contains(sentinel.CLI("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main"), replicaPort)
	})
	wantLive(t, n, replica, b.URL)
	for _, host := range hosts {
		if got := n.get(host, "/").Status; got != 200 {
			t.Errorf("%s was lost: %d", host, got)
		}
	}
}

// Slots of a Cluster move under load.
func TestFaultClusterReshard(t *testing.T) {
	t.Parallel()
	b, cluster := edgetest.NewBackend(t), edgetest.StartRedisCluster(t, 3, 0)
	var commands strings.Builder
	hosts := make([]string, 12)
	for i := range hosts {
		hosts[i] = fmt.Sprintf("s%d.test", i)
		fmt.Fprintf(&commands, "rpush frontend:%s shop %s\nset vhost:%s {\"waf\":{\"mode\":\"off\"}}\n", hosts[i], b.URL, hosts[i])
	}
	cluster.CLIInput(commands.String())
	n := launch(t, "routes: "+cluster.URL(), nil)
	from, to := cluster.Nodes[0], cluster.Nodes[1]
	faulty(t, n, hosts, func() {
		from.CLI("--cluster", "reshard", from.Addr(), "--cluster-from", from.CLI("CLUSTER", "MYID"), "--cluster-to", to.CLI("CLUSTER", "MYID"),
			"--cluster-slots", "2000", "--cluster-yes")
	}, func() {})
	cluster.CLI("rpush", "frontend:later.test", "shop", b.URL)
	n.within("later.test", 200)
	for _, host := range hosts {
		if got := n.get(host, "/").Status; got != 200 {
			t.Errorf("%s was lost: %d", host, got)
		}
	}
}

// The node's connections to Redis are cut again and again, that on which it hears of changes among them.
func TestFaultRedisConnectionsAreCut(t *testing.T) {
	t.Parallel()
	b, redis := edgetest.NewBackend(t), edgetest.Redis(t)
	hosts := sites(redis, b.URL, 5)
	n := launch(t, "routes: "+redis.URL(), nil)
	faulty(t, n, hosts, func() {
		for range 20 {
			redis.CLI("CLIENT", "KILL", "TYPE", "normal")
			redis.CLI("CLIENT", "KILL", "TYPE", "pubsub")
		}
	}, func() {})
	wantLive(t, n, redis, b.URL)
}
