package redisstore

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
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

// using is an InUse that needs no end.
func using(look func() (documents, hosts []routes.Key)) InUse {
	return func() (func() (documents, hosts []routes.Key), func()) { return look, func() {} }
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
		InUse: using(func() (documents, hosts []routes.Key) { return slices.Clone(inUse), nil }),
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

// What a verb removes is gone on its node, however much is held.
func TestVerbRemovesWherePolledSitesAreHeld(t *testing.T) {
	t.Parallel()
	server := edgetest.Redis(t)
	fill(server, 3)
	s := openURL(t, noTracking(server), Options{})
	w := routestest.Follow(t, s, "")
	untilLen(w, 3)
	server.CLI("DEL", "frontend:h0.test", "frontend:h1.test")
	untilHeld(w, 2)
	put(t, s, "new.test", "http://127.0.0.1:9001")
	untilLen(w, 4)
	if err := s.Delete(t.Context(), routestest.Vhost("new.test")); err != nil {
		t.Fatal(err)
	}
	untilLen(w, 3)
	if w.Table().Match("new.test") != nil || w.Status().Held != 2 {
		t.Errorf("it is served on, or %d are held", w.Status().Held)
	}
}

// With so many sites that a pass takes long, what is in use is still followed.
func TestWhatIsInUseIsPolledDuringAPass(t *testing.T) {
	t.Parallel()
	server := edgetest.Redis(t)
	fill(server, 4)
	p, told := pollerOf(t, server, func() (documents, hosts []routes.Key) { return []routes.Key{routestest.Vhost("h1.test")}, nil })
	look := func(want string) {
		t.Helper()
		if s := strings.Join(told(), ", "); s != want {
			t.Errorf("got %q, want %q", s, want)
		}
	}
	look("h1.test false full=false")
	look("")
	server.CLI("RPUSH", "frontend:h1.test", "http://127.0.0.1:9001")
	look("h1.test false full=false")
	server.CLI("DEL", "frontend:h1.test")
	look("") // it may be half of a replacement
	p.missing[routestest.Vhost("h1.test")] = time.Time{}
	look("h1.test true full=false")
	server.CLI("RPUSH", "frontend:h1.test", "shop", "http://127.0.0.1:9001")
	look("h1.test false full=false")
	server.CLI("FLUSHALL")
	look("")
	p.missing[routestest.Vhost("h1.test")] = time.Time{}
	look("")
	if !p.passNow {
		t.Error("most keys are gone, and no pass is wanted that judges it")
	}
}

// pollerOf returns a poller, and what a look of it tells.
func pollerOf(t *testing.T, server *edgetest.RedisServer, inUse func() (documents, hosts []routes.Key)) (p *poller, told func() []string) {
	t.Helper()
	s := openURL(t, noTracking(server), Options{InUse: using(inUse)})
	session, err := s.client.Session(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := session.Close(); err != nil {
			t.Error(err)
		}
	})
	var got []string
	f := follower{store: s, session: session, missing: map[routes.Key]time.Time{}, yield: func(b routes.Batch) {
		for _, c := range b.Changes {
			got = append(got, fmt.Sprintf("%s %v full=%v", c.Key.Name, c.Gone(), b.Full))
		}
	}}
	f.reader = reader{session: session, odd: &s.odd, misnamed: map[string]*routes.Problem{}}
	return newPoller(&f), func() []string {
		t.Helper()
		got = nil
		if err := p.inUse(); err != nil {
			t.Fatal(err)
		}
		return got
	}
}

// manyInUse are more documents than a look reads, in another order each time, beside a flood of made-up hosts.
func manyInUse() (docs []routes.Key, inUse func() (documents, hosts []routes.Key)) {
	for i := range maxInUse + 500 {
		docs = append(docs, routestest.Vhost(fmt.Sprintf("h%d.test", i)))
	}
	return docs, func() (documents, hosts []routes.Key) {
		documents = append(slices.Clone(docs), docs[:100]...)
		rand.Shuffle(len(documents), func(i, j int) { documents[i], documents[j] = documents[j], documents[i] })
		for range maxInUse {
			hosts = append(hosts, routestest.Vhost(fmt.Sprintf("unknown%d.test", rand.Uint64())))
		}
		return documents, hosts
	}
}

// Documents in use that are too many for one look are read in turns, whatever strangers ask for, and what has gone between two turns is noticed.
func TestWhatIsInUseIsReadInTurns(t *testing.T) {
	t.Parallel()
	server := edgetest.Redis(t)
	docs, inUse := manyInUse()
	fill(server, len(docs))
	p, told := pollerOf(t, server, inUse)
	seen := map[string]bool{}
	for range 2 {
		all := told()
		if len(all) > maxInUse-maxHosts {
			t.Errorf("%d documents in one look", len(all))
		}
		for _, one := range all {
			seen[one] = true
		}
	}
	if len(seen) != len(docs) {
		t.Errorf("after two looks %d documents were read, want %d", len(seen), len(docs))
	}
	const gone = "h77.test"
	server.CLI("DEL", "frontend:"+gone)
	p.missing[routestest.Vhost(gone)] = time.Time{}
	if all := slices.Concat(told(), told()); !slices.Equal(all, []string{gone + " true full=false"}) {
		t.Errorf("after two more looks %q was told", all)
	}
}

// A flush shows in one turn after the other, and none of them is believed before a pass has judged all.
func TestAFlushIsBelievedInNoTurn(t *testing.T) {
	t.Parallel()
	server := edgetest.Redis(t)
	docs, inUse := manyInUse()
	fill(server, len(docs))
	p, told := pollerOf(t, server, inUse)
	told()
	told()
	server.CLI("FLUSHALL")
	for _, doc := range docs {
		p.missing[doc] = time.Time{}
	}
	for turn := range 3 {
		if all := told(); len(all) != 0 || !p.emptying {
			t.Errorf("turn %d: %d documents are told to be gone", turn, len(all))
		}
	}
	if !p.passNow {
		t.Error("no pass is wanted")
	}
	if err := p.pass(); err != nil || p.emptying {
		t.Errorf("after a pass: %v, %v", p.emptying, err)
	}
}

// Hosts are remembered for as long as routes are polled, and where they are not, never.
func TestWhatIsInUseIsAskedForOnlyWhilePolling(t *testing.T) {
	t.Parallel()
	server := edgetest.Redis(t)
	fill(server, 1)
	for url, want := range map[string]int32{"redis://" + server.Addr(): 0, noTracking(server): 1} {
		var begun, ended atomic.Int32
		s := openURL(t, url, Options{InUse: func() (func() (documents, hosts []routes.Key), func()) {
			begun.Add(1)
			return func() (documents, hosts []routes.Key) { return nil, nil }, func() { ended.Add(1) }
		}})
		ctx, cancel := context.WithCancel(t.Context())
		_ = s.Watch(ctx, func(routes.Batch) { cancel() })
		if begun.Load() != want || ended.Load() != want {
			t.Errorf("%s: begun %d times and ended %d times, want %d", url, begun.Load(), ended.Load(), want)
		}
	}
}

// What a verb removes while everything is being read does not come back with that.
func TestWhatIsRemovedWhileAllIsReadStaysGone(t *testing.T) {
	t.Parallel()
	server := edgetest.Redis(t)
	fill(server, 300) // several batches
	s := open(t, server, "")
	session, err := s.client.Session(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	key := routestest.Vhost("h0.test")
	var batches []routes.Batch
	f := &follower{
		store: s, session: session, missing: map[routes.Key]time.Time{}, lost: map[routes.Key]parts{},
		yield: func(b routes.Batch) { batches = append(batches, b) },
	}
	steps := 0
	f.reader = reader{session: session, odd: &s.odd, evictions: &s.evictions, between: func() error {
		if steps++; steps == 3 { // the names are read, and some of the documents
			if err := s.Delete(t.Context(), key); err != nil {
				return err
			}
			between := f.reader.between
			f.reader.between = nil
			defer func() { f.reader.between = between }()
			return f.removed()
		}
		return nil
	}}
	if err := f.full(); err != nil {
		t.Fatal(err)
	}
	if err := session.Close(); err != nil {
		t.Error(err)
	}
	if len(batches) != 2 || !batches[1].Full || len(batches[1].Changes) != 299 {
		t.Fatalf("%d batches, the last with %d changes", len(batches), len(batches[len(batches)-1].Changes))
	}
	if i := slices.IndexFunc(batches[1].Changes, func(c routes.Change) bool { return c.Key == key }); i >= 0 {
		t.Error("it is served again")
	}
	if again := s.removed.take(); len(again) != 1 || again[0] != key {
		t.Errorf("read once more: %v", again)
	}
}
