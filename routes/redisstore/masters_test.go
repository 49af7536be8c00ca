package redisstore

import (
	"strings"
	"testing"

	"gatehouse/internal/edgetest"
	"gatehouse/routes"
	"gatehouse/routes/routestest"
)

// A verb finds the master that has taken over from one that died, though nobody has told go-redis.
func TestVerbsWriteToTheNewMasterOfACluster(t *testing.T) {
	t.Parallel()
	cluster := edgetest.StartRedisCluster(t, 3, 1)
	s := openURL(t, cluster.URL(), Options{})
	put(t, s, "z1.test", "http://127.0.0.1:9000")
	var victim, heir *edgetest.RedisServer
	for _, node := range cluster.Masters() {
		if strings.Contains(node.CLI("KEYS", "vhost:z1.test"), "z1") {
			victim = node
		}
	}
	if victim == nil {
		t.Fatal("nobody has the key")
	}
	id := victim.CLI("CLUSTER", "MYID")
	for _, node := range cluster.Nodes {
		if node == victim {
			continue
		}
		for line := range strings.Lines(node.CLI("CLUSTER", "NODES")) {
			if strings.Contains(line, "myself,slave "+id) {
				heir = node
			}
		}
	}
	if heir == nil {
		t.Fatal("the master has no replica")
	}
	edgetest.WaitFor(t, "the replica has the key", func() bool { return heir.CLI("KEYS", "vhost:z1.test") != "" })
	victim.Kill()
	heir.CLI("CLUSTER", "FAILOVER", "TAKEOVER")
	if err := s.Edit(t.Context(), routestest.Vhost("z1.test"), func(present routes.Change) (routes.Document, error) {
		return routes.Document{Key: present.Key, Vhost: present.Vhost}, nil
	}); err != nil {
		t.Error(err)
	}
	if err := s.Delete(t.Context(), routestest.Vhost("z1.test")); err != nil {
		t.Error(err)
	}
}
