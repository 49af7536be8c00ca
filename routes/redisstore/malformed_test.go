package redisstore

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"

	"gatehouse/internal/edgetest"
	"gatehouse/internal/redisconn"
	"gatehouse/routes"
	"gatehouse/routes/routestest"
)

// TestMalformedDataIsReportedAndTouchesNobodyElse has all kinds of wrong data
// beside a good site, in each way to follow Redis.
func TestMalformedDataIsReportedAndTouchesNobodyElse(t *testing.T) {
	t.Parallel()
	server := edgetest.Redis(t)
	server.CLI("RPUSH", "frontend:good.test", "shop", "http://127.0.0.1:9000")
	for host := range malformed {
		server.CLI("SET", "vhost:"+host, `{"backends":["http://127.0.0.1:9000"]}`)
	}
	follows := map[string]*routestest.Followed{
		"told":   routestest.Follow(t, open(t, server, ""), ""),
		"polled": routestest.Follow(t, openURL(t, noTracking(server), Options{}), ""),
	}
	for host, bad := range malformed {
		bad.spoil(server, host)
	}
	server.CLI("RPUSH", "frontend:later.test", "shop", "http://127.0.0.1:9000")
	for how, w := range follows {
		w.UntilBackend("later.test", "http://127.0.0.1:9000")
		for host, bad := range malformed {
			r := w.UntilProblem(host, bad.want)
			if r.Vhost == nil || !strings.HasPrefix(r.Problems()[0].File, "vhost:"+host) && !strings.HasPrefix(r.Problems()[0].File, "frontend:"+host) {
				t.Errorf("%s: %s: %+v, and the last good form is %v", how, host, r.Problems()[0], r.Vhost)
			}
		}
		if w.Table().Match("good.test") == nil {
			t.Errorf("%s: good.test suffers", how)
		}
	}
}

// A key whose name is no text is no host's: read as such it would be a site that nobody has written.
func TestKeysThatAreNoTextAreMisnamed(t *testing.T) {
	t.Parallel()
	server := edgetest.Redis(t)
	follows := map[string]*routestest.Followed{
		"told":   routestest.Follow(t, open(t, server, ""), ""),
		"polled": routestest.Follow(t, openURL(t, noTracking(server), Options{}), ""),
	}
	raws := []string{"frontend:b\xc3\xbc\xff.test", "vhost:\xff\xfe.test"}
	server.CLI("RPUSH", raws[0], "shop", "http://127.0.0.1:9000")
	server.CLI("SET", raws[1], `{"backends":["http://127.0.0.1:9000"]}`)
	server.CLI("SET", "vhost:later.test", `{"backends":["http://127.0.0.1:9000"]}`)
	follows["anew"] = routestest.Follow(t, open(t, server, ""), "")
	for how, w := range follows {
		w.UntilBackend("later.test", "http://127.0.0.1:9000")
		w.Until(how+": both are reported", func(*routes.Table) bool { return len(w.Status().Problems) == len(raws) })
		for i, p := range w.Status().Problems {
			if p.File != raws[i] || !strings.Contains(p.Reason, "cannot be a host") {
				t.Errorf("%s: %q: %s", how, p.File, p.Reason)
			}
		}
		if n := w.Table().Len(); n != 1 {
			t.Errorf("%s: %d vhosts", how, n)
		}
	}
}

var malformed = map[string]struct {
	spoil func(server *edgetest.RedisServer, host string)
	want  string
}{
	"type.test": {func(s *edgetest.RedisServer, host string) {
		s.CLIInput("DEL vhost:" + host + "\nHSET vhost:" + host + " a b\n")
	}, "another type"},
	"json.test":  {set(`{"backends":["http://127.0.0.1:9000"`), "not JSON"},
	"bytes.test": {set("\x00\xff\xfe"), "not JSON"},
	"large.test": {func(s *edgetest.RedisServer, host string) {
		s.CLIInput(`{"backends":["http://127.0.0.1:9000"],"compress":"`+strings.Repeat("x", 10<<20)+`"}`, "-x", "SET", "vhost:"+host)
	}, "too large: at most 1 MiB"},
	"larger.test": {set(`{"backends":["http://127.0.0.1:9000"],"compress":"` + strings.Repeat("x", 2<<20) + `"}`), "too large: at most 1 MiB"},
	"many.test":   {set(`{"aliases":[` + strings.Repeat("1,", 400_000) + `1]}`), "more than 100000 values"},
	"long.test": {func(s *edgetest.RedisServer, host string) {
		s.CLI("DEL", "vhost:"+host)
		s.CLI(append([]string{"RPUSH", "frontend:" + host, "shop"}, strings.Fields(strings.Repeat("http://127.0.0.1:9000 ", 2000))...)...)
	}, "more than 1000 backends"},
	"deep.test": {set(strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000)), "deep"},
	"self.test": {set(`{"backends":["http://127.0.0.1:9000"],"aliases":["self.test"]}`), "second time"},
}

func set(text string) func(*edgetest.RedisServer, string) {
	return func(s *edgetest.RedisServer, host string) { s.CLIInput(text, "-x", "SET", "vhost:"+host) }
}

// Sites that claim each other's names keep their own.
func TestAliasesInACircle(t *testing.T) {
	t.Parallel()
	server := edgetest.Redis(t)
	w := routestest.Follow(t, open(t, server, ""), "")
	for i := range 3 {
		server.CLI("SET", fmt.Sprintf("vhost:c%d.test", i),
			fmt.Sprintf(`{"backends":["http://127.0.0.1:%d"],"aliases":["c%d.test","all.test"]}`, 9000+i, (i+1)%3))
	}
	untilLen(w, 3)
	for i := range 3 {
		name := fmt.Sprintf("c%d.test", i)
		if r := w.Table().Match(name); r == nil || r.Name != name {
			t.Errorf("%s is answered by %v", name, r)
		}
	}
	if w.Table().Match("all.test") == nil {
		t.Error("nobody answers for what all claim")
	}
}

// FuzzReader has a server that answers anything to the reading of one site.
func FuzzReader(f *testing.F) {
	f.Add([]byte("*2\r\n$4\r\nshop\r\n$8\r\nhttp://a\r\n$-1\r\n"))
	f.Add([]byte("*0\r\n$25\r\n{\"backends\":[\"http://a\"]} \r\n"))
	f.Add([]byte("-WRONGTYPE x\r\n_\r\n"))
	f.Add([]byte("-NOPERM x\r\n*-1\r\n"))
	f.Add([]byte(">2\r\n+invalidate\r\n_\r\n%1\r\n+a\r\n*1\r\n$-1\r\n:1\r\n"))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { listener.Close() })
	doc := routestest.Vhost("www.shop.test")
	f.Fuzz(func(t *testing.T, answer []byte) {
		served := make(chan struct{})
		go func() {
			defer close(served)
			answers(listener, answer)
		}()
		defer func() { <-served }()
		client, err := redisconn.Open(redisconn.Options{Addrs: []string{listener.Addr().String()}})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		session, err := client.Session(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		defer session.Close()
		r := reader{session: session, odd: new(oddKeys)}
		changes, err := r.read([]routes.Key{doc})
		if err != nil {
			return
		}
		table, _ := (&routes.Table{}).With(changes)
		if site := table.Match(doc.Name); site != nil && len(site.Vhost.Check("x")) != 0 {
			t.Errorf("a vhost was taken that does not pass its own check: %v", site.Vhost.Check("x"))
		}
		for _, p := range changes[0].Problems {
			if !strings.HasSuffix(p.File, doc.Name) || p.Reason == "" {
				t.Errorf("a problem without key or reason: %+v", p)
			}
		}
	})
}

// answers serves one connection: a login, and then the given bytes to all.
func answers(listener net.Listener, answer []byte) {
	conn, err := listener.Accept()
	if err != nil {
		return
	}
	defer conn.Close()
	buf := make([]byte, 4096)
	for _, text := range [][]byte{[]byte("%0\r\n"), []byte("+PONG\r\n"), answer} {
		if _, err := conn.Read(buf); err != nil {
			return
		}
		if _, err := conn.Write(text); err != nil {
			return
		}
	}
}
