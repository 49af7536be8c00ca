package redispurge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/textproto"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"gatehouse/cache"
	"gatehouse/internal/edgetest"
	"gatehouse/internal/redisconn"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A site is a node with a store of its own, which reaches Redis through a gate.
type site struct {
	*Node
	store    *cache.Store
	gate     *gate
	log      *edgetest.Output
	registry *prometheus.Registry
	stop     func()
}

// join starts a node. adjust may be nil.
func join(t testing.TB, redis *edgetest.RedisServer, name string, adjust func(*Options, *Node)) *site {
	t.Helper()
	s := &site{gate: openGate(t, redis.Addr()), log: &edgetest.Output{}, registry: prometheus.NewRegistry()}
	logger := slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var err error
	if s.store, err = cache.New(cache.Options{MaxBytes: 16 << 20, Logger: logger}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.store.Close)
	o, err := redisconn.Parse("redis://" + s.gate.addr + "#edge:")
	if err != nil {
		t.Fatal(err)
	}
	client, err := redisconn.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	opts := Options{Client: client, Store: s.store, Node: name, Logger: logger, Registerer: s.registry}
	if adjust != nil {
		adjust(&opts, nil)
	}
	if s.Node, err = New(opts); err != nil {
		t.Fatal(err)
	}
	if adjust != nil {
		adjust(&opts, s.Node)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	s.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	})
	t.Cleanup(s.stop)
	return s
}

// joinAll starts nodes that have all begun to read.
func joinAll(t testing.TB, redis *edgetest.RedisServer, names ...string) []*site {
	t.Helper()
	all := make([]*site, len(names))
	for i, name := range names {
		all[i] = join(t, redis, name, nil)
	}
	for _, s := range all {
		edgetest.WaitFor(t, s.name+" to be in step", func() bool { return s.metric(t, "gatehouse_cache_purges_followed") == 1 })
	}
	return all
}

// publish publishes a purge and waits until those who are there have applied it.
func (s *site) publish(t testing.TB, p cache.Purge) (id string, answers []Answer) {
	t.Helper()
	id, err := s.Publish(t.Context(), p, "test")
	if err != nil {
		t.Fatal(err)
	}
	return id, s.await(t, id, 10*time.Second)
}

func (s *site) await(t testing.TB, id string, most time.Duration) []Answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), most)
	defer cancel()
	answers, err := s.Await(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	return answers
}

func wantAll(t testing.TB, answers []Answer, names ...string) {
	t.Helper()
	got := []string{}
	for _, a := range answers {
		if a.Applied {
			got = append(got, a.Node)
		} else {
			got = append(got, a.Node+" late")
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(names) {
		t.Errorf("answers %v, want %v", got, names)
	}
}

// fields is a cache.Header.
type fields map[string][]string

func (f fields) PeekAll(name string) (out [][]byte) {
	for _, v := range f[textproto.CanonicalMIMEHeaderKey(name)] {
		out = append(out, []byte(v))
	}
	return out
}

func request(s *cache.Store, vhost, target string) *cache.Request {
	return &cache.Request{
		Method: "GET", Target: target, Header: fields{}, Vhost: s.Vhost("shop", vhost),
		Key: cache.AppendKey(nil, "shop", vhost, "https", vhost, target),
	}
}

// put stores a page.
func (s *site) put(t testing.TB, vhost, target, body, tags string) {
	t.Helper()
	req := request(s.store, vhost, target)
	s.store.Lookup(req, &cache.Policy{})
	if err := s.answer(req, body, tags); err != nil {
		t.Fatal(err)
	}
}

func (s *site) answer(req *cache.Request, body, tags string) error {
	resp := &cache.Response{
		Status: 200, Header: fields{"Cache-Control": {"max-age=600"}, "Surrogate-Key": {tags}}, BodyLength: -1, Received: time.Now(),
	}
	return s.store.Put(cache.NewEntry(req, resp, cache.Decide(req, resp, &cache.Policy{}), nil, 100, []byte(body), ""))
}

// page is what is served of a page; empty: nothing.
func (s *site) page(vhost, target string) string {
	if l := s.store.Lookup(request(s.store, vhost, target), &cache.Policy{}); l.Entry != nil {
		return string(l.Entry.Body)
	}
	return ""
}

func (s *site) metric(t testing.TB, name string) float64 {
	t.Helper()
	families, err := s.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue() + f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// A gate passes connections on to Redis until it is shut.
type gate struct {
	addr string
	mu   sync.Mutex
	open map[net.Conn]bool
	shut bool
}

func openGate(t testing.TB, target string) *gate {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{addr: ln.Addr().String(), open: map[net.Conn]bool{}}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", target)
			if err != nil || !g.add(in, out) {
				_ = in.Close()
				if err == nil {
					_ = out.Close()
				}
				continue
			}
			pass := func(from, to net.Conn) {
				_, _ = io.Copy(to, from) // until one of them ends
				g.end(from, to)
			}
			running.Go(func() { pass(in, out) })
			running.Go(func() { pass(out, in) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		g.cut()
		running.Wait()
	})
	return g
}

func (g *gate) add(conns ...net.Conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range conns {
		if !g.shut {
			g.open[c] = true
		}
	}
	return !g.shut
}

func (g *gate) end(conns ...net.Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
		delete(g.open, c)
	}
}

// cut ends all connections and lets no other through until mend.
func (g *gate) cut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = true
	for c := range g.open {
		_ = c.Close()
	}
	clear(g.open)
}

func (g *gate) mend() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = false
}
