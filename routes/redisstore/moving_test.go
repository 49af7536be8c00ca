package redisstore

import (
	"context"
	"slices"
	"strings"
	"testing"

	"gatehouse/internal/edgetest"
	"gatehouse/internal/redisconn"
	"gatehouse/routes"
	"gatehouse/routes/routestest"
)

// A key that moves to a master that was looked through already, from one that was not, is on neither when it is looked for there.
func TestKeyThatMovesBetweenMastersWhileAllIsReadIsFound(t *testing.T) {
	t.Parallel()
	cluster := edgetest.StartRedisCluster(t, 3, 0)
	fillCluster(cluster, 9000) // more than one step of SCAN on each
	s := openURL(t, cluster.URL(), Options{})
	session, err := s.client.Session(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = session.Close() })
	r := reader{session: session, odd: new(oddKeys)}
	firstSteps, _ := steps(t, session, 0)
	_, last := steps(t, session, 1)
	moving := routestest.Vhost(strings.TrimPrefix(last, frontendKey))
	pauses := 0
	r.between = func() error {
		if pauses++; pauses == firstSteps { // between the first master's steps there is one less: this is after the first step of the second
			moveSlot(t, cluster, session.Masters(), last)
		}
		return nil
	}
	docs, err := r.names()
	if err != nil {
		t.Fatal(err)
	}
	if pauses < firstSteps {
		t.Fatalf("%d pauses: nothing has moved", pauses)
	}
	if !slices.Contains(docs, moving) || len(docs) != 9000 {
		t.Errorf("%d documents, %s among them: %v", len(docs), moving, slices.Contains(docs, moving))
	}
}

// steps looks through a master as a reader does, and returns in how many steps, and a key that comes with the last.
func steps(t *testing.T, session *redisconn.Session, master int) (n int, last string) {
	t.Helper()
	for cursor := ""; cursor != "0"; n++ {
		replies, err := session.On(master, []string{"SCAN", max(cursor, "0"), "MATCH", scanPattern, "COUNT", scanCount})
		if err != nil {
			t.Fatal(err)
		}
		cursor = replies[0].Items[0].Text
		if keys := replies[0].Items[1].Items; len(keys) > 0 {
			last = keys[len(keys)-1].Text
		}
	}
	return n, last
}

// moveSlot moves the slot of a key from the second of the masters to the first.
func moveSlot(t *testing.T, cluster *edgetest.RedisCluster, masters []string, key string) {
	t.Helper()
	node := func(addr string) *edgetest.RedisServer {
		return cluster.Nodes[slices.IndexFunc(cluster.Nodes, func(n *edgetest.RedisServer) bool { return n.Addr() == addr })]
	}
	to, from := node(masters[0]), node(masters[1])
	slot, host, port := from.CLI("CLUSTER", "KEYSLOT", key), "127.0.0.1", strings.TrimPrefix(to.Addr(), "127.0.0.1:")
	to.CLI("CLUSTER", "SETSLOT", slot, "IMPORTING", from.CLI("CLUSTER", "MYID"))
	from.CLI("CLUSTER", "SETSLOT", slot, "MIGRATING", to.CLI("CLUSTER", "MYID"))
	keys := strings.Fields(from.CLI("CLUSTER", "GETKEYSINSLOT", slot, "100"))
	if got := from.CLI(append([]string{"MIGRATE", host, port, "", "0", "5000", "KEYS"}, keys...)...); got != "OK" {
		t.Error("MIGRATE:", got)
	}
	for _, n := range []*edgetest.RedisServer{to, from} {
		n.CLI("CLUSTER", "SETSLOT", slot, "NODE", to.CLI("CLUSTER", "MYID"))
	}
}

// Within the minute that accept-loss holds, another SET has all routes read again, too.
func TestAcceptLossThatIsSetAnewActsAgain(t *testing.T) {
	t.Parallel()
	for name, tell := range map[string]func(*edgetest.RedisServer) string{
		"told": (*edgetest.RedisServer).URL, "polled": noTracking,
	} {
		t.Run(name, func(t *testing.T) {
			server := edgetest.Redis(t)
			fill(server, 4)
			s := openURL(t, tell(server), Options{})
			trusted := make(chan struct{}, 100)
			w := routestest.Follow(t, &batches{s, func(b routes.Batch) {
				if b.Full && b.Trusted {
					trusted <- struct{}{}
				}
			}}, "")
			for range 3 {
				server.CLI("SET", acceptLossKey, "1")
				edgetest.WaitFor(t, "all to be read with trust", func() bool { return len(trusted) > 0 })
				<-trusted
				edgetest.WaitFor(t, "it to have a life", func() bool { return server.CLI("TTL", acceptLossKey) != "-1" })
			}
			untilLen(w, 4)
		})
	}
}

// batches is a store that tells what it yields.
type batches struct {
	*Store
	see func(routes.Batch)
}

func (b *batches) Watch(ctx context.Context, yield func(routes.Batch)) error {
	return b.Store.Watch(ctx, func(batch routes.Batch) { b.see(batch); yield(batch) })
}
