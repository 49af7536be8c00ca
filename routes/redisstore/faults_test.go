package redisstore

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
	"gatehouse/internal/redisconn"
	"gatehouse/routes"
	"gatehouse/routes/routestest"
)

func fill(server *edgetest.RedisServer, sites int) {
	var commands strings.Builder
	for i := range sites {
		fmt.Fprintf(&commands, "RPUSH frontend:h%d.test shop http://127.0.0.1:9000\n", i)
	}
	server.CLIInput(commands.String())
}

func untilLen(w *routestest.Followed, want int) {
	w.Until(fmt.Sprintf("%d vhosts", want), func(t *routes.Table) bool { return t.Len() == want })
}

func untilHeld(w *routestest.Followed, want int) {
	w.Until(fmt.Sprintf("%d are held", want), func(*routes.Table) bool { return w.Status().Held == want })
}

func untilUp(w *routestest.Followed, want bool) time.Duration {
	begin := time.Now()
	w.Until(fmt.Sprintf("up: %v", want), func(*routes.Table) bool { return (w.Status().Up == nil) == want })
	return time.Since(begin)
}

func TestServerThatComesBackEmptyLosesNoSiteUntilLossIsAccepted(t *testing.T) {
	server := edgetest.Redis(t)
	fill(server, 10)
	server.CLI("SET", "tenant:shop", `{"waf":{"mode":"block"}}`)
	w := routestest.Follow(t, open(t, server, ""), "")
	untilLen(w, 10)

	server.Restart(true)
	untilHeld(w, 11)
	if r := w.Table().Match("h3.test"); r == nil || r.Tenant == nil {
		t.Fatal("a site, or its tenant, is lost with the data of Redis")
	}
	server.CLI("RPUSH", "frontend:new.test", "shop", "http://127.0.0.1:9001")
	untilLen(w, 11)

	server.CLI("SET", "gatehouse:accept-loss", "1")
	untilLen(w, 1)
	if w.Table().Match("new.test") == nil || w.Status().Held != 0 {
		t.Errorf("the site that Redis has is gone, or %d are still held", w.Status().Held)
	}
	if ttl, err := strconv.Atoi(server.CLI("TTL", "gatehouse:accept-loss")); err != nil || ttl < 1 || ttl > 60 {
		t.Errorf("accept-loss lives for %d s more (%v), want at most a minute: the protection must come back", ttl, err)
	}
}

func TestServerThatComesBackWithItsDataChangesNothing(t *testing.T) {
	server := edgetest.Redis(t)
	fill(server, 5)
	w := routestest.Follow(t, open(t, server, ""), "")
	untilLen(w, 5)
	before := w.Table().Match("h1.test")
	server.Stop()
	untilUp(w, false)
	server.Restart(false)
	untilUp(w, true)
	server.CLI("RPUSH", "frontend:new.test", "shop", "http://127.0.0.1:9001")
	untilLen(w, 6)
	if w.Table().Match("h1.test") != before {
		t.Error("a route that did not change lost its running state")
	}
}

func TestDeletedKeysActOnALiveConnection(t *testing.T) {
	server := edgetest.Redis(t)
	fill(server, 6)
	w := routestest.Follow(t, open(t, server, ""), "")
	untilLen(w, 6)
	server.CLI("DEL", "frontend:h0.test", "frontend:h1.test", "frontend:h2.test", "frontend:h3.test", "frontend:h4.test")
	untilLen(w, 1)
	server.CLI("PEXPIRE", "frontend:h5.test", "1")
	untilLen(w, 0)
}

func TestFlushIsHeldAndAcceptLossActs(t *testing.T) {
	server := edgetest.Redis(t)
	fill(server, 6)
	w := routestest.Follow(t, open(t, server, ""), "")
	untilLen(w, 6)
	server.CLI("FLUSHALL")
	untilHeld(w, 6)
	if w.Table().Len() != 6 {
		t.Fatalf("%d of 6 sites are left after a flush", w.Table().Len())
	}
	// One held site comes back and goes for good; the others stay held.
	server.CLI("RPUSH", "frontend:h0.test", "shop", "http://127.0.0.1:9000")
	untilHeld(w, 5)
	server.CLI("DEL", "frontend:h0.test")
	untilLen(w, 5)
	server.CLI("SET", "gatehouse:accept-loss", "1")
	untilLen(w, 0)
	// The second time works like the first.
	fill(server, 4)
	untilLen(w, 4)
	server.CLI("FLUSHALL")
	untilHeld(w, 4)
	server.CLI("SET", "gatehouse:accept-loss", "1")
	untilLen(w, 0)
}

func TestTwoNodesBothAcceptLoss(t *testing.T) {
	server := edgetest.Redis(t)
	fill(server, 4)
	a, b := routestest.Follow(t, open(t, server, ""), ""), routestest.Follow(t, open(t, server, ""), "")
	server.CLI("FLUSHALL")
	untilHeld(a, 4)
	untilHeld(b, 4)
	server.CLI("SET", "gatehouse:accept-loss", "1")
	untilLen(a, 0)
	untilLen(b, 0)
}

func TestHungServerIsNoticedAndFoundAgain(t *testing.T) {
	t.Parallel()
	server := edgetest.Redis(t)
	fill(server, 3)
	w := routestest.Follow(t, open(t, server, ""), "")
	untilLen(w, 3)
	server.Suspend()
	after := untilUp(w, false)
	t.Logf("noticed after %v: %v", after.Round(time.Millisecond), w.Status().Up)
	if limit := pingEvery + redisconn.PingTimeout + 5*time.Second; after > limit {
		t.Errorf("a hung server was noticed after %v, want about %v", after, pingEvery+redisconn.PingTimeout)
	}
	if w.Table().Match("h1.test") == nil {
		t.Error("a site is lost with a hung server")
	}
	server.Resume()
	t.Logf("found again after %v", untilUp(w, true).Round(time.Millisecond))
	server.CLI("DEL", "frontend:h1.test")
	untilLen(w, 2)
}

// A server that is busy for a moment costs a verb that moment and not its write.
func TestWritesWaitForABusyServer(t *testing.T) {
	t.Parallel()
	server := edgetest.Redis(t)
	s := open(t, server, "")
	for name, write := range map[string]func(ctx context.Context) error{
		"put": func(ctx context.Context) error {
			return s.Put(ctx, routes.Document{Key: routes.Key{Kind: routes.KindTenant, Name: "shop"}, Tenant: &routes.Tenant{}})
		},
		"delete": func(ctx context.Context) error {
			return s.Delete(ctx, routes.Key{Kind: routes.KindVhost, Name: "h1.test"})
		},
	} {
		fill(server, 3)
		server.Suspend()
		busy := time.AfterFunc(2*redisconn.CallTimeout, server.Resume)
		if err := write(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if busy.Stop() {
			t.Errorf("%s: a suspended server has answered", name)
			server.Resume()
		}
	}
}

func TestAbsentServerIsToldAndServesTheLastGoodState(t *testing.T) {
	server := edgetest.Redis(t)
	lastGood := filepath.Join(t.TempDir(), "routes")
	fill(server, 3)
	s := open(t, server, "")
	w := routestest.Follow(t, s, lastGood)
	untilLen(w, 3)
	w.Stop()
	server.Stop()

	w = routestest.StartFollow(t, s, lastGood)
	untilLen(w, 3)
	w.Until("the refused connection is told", func(*routes.Table) bool {
		err := s.Up()
		return err != nil && strings.Contains(err.Error(), "refused")
	})
	if _, err := s.Load(context.Background()); err == nil {
		t.Error("load from nowhere")
	}
	if w.Status().Synced {
		t.Error("nothing was read, but the follower is synced")
	}
	// The data was saved; a key that was deleted while nobody looked is gone.
	server.Restart(false)
	untilUp(w, true)
	server.CLI("DEL", "frontend:h2.test")
	untilLen(w, 2)
}

func TestRefusalsAreExplained(t *testing.T) {
	server := edgetest.Redis(t)
	server.CLI("ACL", "SETUSER", "noscan", "on", ">secret", "~*", "+@all", "-scan")
	server.CLI("ACL", "SETUSER", "nohello", "on", ">secret", "~*", "+@all", "-ping")
	for login, want := range map[string]string{
		"noscan:secret@": "ACL", "nohello:secret@": "ACL", "nobody:wrong-secret@": "give user and password",
	} {
		s := openURL(t, "redis://"+login+server.Addr(), Options{})
		w := routestest.StartFollow(t, s, "")
		w.Until(login+" "+want, func(*routes.Table) bool {
			up := s.Up()
			return up != nil && strings.Contains(up.Error(), want)
		})
		if up := s.Up(); up != nil && strings.Contains(up.Error(), "secret") {
			t.Errorf("a password in an error: %v", up)
		}
		w.Stop()
	}
}

func TestWritesToAReplicaAreExplained(t *testing.T) {
	server := edgetest.Redis(t)
	server.CLI("REPLICAOF", "127.0.0.1", "1")
	s := open(t, server, "")
	key := routestest.Vhost("www.shop.test")
	err := s.Put(context.Background(), routes.ParseJSON(key, "", []byte(`{"backends":["http://b.test"]}`)))
	if err == nil || !strings.Contains(err.Error(), "replica") {
		t.Errorf("got %v", err)
	}
}

func TestIdleStoreOnlyPings(t *testing.T) {
	server := edgetest.Redis(t)
	fill(server, 100)
	s := open(t, server, "")
	s.pingEvery = 20 * time.Millisecond
	w := routestest.Follow(t, s, "")
	before := calls(server)
	w.Until("ten pings", func(*routes.Table) bool { return calls(server)["ping"] >= before["ping"]+10 })
	after := calls(server)
	for name, n := range after {
		if n != before[name] && name != "ping" && name != "info" && name != "command" && name != "command|docs" {
			t.Errorf("an idle store sent %d %q", n-before[name], name)
		}
	}
}

var callsLine = regexp.MustCompile(`cmdstat_([^:]+):calls=(\d+)`)

// calls returns how often the server has run each command.
func calls(server *edgetest.RedisServer) map[string]int {
	out := map[string]int{}
	for _, m := range callsLine.FindAllStringSubmatch(server.CLI("INFO", "commandstats"), -1) {
		out[m[1]], _ = strconv.Atoi(m[2])
	}
	return out
}

// TestSentinelFailoverIsFollowed runs a master, a replica and a Sentinel.
func TestSentinelFailoverIsFollowed(t *testing.T) {
	t.Parallel()
	master := edgetest.Redis(t, "--repl-diskless-sync-delay", "0")
	fill(master, 3)
	_, port, _ := strings.Cut(master.Addr(), ":")
	replica := edgetest.Redis(t, "--replicaof", "127.0.0.1 "+port)
	_, replicaPort, _ := strings.Cut(replica.Addr(), ":")
	eventually(t, "the replica is in step", func() bool {
		return strings.Contains(replica.CLI("INFO", "replication"), "master_link_status:up")
	})
	sentinel := edgetest.Sentinel(t, port)
	eventually(t, "the Sentinel knows the replica", func() bool {
		return strings.Contains(sentinel.CLI("SENTINEL", "REPLICAS", "main"), replicaPort)
	})

	opts, err := redisconn.Parse("redis+sentinel://127.0.0.1:1," + sentinel.Addr() + "/main")
	if err != nil {
		t.Fatal(err)
	}
	client, err := redisconn.Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	s, err := Open(client, Options{})
	if err != nil {
		t.Fatal(err)
	}
	s.pingEvery = 100 * time.Millisecond
	w := routestest.Follow(t, s, "")
	untilLen(w, 3)
	eventually(t, "the replica is the master", func() bool {
		sentinel.CLI("SENTINEL", "FAILOVER", "main") // refused while the replica does not seem ready
		return strings.Contains(sentinel.CLI("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main"), replicaPort)
	})
	w.Until("the new master's changes come", func(t *routes.Table) bool {
		replica.CLI("SET", "vhost:new.test", `{"backends":["http://127.0.0.1:9001"]}`)
		return t.Match("new.test") != nil
	})
	if w.Table().Len() != 4 {
		t.Errorf("%d sites after a failover, want 4", w.Table().Len())
	}
	w.Stop()
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(time.Minute)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// A reading that takes long says how far it is, and why nothing is served meanwhile.
func TestFirstReadingTellsHowFarItIs(t *testing.T) {
	t.Parallel()
	server := edgetest.Redis(t)
	fill(server, 2*readBatch)
	s := open(t, server, "")
	session, err := s.client.Session(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	r := reader{session: session, odd: &s.odd, tell: func(progress string) {
		s.tell(progress)
		told = append(told, s.Up().Error())
	}}
	if _, err := r.all(); err != nil {
		t.Fatal(err)
	}
	if err := session.Close(); err != nil {
		t.Error(err)
	}
	all := strings.Join(told, "\n")
	for _, want := range []string{"redis: reading routes: 2000 names so far", "redis: reading routes: 960 of 2000 so far"} {
		if !strings.Contains(all, want) {
			t.Errorf("it does not say %q:\n%s", want, all)
		}
	}
	w := routestest.Follow(t, s, "")
	untilUp(w, true)
}
