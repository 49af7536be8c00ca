package redisstore

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/edgetest"
	"gatehouse/routes"
	"gatehouse/routes/routestest"
)

// noTracking is the URL of a user that may do all but ask to be told of changes.
func noTracking(server *edgetest.RedisServer) string {
	server.CLI("ACL", "SETUSER", "poll", "on", ">secret", "~*", "+@all", "-client|tracking")
	return "redis://poll:secret@" + server.Addr()
}

func TestContractByPolling(t *testing.T) {
	t.Parallel()
	server := edgetest.Redis(t)
	routestest.TestStore(t, func(t *testing.T) routestest.Fixture {
		server.CLI("FLUSHALL")
		return routestest.Fixture{
			Store:  openURL(t, noTracking(server), Options{}),
			Write:  func(_ *testing.T, doc routes.Key, text string) { server.CLI("SET", canonical("", doc, partJSON), text) },
			Remove: func(_ *testing.T, doc routes.Key) { server.CLI("DEL", canonical("", doc, partJSON)) },
		}
	})
}

// A server before Redis 6, and some proxies, know neither HELLO nor TRACKING.
func TestServerWithoutRESP3IsPolled(t *testing.T) {
	t.Parallel()
	server := edgetest.Redis(t, "--rename-command", "HELLO", "", "--requirepass", "secret")
	cli := func(args ...string) {
		server.CLI(append([]string{"-a", "secret", "--no-auth-warning", "-n", "2"}, args...)...)
	}
	cli("RPUSH", "frontend:a.test", "shop", "http://127.0.0.1:9000")
	w := routestest.Follow(t, openURL(t, "redis://:secret@"+server.Addr()+"/2", Options{}), "")
	w.UntilBackend("a.test", "http://127.0.0.1:9000")
	cli("RPUSH", "frontend:b.test", "shop", "http://127.0.0.1:9000")
	w.UntilBackend("b.test", "http://127.0.0.1:9000")
}

func TestPollingBelievesNoFlush(t *testing.T) {
	t.Parallel()
	server := edgetest.Redis(t)
	fill(server, 6)
	server.CLI("RPUSH", "frontend:WWW.Odd.test", "shop", "http://127.0.0.1:9000")
	inUse := []routes.Key{routestest.Vhost("h0.test"), routestest.Vhost("www.odd.test"), routestest.Vhost("unknown.test")}
	w := routestest.Follow(t, openURL(t, noTracking(server), Options{
		InUse: func() []routes.Key { return append([]routes.Key(nil), inUse...) },
	}), "")
	untilLen(w, 7)
	server.CLI("DEL", "frontend:h1.test")
	untilLen(w, 6)
	server.CLI("FLUSHALL")
	untilHeld(w, 6)
	if n := w.Table().Len(); n != 6 {
		t.Errorf("%d of 6 sites are left after a flush", n)
	}
	server.CLI("RPUSH", "frontend:new.test", "shop", "http://127.0.0.1:9001")
	untilLen(w, 7)
	server.CLI("SET", "gatehouse:accept-loss", "1")
	untilLen(w, 1)
}

// With so many sites that a pass takes long, what is in use is still followed.
func TestWhatIsInUseIsPolledDuringAPass(t *testing.T) {
	t.Parallel()
	server := edgetest.Redis(t)
	fill(server, 4)
	s := openURL(t, noTracking(server), Options{InUse: func() []routes.Key { return []routes.Key{routestest.Vhost("h1.test")} }})
	session, err := s.client.Session(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	var got []string
	f := follower{store: s, session: session, missing: map[routes.Key]time.Time{}, yield: func(b routes.Batch) {
		for _, c := range b.Changes {
			got = append(got, fmt.Sprintf("%s %v full=%v", c.Key.Name, c.Gone(), b.Full))
		}
	}}
	f.reader = reader{session: session, odd: &s.odd, misnamed: map[string]*routes.Problem{}}
	p := newPoller(&f)
	look := func(want string) {
		t.Helper()
		got = nil
		if err := p.inUse(); err != nil {
			t.Fatal(err)
		}
		if s := strings.Join(got, ", "); s != want {
			t.Errorf("got %q, want %q", s, want)
		}
	}
	look("h1.test false full=false")
	look("")
	server.CLI("RPUSH", "frontend:h1.test", "http://127.0.0.1:9001")
	look("h1.test false full=false")
	server.CLI("DEL", "frontend:h1.test")
	look("") // it may be half of a replacement
	f.missing[routestest.Vhost("h1.test")] = time.Time{}
	look("h1.test true full=false")
	server.CLI("RPUSH", "frontend:h1.test", "shop", "http://127.0.0.1:9001")
	look("h1.test false full=false")
	server.CLI("FLUSHALL")
	look("")
	f.missing[routestest.Vhost("h1.test")] = time.Time{}
	look("")
	if !p.passNow {
		t.Error("most keys are gone, and no pass is wanted that judges it")
	}
}
