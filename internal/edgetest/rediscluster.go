package edgetest

import (
	"fmt"
	"strings"
	"testing"
)

// A RedisCluster is several redis-server processes that form a Redis Cluster.
type RedisCluster struct {
	// Nodes are the masters, then their replicas.
	Nodes []*RedisServer

	t testing.TB
}

// StartRedisCluster starts a Cluster of at least three masters with as many
// replicas each, and waits until all its slots are served. Redis 7 or newer;
// an older one skips the test. args are further settings of each server.
func StartRedisCluster(t testing.TB, masters, replicas int, args ...string) *RedisCluster {
	t.Helper()
	c := &RedisCluster{t: t}
	create := []string{"--cluster", "create"}
	for range masters * (1 + replicas) {
		// By default the bus has the port + 10000, which may be none.
		node := Redis(t, append([]string{
			"--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-port", freePort(t),
			"--cluster-node-timeout", "2000", "--repl-diskless-sync-delay", "0",
		}, args...)...)
		c.Nodes = append(c.Nodes, node)
		create = append(create, node.Addr())
	}
	c.Nodes[0].CLI(append(create, "--cluster-replicas", fmt.Sprint(replicas), "--cluster-yes")...)
	for _, node := range c.Nodes {
		WaitFor(t, "the cluster is up", func() bool {
			return strings.Contains(node.CLI("CLUSTER", "INFO"), "cluster_state:ok")
		})
	}
	return c
}

// URL is redis+cluster://h1,h2,….
func (c *RedisCluster) URL() string {
	addrs := make([]string, len(c.Nodes))
	for i, node := range c.Nodes {
		addrs[i] = node.Addr()
	}
	return "redis+cluster://" + strings.Join(addrs, ",")
}

// CLI is RedisServer.CLI with the node that has the key.
func (c *RedisCluster) CLI(args ...string) string {
	c.t.Helper()
	return c.Nodes[0].CLI(append([]string{"-c"}, args...)...)
}

// CLIInput is RedisServer.CLIInput with the nodes that have the keys.
func (c *RedisCluster) CLIInput(input string) string {
	c.t.Helper()
	return c.Nodes[0].CLIInput(input, "-c")
}

// Masters are the nodes that serve slots at present.
func (c *RedisCluster) Masters() []*RedisServer {
	c.t.Helper()
	var out []*RedisServer
	for _, node := range c.Nodes {
		if strings.HasPrefix(node.CLI("ROLE"), "master") && node.CLI("CLUSTER", "MYID") != "" {
			out = append(out, node)
		}
	}
	return out
}
