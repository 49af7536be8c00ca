package e2e

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
)

// second is "within 1 s", with what a loaded machine needs on top: the promise
// is measured and logged, and a test does not fail on timing.
const second = time.Second

func TestSavedFileIsLiveWithinASecond(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	n := launch(t, "", map[string]string{"a.yaml": vhost("a.test", b.URL)})
	n.write("conf.d/b.yaml", vhost("b.test", b.URL, "aliases: [c.test, \"*.b.test\"]"))
	if took := n.within("b.test", 200); took > second {
		t.Logf("took %v", took)
	}
	for host, status := range map[string]int{"c.test": 200, "x.y.b.test": 200, "a.test": 200, "nobody.test": 404} {
		if got := n.get(host, "/"); got.Status != status {
			t.Errorf("%s: %d, want %d", host, got.Status, status)
		}
	}
	n.write("conf.d/b.yaml", "vhosts: {}\n")
	n.within("b.test", 404)
	n.write("conf.d/d.yaml", vhost("*", b.URL))
	n.within("nobody.test", 200)
}

// No customer goes down for another's typo, also at a reboot.
func TestBadDocumentIsServedFromItsLastGoodForm(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	n := launch(t, "", map[string]string{
		"a.yaml": vhost("a.test", b.URL), "b.yaml": vhost("b.test", b.URL),
	})
	if n.within("b.test", 200) > second {
		t.Log("slow machine")
	}
	n.write("conf.d/b.yaml", "vhosts:\n  b.test:\n    backends: [ftp://nowhere]\n    cash: {}\n")
	broken := func() string { out, _ := n.run("vhost", "list"); return out }
	edgetest.WaitFor(t, "vhost list to show b.test as broken", func() bool { return strings.Contains(broken(), "broken") })
	if out := broken(); !strings.Contains(out, "b.yaml:3") {
		t.Errorf("vhost list does not say where:\n%s", out)
	}
	n.within("b.test", 200)
	n.write("conf.d/c.yaml", "this: is: not: yaml\n") // a third file that is no YAML at all
	n.stop()
	n.start()
	for _, host := range []string{"a.test", "b.test"} {
		if got := n.get(host, "/"); got.Status != 200 {
			t.Errorf("after a reboot with a bad document: %s answers %d", host, got.Status)
		}
	}
	out, code := n.run("check")
	for _, want := range []string{"conf.d/b.yaml:3", "ftp://nowhere", `unknown key "cash"`, `did you mean "cache"`, "conf.d/c.yaml:1", "^"} {
		if !strings.Contains(out, want) {
			t.Errorf("check does not say %q:\n%s", want, out)
		}
	}
	if code != 1 {
		t.Errorf("check: exit %d, want 1", code)
	}
}

// serve stops only for process settings, and says why on one line.
func TestServeStopsForProcessSettingsWithOneLine(t *testing.T) {
	t.Parallel()
	b := edgetest.NewBackend(t)
	busy := prepare(t, "", map[string]string{"a.yaml": vhost("a.test", b.URL)})
	busy.https = b.Addr
	busy.write("gatehouse.yaml", fmt.Sprintf("listen: {http: %q, https: %q, admin: \"\"}\n", busy.http, b.Addr))
	for name, c := range map[string]struct {
		n    *node
		want string
	}{
		"port in use":       {busy, "listen.https: " + b.Addr + " is in use"},
		"unknown key":       {prepare(t, "lissten: {}", nil), `unknown key "lissten" (did you mean "listen"?)`},
		"wrong Redis URL":   {prepare(t, "routes: redis:/localhost", nil), "routes"},
		"unreadable folder": {prepare(t, "routes: file:nowhere", nil), "nowhere"},
		"not supported yet": {prepare(t, "compat: hipache04", nil), "not supported yet"},
	} {
		t.Run(name, func(t *testing.T) {
			c.n.startOnly()
			c.n.wait()
			if c.n.cmd.ProcessState.ExitCode() != 1 || !strings.Contains(c.n.stderr.String(), c.want) {
				t.Errorf("exit %d: %s", c.n.cmd.ProcessState.ExitCode(), c.n.stderr)
			}
			if strings.Contains(c.n.stderr.String(), "panic") || strings.Contains(c.n.stderr.String(), "goroutine") {
				t.Errorf("not one clear line:\n%s", c.n.stderr)
			}
		})
	}
}

func TestRedisRoutesAreLiveAndSurviveAnEmptyRedis(t *testing.T) {
	t.Parallel()
	redis := edgetest.Redis(t)
	b := edgetest.NewBackend(t)
	for _, host := range []string{"a.test", "b.test", "c.test"} {
		redis.CLI("rpush", "frontend:"+host, "shop", b.URL)
	}
	n := launch(t, "routes: "+redis.URL(), nil)
	n.within("a.test", 200)
	redis.CLI("rpush", "frontend:new.test", "app", b.URL)
	t.Logf("live %v after rpush", n.within("new.test", 200))
	redis.CLI("set", "vhost:new.test", `{"tenant":"blog","cache":{"enabled":true,"ttl":"60s"}}`)
	edgetest.WaitFor(t, "the cache of new.test to be on", func() bool { return n.get("new.test", "/").Header.Get("Cache-Status") != "" })
	redis.CLI("set", "tenant:blog", `{"waf":{"mode":"block"}}`)
	edgetest.WaitFor(t, "the WAF of blog to block", func() bool { return n.get("new.test", attack).Status == 403 })
	if got := n.get("a.test", attack).Status; got != 200 {
		t.Errorf("another tenant's site answers %d to the attack", got)
	}
	redis.CLI("del", "frontend:c.test")
	n.within("c.test", 404) // a key deleted on a live connection acts

	redis.Stop()
	for _, host := range []string{"a.test", "b.test", "new.test"} {
		if got := n.get(host, "/").Status; got != 200 {
			t.Errorf("Redis stopped: %s answers %d", host, got)
		}
	}
	redis.Restart(true)
	edgetest.WaitFor(t, "the absence of all sites to be held", func() bool { return strings.Contains(n.stderr.String(), "not believed") })
	n.stop()
	redis.Stop()
	n.start() // last good survives a restart without Redis
	if got := n.get("a.test", "/").Status; got != 200 {
		t.Errorf("restarted without Redis: %d", got)
	}
	redis.Restart(true)
	edgetest.WaitFor(t, "the held sites after the restart", func() bool { return strings.Contains(n.stderr.String(), "not believed") })
	if got := n.get("b.test", "/").Status; got != 200 {
		t.Errorf("restarted, Redis empty: %d", got)
	}
	redis.CLI("set", "gatehouse:accept-loss", "1")
	n.within("a.test", 404)
}

// No Redis round trip on the hot path.
func TestMonitorShowsTheSameCommandsAtNoAndAtTenThousandRequests(t *testing.T) {
	t.Parallel()
	redis := edgetest.Redis(t)
	b := edgetest.NewBackend(t)
	redis.CLI("rpush", "frontend:www.shop.test", "shop", b.URL)
	redis.CLI("set", "vhost:www.shop.test", `{"waf":{"mode":"off"},"cache":{"enabled":true,"ttl":"60s"}}`)
	n := launch(t, "routes: "+redis.URL(), nil)
	n.within("www.shop.test", 200)
	// What MONITOR would show, counted by the server itself. INFO counts itself.
	const window = 10 * time.Second
	idle := commands(t, redis)
	<-time.After(window)
	idle = commands(t, redis) - idle
	busy := commands(t, redis)
	end := time.After(window)
	c := keepAlive{address: n.http}
	defer c.close()
	for i := range 10_000 {
		if err := c.get(fmt.Sprintf("/bytes?n=%d", i%100)); err != nil {
			t.Fatal(err)
		}
	}
	<-end
	busy = commands(t, redis) - busy
	t.Logf("commands in %v: %d at no request, %d at 10,000", window, idle, busy)
	// One ping of the routes and one round of reading purges more or less may fall into a window.
	if busy > idle+10 {
		t.Errorf("%d commands in %v at no request, %d at 10,000", idle, window, busy)
	}
}

func commands(t *testing.T, redis *edgetest.RedisServer) int {
	t.Helper()
	for line := range strings.Lines(redis.CLI("info", "stats")) {
		var n int
		if _, err := fmt.Sscanf(line, "total_commands_processed:%d", &n); err == nil {
			return n
		}
	}
	t.Fatal("INFO does not say how many commands were processed")
	return 0
}

const attack = "/?q=%3Cscript%3Ealert(1)%3C/script%3E"

// A backend that is the node itself would be a loop, and its socket or its Redis
// the way to every tenant's routes.
func TestOwnListenersSocketAndRedisAreNoBackends(t *testing.T) {
	t.Parallel()
	redis := edgetest.Redis(t, "--bind", "127.0.0.1", "127.0.0.2", "-::1") // the URL names one of them
	_, port, err := net.SplitHostPort(redis.Addr())
	if err != nil {
		t.Fatal(err)
	}
	b := edgetest.NewBackend(t)
	n := launch(t, "routes: "+redis.URL(), nil)
	for host, backend := range map[string]string{
		"redis2.test": "http://127.0.0.2:" + port, "redis6.test": "http://[::1]:" + port,
		"http.test": "http://" + n.http, "https.test": "https://" + n.https, "admin.test": "http://" + n.admin,
		"redis.test": "http://" + redis.Addr(), "socket.test": "unix:" + n.dir + "/data/gatehouse.sock", "good.test": b.URL,
	} {
		redis.CLI("set", "vhost:"+host, fmt.Sprintf(`{"backends":[%q]}`, backend))
	}
	n.within("good.test", 200)
	for _, host := range []string{"http.test", "https.test", "admin.test", "socket.test"} {
		n.within(host, 502)
	}
	for _, host := range []string{"redis.test", "redis2.test", "redis6.test"} {
		n.within(host, 502)
		if got := edgetest.Dial(t, n.http).Do("SET", "SET /pwned HTTP/1.1\r\nHost: "+host+"\r\n\r\n"); got.Status != 502 {
			t.Errorf("%s: status %d", host, got.Status)
		}
	}
	if got := redis.CLI("EXISTS", "/pwned"); strings.TrimSpace(got) != "0" {
		t.Error("a request was written into Redis")
	}
	if !strings.Contains(n.stderr.String(), "never used as a backend") {
		t.Error("the log does not say why")
	}
}
