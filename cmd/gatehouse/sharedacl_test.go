package main

import (
	"context"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"gatehouse/acme"
	"gatehouse/acme/rediscache"
	"gatehouse/cache"
	"gatehouse/cache/redispurge"
	"gatehouse/edge/health"
	"gatehouse/edge/health/redishealth"
	"gatehouse/edge/iplist"
	"gatehouse/edge/iplist/redisblock"
	"gatehouse/edge/ratelimit"
	"gatehouse/edge/ratelimit/redislimit"
	"gatehouse/internal/edgetest"
	"gatehouse/internal/redisconn"
)

// TestDocumentedShareACLIsEnough shares all that nodes share as a user that may do nothing else, and has Redis say what it refused.
func TestDocumentedShareACLIsEnough(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("<!-- acl: share -->\n```\n(ACL SETUSER gatehouse .*)\n```").FindSubmatch(text)
	if m == nil {
		t.Fatal("the least ACL for what nodes share is not in docs/operations.md")
	}
	acl := strings.Fields(string(m[1]))
	server, cluster := edgetest.Redis(t), edgetest.StartRedisCluster(t, 3, 0)
	for name, test := range map[string]struct {
		url   string
		cli   func(...string) string
		nodes []*edgetest.RedisServer
	}{
		"alone":   {server.URL(), server.CLI, []*edgetest.RedisServer{server}},
		"cluster": {cluster.URL(), cluster.CLI, cluster.Nodes},
	} {
		t.Run(name, func(t *testing.T) {
			for _, node := range test.nodes {
				node.CLI(acl...)
			}
			o, err := redisconn.Parse(strings.Replace(test.url, "://", "://gatehouse:PASSWORD@", 1) + "#edge:")
			if err != nil {
				t.Fatal(err)
			}
			client, err := redisconn.Open(o)
			if err != nil {
				t.Fatal(err)
			}
			shareAll(t, client, test.cli)
			if err := client.Close(); err != nil {
				t.Error(err)
			}
			for _, node := range test.nodes {
				if refused := node.CLI("ACL", "LOG"); refused != "" {
					t.Errorf("refused: %s", refused)
				}
			}
			if client, err = redisconn.Open(o); err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			if client.Set(t.Context(), "edge:vhost:a.test", "{}", 0).Err() == nil || client.Set(t.Context(), "edge:gatehouse:accept-loss", "1", 0).Err() == nil {
				t.Error("a user who shares writes routes")
			}
		})
	}
}

// shareAll has a node share all that there is.
func shareAll(t *testing.T, client *redisconn.Client, cli func(...string) string) {
	for what, share := range map[string]func(*testing.T, *redisconn.Client, func(...string) string) error{
		"drains and checks": shareHealth, "blocks": shareBlocks, "limits": shareLimits, "certificates": shareCerts, "purges": sharePurges,
	} {
		if err := share(t, client, cli); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func shareHealth(t *testing.T, client *redisconn.Client, cli func(...string) string) error {
	ctx, s := t.Context(), redishealth.New(client)
	if _, err := s.Change(ctx, health.Drain{URL: "http://a.test"}, true); err != nil {
		return err
	}
	if err := s.Tell(ctx, map[string]*health.Finding{"a": {URL: "http://a.test"}, "b": nil}); err != nil {
		return err
	}
	if got, err := s.Read(ctx, ""); err != nil || len(got.Drains) != 1 || len(got.Down) != 1 {
		t.Errorf("%+v %v", got, err)
	}
	for range 2 { // made, and there
		if _, err := s.Key(ctx, health.Key{1}); err != nil {
			return err
		}
	}
	if err := shareLease(ctx, s, "digest", "edge:gatehouse:{backends}:prober:", cli); err != nil {
		return err
	}
	for _, process := range []string{"n/here", "n/gone", "n/ended"} {
		if err := s.Report(ctx, process, health.Report{}); err != nil {
			return err
		}
	}
	if err := s.Withdraw(ctx, "n/ended"); err != nil {
		return err
	}
	cli("DEL", "edge:gatehouse:{backends}:node:n/gone")
	if got, _, err := s.Reports(ctx); err != nil || len(got) != 1 {
		t.Errorf("%v %v", got, err)
	}
	_, err := s.Change(ctx, health.Drain{URL: "http://a.test"}, false)
	return err
}

// A leaser has leases, as those do who share certificates, and findings.
type leaser interface {
	Lease(ctx context.Context, key, owner string, life time.Duration) (bool, error)
	Release(ctx context.Context, key, owner string) error
}

// shareLease takes a lease that somebody wrote for ever, and gives it back.
func shareLease(ctx context.Context, s leaser, key, prefix string, cli func(...string) string) error {
	cli("SET", prefix+key, "somebody")
	if _, err := s.Lease(ctx, key, "node", time.Minute); err != nil {
		return err
	}
	cli("DEL", prefix+key)
	if _, err := s.Lease(ctx, key, "node", time.Minute); err != nil {
		return err
	}
	return s.Release(ctx, key, "node")
}

func shareBlocks(t *testing.T, client *redisconn.Client, cli func(...string) string) error {
	blocks, err := iplist.OpenBlocks(iplist.BlocksOptions{})
	if err != nil {
		return err
	}
	s, err := redisblock.New(redisblock.Options{Client: client, Blocks: blocks})
	if err != nil {
		return err
	}
	running(t, s.Run, func() {
		edgetest.WaitFor(t, "blocks to be followed", s.Followed)
		for _, tenant := range []string{"", "shop"} {
			if err := s.Add(t.Context(), iplist.Block{Network: netip.MustParsePrefix("192.0.2.0/24"), Tenant: tenant}); err != nil {
				t.Error(err)
			}
		}
		cli("HSET", "edge:block:{blog}", "198.51.100.0/24", "")
		cli("SADD", "edge:gatehouse:{block}:scopes", "blog")
		edgetest.WaitFor(t, "a block by hand", func() bool { return blocks.Len() == 3 })
		// One that is over is removed, and what was lost is written back.
		cli("HSET", "edge:block:{*}", "203.0.113.0/24", `{"until":"2020-01-01T00:00:00Z"}`)
		edgetest.WaitFor(t, "it to be removed", func() bool { return cli("HLEN", "edge:block:{*}") == "1" })
		cli("DEL", "edge:gatehouse:{block}:scopes")
		cli("DEL", "edge:block:{shop}")
		edgetest.WaitFor(t, "blocks to be back, or removed", func() bool { return cli("EXISTS", "edge:gatehouse:{block}:scopes") == "1" })
		if _, err := s.Remove(t.Context(), netip.MustParsePrefix("192.0.2.0/24"), ""); err != nil {
			t.Error(err)
		}
	})
	return nil
}

// running has something run meanwhile.
func running(t *testing.T, run func(context.Context) error, meanwhile func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = run(ctx) // ends with ctx
	}()
	defer func() {
		cancel()
		<-done
	}()
	meanwhile()
}

func shareLimits(t *testing.T, client *redisconn.Client, cli func(...string) string) error {
	ctx, l := t.Context(), redislimit.New(client, "node")
	reports := []ratelimit.Report{{Owner: "shop", Key: 1, Rate: ratelimit.NewRate(10, time.Second, 10), Taken: 3, Over: time.Second}}
	cli("HSET", "edge:limit:{shop}:0000000000000001", "another node", "1") // long ago
	for range 2 {
		if _, err := l.Settle(ctx, reports); err != nil {
			return err
		}
		cli("DEL", "edge:limit:{shop}:0000000000000001")
		cli("SET", "edge:limit:{shop}:0000000000000001", "another type")
	}
	if n, err := l.Nodes(ctx); n != 1 || err != nil {
		t.Errorf("%d nodes, %v", n, err)
	}
	return l.Leave(ctx)
}

func shareCerts(t *testing.T, client *redisconn.Client, cli func(...string) string) error {
	ctx, s := t.Context(), rediscache.New(client)
	value, life := []byte("sealed"), time.Hour
	for _, key := range []string{"tickets:{1}", "ech:{1}", "cert:{a.test}:fail", "gatehouse:{acme}:account"} {
		for range 2 { // made, and there
			if _, err := s.Create(ctx, key, value, life); err != nil {
				return err
			}
		}
		if err := s.Write(ctx, key, value, life); err != nil {
			return err
		}
		if _, err := s.Read(ctx, key); err != nil {
			return err
		}
	}
	cli("SET", "edge:cert:{a.test}", "another type")
	for _, rank := range []uint64{2, 1} {
		if _, err := s.WriteRanked(ctx, "cert:{a.test}", acme.Ranked{Value: value, Rank: rank}, life); err != nil {
			return err
		}
	}
	if got, err := s.ReadRanked(ctx, "cert:{a.test}"); err != nil || len(got) != 1 || got[0].Rank != 2 {
		t.Errorf("%v %v", got, err)
	}
	if done, err := s.Replace(ctx, "cert:{a.test}", value, acme.Ranked{Value: value, Rank: 3}, life); !done || err != nil {
		t.Error("not replaced", err)
	}
	if err := shareLease(ctx, s, "cert:{a.test}:lock", "edge:", cli); err != nil {
		return err
	}
	for range 2 { // counted, and refused
		if _, err := s.Take(ctx, "gatehouse:{acme}:quota", 1, life); err != nil {
			return err
		}
	}
	if err := s.Remove(ctx, "cert:{a.test}", "tickets:{1}"); err != nil {
		return err
	}
	missed, events := make(chan struct{}, 1), make(chan string, 1)
	running(t, func(ctx context.Context) error {
		return s.Follow(ctx, func(event string) { events <- event }, func() { missed <- struct{}{} })
	}, func() {
		<-missed
		if err := s.Announce(ctx, "changed"); err != nil {
			t.Error(err)
			return
		}
		<-events
	})
	return nil
}

// purged is a store that nothing is in.
type purged struct{}

func (purged) Purge(cache.Purge) uint64 { return 0 }
func (purged) SetBlind(bool)            {}

func sharePurges(t *testing.T, client *redisconn.Client, _ func(...string) string) error {
	n, err := redispurge.New(redispurge.Options{Client: client, Store: purged{}, Node: "node"})
	if err != nil {
		return err
	}
	running(t, n.Run, func() {
		edgetest.WaitFor(t, "purges to be followed", func() bool { return n.Applied() != "" })
		id, err := n.Publish(t.Context(), cache.Purge{Kind: cache.PurgeAll}, "")
		if err != nil {
			t.Error(err)
			return
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if answers, err := n.Await(ctx, id); err != nil || len(answers) != 1 || !answers[0].Applied {
			t.Errorf("%+v %v", answers, err)
		}
	})
	return nil
}
